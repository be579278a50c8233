"""Intervals for metrics and for differences of metrics, by the bootstrap (scipy)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np

    Metrics = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]

MOST_CELLS = 4_000_000
"""Resampled values held in memory at a time."""


class Estimate(BaseModel):
    """A metric with its interval."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    value: float
    """The metric on the rows as they are."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    rows: int
    """Rows it was measured on."""


def estimate(metrics: Metrics, truth: np.ndarray, predicted: np.ndarray, resamples: int, seed: int) -> dict[str, Estimate]:
    """Every metric with its 95 % percentile bootstrap interval over rows.

    Source: B. Efron and R. Tibshirani (1993), *An Introduction to the Bootstrap*, chapter 13.

    Args:
        metrics: from true and predicted label numbers along the last axis to a number for each name.
        truth: true label numbers, ``[rows]``.
        predicted: predicted label numbers, ``[rows]``.
        resamples: bootstrap resamples.
        seed: of the resampling; the same rows and seed give the same interval.
    """
    names = list(metrics(truth, predicted))
    low, high = _interval(lambda t, p: [metrics(t, p)[name] for name in names], (truth, predicted), resamples, seed, 0.95, "two-sided")
    values = metrics(truth, predicted)
    return {
        name: Estimate(value=float(values[name]), low=float(low[i]), high=float(high[i]), rows=len(truth))
        for i, name in enumerate(names)
    }


def difference(
    metric: Callable[[np.ndarray, np.ndarray], np.ndarray],
    truth: np.ndarray,
    reference: np.ndarray,
    current: np.ndarray,
    resamples: int,
    seed: int,
    confidence: float = 0.95,
) -> Estimate:
    """How much higher a metric is for ``current`` than for ``reference``, paired on the same rows.

    The interval is one-sided: the true difference lies above ``low`` with the given confidence. ``high`` is its mirror image.

    Args:
        metric: from true and predicted label numbers along the last axis to a number.
        truth: true label numbers, ``[rows]``.
        reference: label numbers predicted by the reference, ``[rows]``.
        current: label numbers predicted by the current model, ``[rows]``.
        resamples: bootstrap resamples.
        seed: of the resampling.
        confidence: of each one-sided bound.
    """
    both = 2 * confidence - 1

    def gain(t: np.ndarray, r: np.ndarray, c: np.ndarray) -> list[np.ndarray]:
        return [metric(t, c) - metric(t, r)]

    low, high = _interval(gain, (truth, reference, current), resamples, seed, both, "two-sided")
    value = float(gain(truth, reference, current)[0])
    return Estimate(value=value, low=float(low[0]), high=float(high[0]), rows=len(truth))


def _interval(
    statistic: Callable[..., list[np.ndarray]],
    data: tuple[np.ndarray, ...],
    resamples: int,
    seed: int,
    confidence: float,
    alternative: str,
) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np
    from scipy import stats

    if len(data[0]) < 2:
        nothing = np.full(len(statistic(*data)), np.nan)
        return nothing, nothing
    result = stats.bootstrap(
        data,
        lambda *columns, axis=-1: np.stack(statistic(*columns)),
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, MOST_CELLS // len(data[0])),
        confidence_level=confidence,
        alternative=alternative,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    interval = result.confidence_interval
    return np.atleast_1d(interval.low), np.atleast_1d(interval.high)
