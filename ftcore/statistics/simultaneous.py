"""Several comparisons judged together, so that the promised error rate holds for all of them at once.

Each statistic is linearised: what each group of rows contributes to it, by the delete-one-group jackknife. From these
follow standard errors and the correlation of statistics that share rows, such as slices by source and by length. Bounds
use the quantile of the largest of several correlated normal variables (max-T), which is never wider than Bonferroni's.

Sources: P. Westfall and S. Young (1993), *Resampling-based multiple testing* (max-T); T. Hothorn, F. Bretz and
P. Westfall (2008), *Simultaneous inference in general parametric models*; Student's quantile instead of the normal one
by each statistic's own degrees of freedom (F. Satterthwaite 1946), taken at the same chance.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ftcore.statistics.intervals import DEFINED, quantile, quiet, size, unseen, values
from ftcore.statistics.resampling import by_group, effective_groups

if TYPE_CHECKING:
    import numpy as np

    from ftcore.statistics.intervals import Metrics

Name = TypeVar("Name", bound=Hashable)
DRAWS = 400_000
"""Normal numbers that a quantile is drawn from; its chance is then right to about a twentieth of itself."""
LARGEST = 1e70
"""Of standard errors that are numbers: the fourth power of a larger one is more than a float holds."""
POWER = 0.8
"""Chance of seeing a difference, by which rows are called enough or too few for it."""


@dataclass(frozen=True)
class Effect:
    """A statistic of some rows, and what each group of rows contributes to it."""

    value: float
    contributions: np.ndarray
    """``[clusters]``, over the groups of all rows; 0 for groups without such rows."""
    extra: float
    """Standard error that rows add which might have been there and were not; see ``statistics.unseen``."""
    freedom: float
    """Degrees of freedom of the standard error."""
    rows: int
    groups: int

    @property
    def error(self) -> float:
        """Standard error."""
        largest = float(abs(self.contributions).max(initial=0.0))  # squares of huge numbers are more than a float holds
        scale = largest if largest > 0 and math.isfinite(largest) else 1.0
        apart = self.contributions / scale
        return math.hypot(scale * float((apart @ apart) ** 0.5), self.extra)

    @property
    def defined(self) -> bool:
        """Whether value and standard error are numbers that can be reckoned with."""
        return math.isfinite(self.value) and self.error < LARGEST

    @property
    def size(self) -> str:
        """Rows, and groups where they differ."""
        return size(self.rows, self.groups)

    def minus(self, other: Effect, factor: float = 1.0) -> Effect:
        """This less ``factor`` times another."""
        mine, theirs = min(self.error, LARGEST) ** 2, min(factor * other.error, LARGEST) ** 2
        parts = mine * mine / self.freedom + theirs * theirs / other.freedom
        with quiet():
            contributions = self.contributions - factor * other.contributions
        return Effect(
            self.value - factor * other.value,
            contributions,
            math.hypot(self.extra, factor * other.extra),
            (mine + theirs) * (mine + theirs) / parts if parts > 0 else min(self.freedom, other.freedom),
            self.rows + other.rows,
            self.groups + other.groups,
        )


@dataclass(frozen=True)
class Bounds:
    """A statistic with its share of simultaneous bounds."""

    effect: Effect
    half: float
    """From the value to either bound."""
    limit: float
    """How far from 0 a value must lie to count: ``half``, or more where more was required."""

    @property
    def value(self) -> float:
        """As measured."""
        return self.effect.value

    @property
    def low(self) -> float:
        """Lower bound."""
        return self.effect.value - self.half

    @property
    def high(self) -> float:
        """Upper bound."""
        return self.effect.value + self.half

    @property
    def detectable(self) -> float:
        """Smallest true difference that these rows show with ``POWER``."""
        return self.limit + quantile(POWER, self.effect.freedom) * self.effect.error

    def needed(self, difference: float) -> int:
        """About how many rows would show such a difference with ``POWER``."""
        return math.ceil(self.effect.rows * (self.detectable / difference) ** 2 / 10) * 10

    def __str__(self) -> str:
        """``+0.012 [-0.010, +0.034] on 300 rows``."""
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}] on {self.effect.size}"


def clusters(group: np.ndarray | None, rows: int) -> np.ndarray:
    """Number of each row's group, ``[rows]``; each row is its own where there are no groups."""
    import numpy as np

    if group is None:
        return np.arange(rows)
    numbers: np.ndarray = np.unique(group, return_inverse=True)[1]
    return numbers


