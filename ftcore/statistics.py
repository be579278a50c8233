"""Intervals for metrics and for differences of metrics, by the bootstrap over rows.

Source: B. Efron and R. Tibshirani (1993), *An Introduction to the Bootstrap*, chapter 13 (percentile intervals).

Rows that agree in everything a metric looks at are alike to it, so a resample is drawn as *how often each kind of
row is in it*: one multinomial draw over the kinds instead of one draw a row. It is the same distribution, and
thousands of resamples take milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np

    Metrics = Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, np.ndarray]]
    """From true labels ``[kinds]``, predicted labels ``[kinds]`` and how often each occurs ``[…, kinds]`` to each
    metric ``[…]``."""


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


def estimate(
    metrics: Metrics, truth: np.ndarray, predicted: np.ndarray, resamples: int, seed: int
) -> dict[str, Estimate]:
    """Every metric with its 95 % interval; NaN ends where there are no rows.

    Args:
        metrics: of the task.
        truth: true label numbers, ``[rows]``.
        predicted: predicted label numbers, ``[rows]``.
        resamples: bootstrap resamples.
        seed: of the resampling; the same rows and seed give the same interval.
    """
    (true, said), counts, drawn = _resample((truth, predicted), resamples, seed)
    values, resampled = metrics(true, said, counts), metrics(true, said, drawn)
    return {name: _estimate(values[name], resampled[name], 0.95, len(truth)) for name in values}


def difference(
    metrics: Metrics,
    metric: str,
    truth: np.ndarray,
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
        truth: true label numbers, ``[rows]``.
        reference: label numbers predicted by the reference, ``[rows]``.
        current: label numbers predicted by the current model, ``[rows]``.
        resamples: bootstrap resamples.
        seed: of the resampling.
        confidence: of each bound.
    """
    (true, before, after), counts, drawn = _resample((truth, reference, current), resamples, seed)

    def gain(weights: np.ndarray) -> np.ndarray:
        return metrics(true, after, weights)[metric] - metrics(true, before, weights)[metric]

    return _estimate(gain(counts), gain(drawn), 2 * confidence - 1, len(truth))


def _resample(columns: tuple[np.ndarray, ...], resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kinds of rows ``[columns, kinds]``, their counts ``[kinds]``, and in resamples ``[resamples, kinds]``."""
    import numpy as np

    kinds, counts = np.unique(np.stack(columns), axis=1, return_counts=True)
    rows = int(counts.sum())
    drawn = (
        np.random.default_rng(seed).multinomial(rows, counts / max(rows, 1), size=resamples) if rows else counts[None]
    )
    return kinds, counts, drawn


def _estimate(value: np.ndarray, resampled: np.ndarray, confidence: float, rows: int) -> Estimate:
    import numpy as np

    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail]) if rows else (np.nan, np.nan)
    return Estimate(value=float(value), low=float(low), high=float(high), rows=rows)
