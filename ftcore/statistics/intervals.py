"""Intervals for metrics and for differences of metrics, by resampling groups of rows.

A task's metrics are functions of *sums*: each row is a vector of sufficient statistics, its tallies, and accuracy, F1,
perplexity, BLEU or a correlation follow from their sums. Rows of one group (a customer, a document) are not
independent, so tallies are summed by group first, and groups are what is drawn. A resample is a vector of weights, how
often each group is in it, times the matrix of tallies. Groups with equal tallies are one *kind* and are drawn together
by a multinomial: it is the distribution of drawing groups, and thousands of resamples take milliseconds.

The percentile bootstrap covers too little where groups are few, where a tail is far out, and where hardly any row
differs. An interval is therefore the hull of two:

- percentiles of the bootstrap: B. Efron and R. Tibshirani (1993), *An Introduction to the Bootstrap*, chapter 13;
- Student's t with the delete-one-group jackknife's standard error, which is conservative for few clusters: R. Bell and
  D. McCaffrey (2002), *Bias reduction in standard errors for linear regression with multi-stage samples*; degrees of
  freedom by the effective number of groups: A. Carter, K. Schnepel and D. Steigerwald (2017), *Asymptotic behavior of
  a t-test robust to cluster heterogeneity*. Of a metric between 0 and 1 it is taken on Wilson's scale with the
  effective sample size: E. Korn and B. Graubard (1998), *Confidence intervals for proportions with small expected
  number of positive counts estimated from survey data*. A difference of two such metrics has two further observations,
  one in favor of either: D. Bonett and R. Price (2012), *Adjusted Wald confidence interval for a difference of binomial
  proportions based on paired data*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from ftcore.statistics.resampling import by_group, drawn_sums, effective_groups, kinds_of

if TYPE_CHECKING:
    import numpy as np

    Metrics = Callable[[np.ndarray], dict[str, np.ndarray]]
    """From sums of tallies ``[…, k]`` to each metric ``[…]``; NaN where it is not defined."""

Better = Literal["higher", "lower"]
"""Which way a metric improves."""
USUAL = 0.95
"""Level of an interval where nothing asks for another."""
DEFINED = 0.95
"""Share of the resamples in which a metric must be defined for its interval to be."""

Number = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    PlainSerializer(lambda value: value if math.isfinite(value) else None, return_type=float | None),
]
"""A number that may be undefined: NaN here, null in JSON."""


class Estimate(BaseModel):
    """A metric, or a difference of metrics, with its interval."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    value: Number
    """On the rows as they are; NaN where it is not defined."""
    low: Number
    """Lower end of the interval; NaN where it is not defined, as on a single row."""
    high: Number
    """Upper end of the interval."""
    rows: int
    """Rows it was measured on."""
    groups: int | None = None
    """Groups of these rows, which were resampled; None in evaluations before groups were known."""
    level: float | None = None
    """Level of the two-sided interval, 0 to 1; None in evaluations that do not say it, where it is 0.95."""

    @property
    def defined(self) -> bool:
        """Whether the value and both ends are numbers."""
        return all(map(math.isfinite, (self.value, self.low, self.high)))

    @property
    def size(self) -> str:
        """``1,120 rows``, and ``in 97 groups`` where rows have groups."""
        return size(self.rows, self.groups)

    def __str__(self) -> str:
        """``0.843 [0.821, 0.863] on 1,120 rows``: value, interval, rows, and groups where they differ from rows.

        The level is told where it is not 95 %: ``[0.825, 0.859; 90 %]``.
        """
        told = "" if self.level is None or abs(self.level - USUAL) < 1e-9 else f"; {percent(self.level)}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}{told}] on {self.size}"


def percent(level: float) -> str:
    """A level for people: ``95 %``, ``93.9 %``."""
    return f"{level * 100:.3g} %"


def size(rows: int, groups: int | None) -> str:
    """Rows, and groups where they differ from rows, for people."""
    return f"{rows:,} rows" + (f" in {groups:,} groups" if groups is not None and groups != rows else "")