def effect(metrics: Metrics, metric: str, tallies: Sequence[np.ndarray], rows: np.ndarray, group: np.ndarray) -> Effect:
    """A metric of some rows, or how much higher the second model's is than the first's.

    Args:
        metrics: of the task.
        metric: which of them.
        tallies: of one model, or of two on the same rows, each ``[all rows, k]``.
        rows: which rows, a mask ``[all rows]``.
        group: numbers of the rows' groups as ``clusters`` gives them, ``[all rows]``.
    """
    import numpy as np

    mine, total = group[rows], int(group.max()) + 1 if len(group) else 0
    found = [_left_out(metrics, metric, table[rows], mine) for table in tallies]
    with quiet():
        whole, without = found[-1] if len(found) == 1 else tuple(b - a for a, b in zip(*found, strict=True))
    sizes = np.bincount(mine, minlength=total)
    there = np.flatnonzero(sizes)
    known, groups = np.isfinite(without), len(there)
    contributions = np.zeros(total)
    enough = groups >= 2 and known.mean() >= DEFINED
    if enough:
        centred = without[known].mean() - without[known]
        contributions[there[known]] = math.sqrt((groups - 1) / groups) * centred
    bounded = all(((one >= 0) & (one <= 1)).all() for _, one in found if enough)
    effective = effective_groups(sizes[there])
    extra = (unseen(effective) if bounded else 0.0) if enough else math.nan
    return Effect(float(whole), contributions, extra, max(effective - 1, 1.0), int(rows.sum()), groups)


def bounds(
    effects: Mapping[Name, Effect],
    alpha: float,
    seed: int,
    *,
    least: Mapping[Name, float] | None = None,
    two_sided: bool = False,
) -> dict[Name, Bounds]:
    """Bounds such that the chance that any statistic whose truth is 0 counts is ``alpha``.

    Args:
        effects: statistics of rows whose groups are numbered alike; all defined.
        alpha: chance that any value lies beyond its limit, on the side that is looked at, though all truths are 0.
        seed: of the draws.
        least: how far from 0 a value must lie at least to count. What statistics with a small standard error do not
            need of ``alpha`` is then left to the others: a weighted max-T, with weights by standard errors alone.
            Without it all bounds hold at once.
        two_sided: False looks at one side, all upper bounds or all lower ones.
    """
    import numpy as np
    from scipy.special import ndtr, ndtri, stdtr

    if not effects:
        return {}
    least = least or dict.fromkeys(effects, 0.0)
    table = np.stack([one.contributions for one in effects.values()])
    covariance = table @ table.T + np.diag([one.extra**2 for one in effects.values()])
    far = [stdtr(one.freedom, least[name] / one.error) if one.error else 1.0 for name, one in effects.items()]
    required = ndtri(far) if any(least.values()) else None
    chance = float(ndtr(_largest(covariance, alpha, seed, required, two_sided=two_sided)))
    halves = {name: quantile(chance, one.freedom) * one.error for name, one in effects.items()}
    return {name: Bounds(one, halves[name], max(halves[name], least[name])) for name, one in effects.items()}


def _largest(covariance: np.ndarray, alpha: float, seed: int, least: np.ndarray | None, *, two_sided: bool) -> float:
    """Quantile ``1 - alpha`` of the largest of normal variables with such a covariance and unit variance.

    Args:
        covariance: ``[statistics, statistics]``.
        alpha: chance beyond the quantile.
        seed: of the draws.
        least: of each variable what it must exceed to count, ``[statistics]``.
        two_sided: whether the largest absolute value is meant.
    """
    import numpy as np
    from scipy.special import ndtri

    count, sides = len(covariance), 2 if two_sided else 1
    alone, bonferroni = (-float(ndtri(alpha / sides / number)) for number in (1, count))
    if count == 1:
        return alone
    error = np.sqrt(np.diag(covariance))
    error[error == 0] = 1
    weights, vectors = np.linalg.eigh(covariance / np.outer(error, error))
    root = vectors * np.sqrt(np.clip(weights, 0, None))
    draws = np.random.default_rng(seed).standard_normal((max(20_000, DRAWS // count), count)) @ root.T
    draws = np.abs(draws) if two_sided else draws
    if least is not None:
        draws[draws <= least] = -np.inf
    largest = np.sort(draws.max(1))[math.ceil((1 - alpha) * len(draws)) - 1]  # interpolation knows no -inf
    return min(max(float(largest), alone), bonferroni)


def _left_out(metrics: Metrics, metric: str, tallies: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A metric of some rows, and without each of their groups in the order of their numbers, ``[groups]``."""
    summed, _ = by_group(tallies, group)
    if len(summed) == len(tallies):
        summed = tallies[group.argsort()]  # one row a group: by number, as sums are
    whole = tallies.sum(0)[None]
    with quiet():
        rest = whole - summed
    return values(metrics, whole)[metric][0], values(metrics, rest)[metric]
