"""Intervals for metrics and for differences of metrics, by the bootstrap over rows.

Source: B. Efron and R. Tibshirani (1993), *An Introduction to the Bootstrap*, chapter 13 (percentile intervals).

A task's metrics are functions of *sums*: each row is a vector of sufficient statistics, its tallies, and accuracy, F1,
perplexity, BLEU or a correlation follow from their sums. So a resample is a vector of weights, how often each row is in
it, times the matrix of tallies. Rows with equal tallies are alike to every metric: they are drawn together, as one
kind, by a multinomial. It is the distribution of drawing rows, and thousands of resamples take milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

if TYPE_CHECKING:
    import numpy as np

    Metrics = Callable[[np.ndarray], dict[str, np.ndarray]]
    """From sums of tallies ``[…, k]`` to each metric ``[…]``; NaN where it is not defined."""

Better = Literal["higher", "lower"]
"""Which way a metric improves."""
CELLS = 4_000_000
"""Weights that are held at once, 8 bytes each."""

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
    """Lower end of the interval."""
    high: Number
    """Upper end of the interval."""
    rows: int
    """Rows it was measured on."""

    @property
    def defined(self) -> bool:
        """Whether the value and both ends are numbers."""
        return all(map(math.isfinite, (self.value, self.low, self.high)))

    def __str__(self) -> str:
        """``0.843 [0.821, 0.863] on 1,120``: value, interval, rows."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] on {self.rows:,}"


def estimate(metrics: Metrics, tallies: np.ndarray, resamples: int, seed: int) -> dict[str, Estimate]:
    """Every metric with its 95 % interval.

    Args:
        metrics: of the task.
        tallies: of each row, ``[rows, k]``.
        resamples: bootstrap resamples.
        seed: of the resampling; the same rows and seed give the same interval, in whatever order they come.
    """
    ((there, drawn),) = resample(metrics, [tallies], resamples, seed)
    return {name: interval(value, drawn[name], len(tallies)) for name, value in there.items()}


def difference(
    metrics: Metrics,
    metric: str,
    reference: np.ndarray,
    current: np.ndarray,
    resamples: int,
    seed: int,
    confidence: float = 0.95,
) -> Estimate:
    """How much higher a metric is for ``current`` than for ``reference``, paired on the same rows.

    Each bound is one-sided: the true difference lies above ``low``, and below ``high``, with the given confidence.

    Args:
        metrics: of the task.
        metric: which of them.
        reference: tallies of the reference, ``[rows, k]``.
        current: tallies of the current model on the same rows, ``[rows, k]``.
        resamples: bootstrap resamples.
        seed: of the resampling.
        confidence: of each bound.
    """
    (before, drawn_before), (after, drawn_after) = resample(metrics, [reference, current], resamples, seed)
    gain, drawn = after[metric] - before[metric], drawn_after[metric] - drawn_before[metric]
    return interval(gain, drawn, len(current), 2 * confidence - 1)


def resample(
    metrics: Metrics, tallies: Sequence[np.ndarray], resamples: int, seed: int
) -> list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Metrics of several models on the same rows, as they are and in the same resamples of them.

    Args:
        metrics: of the task.
        tallies: one ``[rows, k]`` for each model.
        resamples: bootstrap resamples.
        seed: of the resampling.

    Returns:
        For each model, each metric on the rows as they are, a number, and in the resamples, ``[resamples]``.
    """
    import numpy as np

    width = [table.shape[1] for table in tallies]
    together = np.ascontiguousarray(np.concatenate(tallies, axis=1), np.float64)
    kinds, counts = _kinds(together)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        sums = np.concatenate([(counts @ kinds)[None], _sums(kinds, counts, resamples, seed)])
    found = [values(metrics, part) for part in np.split(sums, np.cumsum(width)[:-1], axis=1)]
    return [({name: v[0] for name, v in one.items()}, {name: v[1:] for name, v in one.items()}) for one in found]


def values(metrics: Metrics, sums: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of sums ``[…, k]``, NaN without a warning where they are not defined.

    A row's tallies are sums, too: of one row.
    """
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return metrics(sums)


def interval(value: np.ndarray, resampled: np.ndarray, rows: int, confidence: float = 0.95) -> Estimate:
    """A value with the percentile interval of its resamples; NaN ends where a twentieth of them is not defined.

    Args:
        value: on the rows as they are.
        resampled: in the resamples, ``[resamples]``.
        rows: how many rows it was measured on.
        confidence: that the interval holds the truth.
    """
    import numpy as np

    tail = (1 - confidence) / 2
    known = resampled[np.isfinite(resampled)]
    enough = rows > 0 and len(known) >= 0.95 * len(resampled)
    low, high = np.quantile(known, [tail, 1 - tail]) if enough else (np.nan, np.nan)
    return Estimate(value=float(value) if rows else np.nan, low=float(low), high=float(high), rows=rows)


def mcnemar(before: np.ndarray, after: np.ndarray) -> float:
    """Exact two-sided McNemar test that two models are right equally often; 1 where they never differ.

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


def _kinds(tallies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that differ ``[kinds, k]``, sorted by their bytes, and how often each occurs ``[kinds]``."""
    import numpy as np

    if not tallies.size:
        return tallies[:1], np.ones(min(len(tallies), 1), int)
    rows = tallies.view(np.dtype((np.void, tallies.itemsize * tallies.shape[1]))).ravel()
    _, first, counts = np.unique(rows, return_index=True, return_counts=True)
    return tallies[first], counts


def _sums(kinds: np.ndarray, counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums of the tallies in each resample, ``[resamples, k]``."""
    import numpy as np

    if not len(kinds):
        return np.zeros((resamples, kinds.shape[1]))
    generator, rows = np.random.default_rng(seed), int(counts.sum())
    at_once = max(1, CELLS // len(kinds))
    sizes = [min(at_once, resamples - start) for start in range(0, resamples, at_once)]
    weights = (generator.multinomial(rows, counts / rows, size=size).astype(np.float64) for size in sizes)
    return np.concatenate([weight @ kinds for weight in weights])