@dataclass(frozen=True)
class Drawn:
    """One metric, or a difference of one, as it is, in resamples of the groups, and without each group."""

    values: np.ndarray
    """The metric as it is, in the resamples, without one group of each kind, ``[1 + resamples + kinds]``."""
    counts: np.ndarray
    """Groups of each kind, ``[kinds]``."""
    rows: int
    effective: float
    """Groups of equal size that would be as informative; the number of groups where all are of one size."""
    limits: tuple[float, float]
    """Least and largest value that it can have: 0 and 1, or -1 and 1; infinite where nothing bounds it."""
    alone: np.ndarray
    """The metric of one group of each kind by itself, ``[kinds]``."""

    def __sub__(self, other: Drawn) -> Drawn:
        """How much higher this is than another metric in the same resamples of the same groups."""
        limits = self.limits[0] - other.limits[1], self.limits[1] - other.limits[0]
        with quiet():
            values, alone = self.values - other.values, self.alone - other.alone
        return Drawn(values, self.counts, self.rows, self.effective, limits, alone)

    @property
    def value(self) -> float:
        """On the rows as they are."""
        return float(self.values[0])

    @property
    def groups(self) -> int:
        """Groups that the rows belong to."""
        return int(self.counts.sum())

    @property
    def steady(self) -> bool:
        """Whether it varies with no group: each shows the same value, or two models are the same."""
        if not (self.values == self.values[0]).all():
            return False
        if not math.isfinite(self.limits[1]):
            return self.value == 0
        known = self.alone[self.alone == self.alone]  # a group alone may leave a metric undefined
        return len(known) > 0 and bool((known == self.values[0]).all())

    @property
    def error(self) -> float:
        """Standard error by the delete-one-group jackknife; NaN where it is not defined."""
        return jackknife_error(self.values[len(self.values) - len(self.counts) :], self.counts)

    def estimate(self, confidence: float = USUAL) -> Estimate:
        """The value with its two-sided interval; NaN ends for fewer than two groups or where nothing varies.

        Args:
            confidence: that the interval holds the truth.
        """
        import numpy as np

        resampled = self.values[1 : len(self.values) - len(self.counts)]
        known, error = resampled[np.isfinite(resampled)], self.error
        low = high = math.nan
        enough = self.groups >= 2 and len(known) >= DEFINED * len(resampled) and math.isfinite(error)
        if enough and math.isfinite(self.value) and (self.steady or error > 0):
            tail = (1 - confidence) / 2
            ends = np.quantile(known, [tail, 1 - tail])
            wide = score_interval(self.value, error, self.effective, self.limits, tail)
            low, high = min(ends[0], wide[0]), max(ends[1], wide[1])
        value = self.value if self.rows else math.nan
        return Estimate(
            value=value, low=float(low), high=float(high), rows=self.rows, groups=self.groups, level=confidence
        )


def estimate(
    metrics: Metrics, tallies: np.ndarray, resamples: int, seed: int, group: np.ndarray | None = None
) -> dict[str, Estimate]:
    """Every metric with its 95 % interval.

    Args:
        metrics: of the task.
        tallies: of each row, ``[rows, k]``.
        resamples: bootstrap resamples.
        seed: of the resampling; the same rows and seed give the same interval, in whatever order they come.
        group: of each row, ``[rows]``; None where each row is a group of its own.
    """
    (drawn,) = resample(metrics, [tallies], resamples, seed, group)
    return {name: one.estimate() for name, one in drawn.items()}


def difference(
    metrics: Metrics,
    metric: str,
    reference: np.ndarray,
    current: np.ndarray,
    resamples: int,
    seed: int,
    confidence: float = 0.95,
    group: np.ndarray | None = None,
) -> Estimate:
    """How much higher a metric is for ``current`` than for ``reference``, paired on the same rows.

    Each bound is one-sided: the true difference lies above ``low``, and below ``high``, with the given confidence; the
    interval of both has the level ``2 * confidence - 1``.

    Args:
        metrics: of the task.
        metric: which of them.
        reference: tallies of the reference, ``[rows, k]``.
        current: tallies of the current model on the same rows, ``[rows, k]``.
        resamples: bootstrap resamples.
        seed: of the resampling.
        confidence: of each bound.
        group: of each row, ``[rows]``; None where each row is a group of its own.
    """
    before, after = resample(metrics, [reference, current], resamples, seed, group)
    return (after[metric] - before[metric]).estimate(2 * confidence - 1)


def resample(
    metrics: Metrics, tallies: Sequence[np.ndarray], resamples: int, seed: int, group: np.ndarray | None = None
) -> list[dict[str, Drawn]]:
    """Metrics of several models on the same rows, in the same resamples of their groups.

    Args:
        metrics: of the task.
        tallies: one ``[rows, k]`` for each model.
        resamples: bootstrap resamples.
        seed: of the resampling.
        group: of each row, ``[rows]``; None where each row is a group of its own.

    Returns:
        For each model each metric.
    """
    import numpy as np

    width = [table.shape[1] for table in tallies]
    together = np.ascontiguousarray(np.concatenate(tallies, axis=1), np.float64)
    summed, sizes = by_group(together, group)
    kinds, counts = kinds_of(summed)
    with quiet():
        whole = (counts @ kinds)[None]
        sums = np.concatenate([whole, drawn_sums(kinds, counts, resamples, seed), whole - kinds, kinds])
    found = [values(metrics, part) for part in np.split(sums, np.cumsum(width)[:-1], axis=1)]
    shape = (counts, len(together), effective_groups(sizes))
    return [{name: _drawn(measured, *shape) for name, measured in one.items()} for one in found]


def values(metrics: Metrics, sums: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of sums ``[…, k]``, NaN without a warning where they are not defined.

    A row's tallies are sums, too: of one row.
    """
    with quiet():
        return metrics(sums)


def jackknife_error(left_out: np.ndarray, counts: np.ndarray) -> float:
    """Standard error of a statistic from its values without one group of each kind.

    Args:
        left_out: the statistic without one group of a kind, ``[kinds]``.
        counts: groups of each kind, ``[kinds]``.

    Returns:
        ``√((G - 1) / G · Σ (θ₍g₎ - θ̄)²)`` over the groups without which it is defined; NaN where it seldom is.
    """
    import numpy as np

    known = np.isfinite(left_out)
    left_out, used, groups = left_out[known], counts[known], counts.sum()
    if groups < 2 or used.sum() < DEFINED * groups:
        return math.nan
    apart = left_out - np.average(left_out, weights=used)
    largest = float(np.abs(apart).max())  # squares of huge numbers are more than a float holds
    if largest <= 1e-12 * max(1.0, float(np.abs(left_out).max())):
        return 0.0
    return largest * math.sqrt((groups - 1) / groups * float(used @ (apart / largest) ** 2))


def score_interval(
    value: float, error: float, effective: float, limits: tuple[float, float], tail: float
) -> tuple[float, float]:
    """Interval of a statistic with its standard error; see the module's text for its sources.

    Args:
        value: of the statistic.
        error: its standard error, 0 where nothing varied.
        effective: groups that it rests on.
        limits: least and largest value that it can have.
        tail: chance that the truth lies beyond either end.
    """
    t = quantile(1 - tail, effective - 1)
    if limits == (0.0, 1.0):
        spread = value * (1 - value)
        size = spread / error**2 if error > 0 and spread > 0 else effective
        middle, half = value + t * t / (2 * size), t * math.sqrt(spread / size + (t / (2 * size)) ** 2)
        low, high = ((middle + sign * half) / (1 + t * t / size) for sign in (-1, 1))
        return max(min(low, value - t * error), 0.0), min(max(high, value + t * error), 1.0)
    if all(map(math.isfinite, limits)):
        error = math.hypot(error, unseen(effective))
    return max(value - t * error, limits[0]), min(value + t * error, limits[1])


def unseen(groups: float) -> float:
    """Standard error that two observations more, one in favour of either model, add to a difference."""
    return math.sqrt(2) / (groups + 2)


def quantile(chance: float, freedom: float) -> float:
    """Of Student's t with some degrees of freedom, at least one."""
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 1.0), chance))


def mcnemar(before: np.ndarray, after: np.ndarray) -> float:
    """Exact two-sided McNemar test that two models are right equally often; 1 where they never differ.

    It takes rows as independent; where they have groups, the interval of the difference is the one to read.
    Source: Q. McNemar (1947), *Note on the sampling error of the difference between correlated proportions*.

    Args:
        before: which rows the one gets right, ``[rows]``.
        after: which rows the other gets right, ``[rows]``.

    Returns:
        The p-value, 0 to 1.
    """
    from scipy.stats import binomtest

    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    return float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0


def _drawn(measured: np.ndarray, counts: np.ndarray, rows: int, effective: float) -> Drawn:
    """A metric of the whole, the resamples, the whole without a group of each kind, and each kind by itself."""
    import numpy as np

    kept, alone = np.split(measured, [len(measured) - len(counts)])
    known = measured[np.isfinite(measured)]
    limits = (0.0, 1.0) if len(known) and known.min() >= 0 and known.max() <= 1 else (-math.inf, math.inf)
    return Drawn(kept, counts, rows, effective, limits, alone)


def quiet() -> np.errstate:
    """Without warnings where numbers are undefined or too large: they are NaN or infinite then."""
    import numpy as np

    return np.errstate(invalid="ignore", divide="ignore", over="ignore")
