"""Does a model that says 80 % get 80 % right? Expected calibration error and reliability bins.

Sources: M. P. Naeini, G. Cooper and M. Hauskrecht (2015), *Obtaining well calibrated probabilities using Bayesian
binning* (ECE); K. Nguyen and B. O'Connor (2015), *Posterior calibration and exploratory analysis for natural language
processing models* (bins of equal size); J. Bröcker and L. Smith (2007), *Increasing the reliability of reliability
diagrams*, and A. Kumar, P. Liang and T. Ma (2019), *Verified uncertainty calibration* (how much of it is chance).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftcore.statistics.intervals import Estimate, quantile
from ftcore.statistics.resampling import by_group, effective_groups

if TYPE_CHECKING:
    import numpy as np

BINS = 15
DRAWS = 20_000
"""Draws of what chance does to the bins."""


def probabilities(scores: np.ndarray) -> np.ndarray | None:
    """Scores of answers, ``[rows]``; None where they are no probabilities: some are missing, or not between 0 and 1."""
    return scores if bool(((scores >= 0) & (scores <= 1)).all()) else None


def edges(confidence: np.ndarray, *, adaptive: bool = False, bins: int = BINS) -> np.ndarray:
    """Edges of bins of equal width, or of equally many rows, from 0 to 1: ``[bins + 1]``."""
    import numpy as np

    if not adaptive or not len(confidence):
        return np.linspace(0, 1, bins + 1)
    inner = np.quantile(confidence, np.linspace(0, 1, bins + 1)[1:-1])
    return np.concatenate([[0.0], inner, [1.0]])


def tallies(confidence: np.ndarray, right: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Each row's confidence less whether it was right, in the column of its bin, and a one: ``[rows, bins + 1]``.

    Args:
        confidence: probability of the answer, 0 to 1, ``[rows]``.
        right: whether the answer is right, ``[rows]``.
        edges: of the bins; a bin holds its lower edge, the last one both.
    """
    import numpy as np

    number = _bin(confidence, edges)
    table = np.zeros((len(confidence), len(edges)))
    table[np.arange(len(confidence)), number] = confidence - right
    table[:, -1] = 1
    return table


def error(sums: np.ndarray) -> np.ndarray:
    """Expected calibration error, 0 to 1, from sums of tallies ``[…, bins + 1]``: ``[…]``.

    The gap of each bin between mean confidence and accuracy, weighted by its share of the rows. It is never below 0,
    so with few rows it is too high rather than too low.
    """
    import numpy as np

    rows = sums[..., -1]
    return np.asarray(np.abs(sums[..., :-1]).sum(-1) / np.where(rows > 0, rows, np.nan))


def estimate(
    tallies: np.ndarray, seed: int, group: np.ndarray | None = None, alpha: float = 0.025, beta: float = 0.025
) -> Estimate:
    """Expected calibration error with an interval that allows for its bias, by default of 95 %.

    By chance alone the measured error of a perfectly calibrated model is above 0. Each bin's gap is its true gap and
    noise, so the measured error exceeds the true one by no more than the sum of the bins' absolute noise: the lower end
    is the measured error less the ``1 - alpha`` quantile of that sum. The bias only raises it, so the upper end is the
    measured error and how far it falls below its own mean with chance ``beta``.

    Args:
        tallies: of each row, as the function ``tallies`` gives them, ``[rows, bins + 1]``.
        seed: of the draws of noise, normal with the covariance of the bins' sums by group.
        group: of each row, ``[rows]``; None where each row is a group of its own.
        alpha: chance that the true error lies below the lower end.
        beta: chance that it lies above the upper end.
    """
    import numpy as np

    rows, value = len(tallies), float(error(tallies.sum(0)))
    summed, sizes = by_group(tallies, group)
    groups = len(summed)
    low = high = np.nan
    if groups >= 2:
        gaps = tallies[:, :-1].sum(0) / rows
        apart = (summed[:, :-1] - summed[:, -1:] * gaps) / rows
        covariance = groups / (groups - 1) * apart.T @ apart
        covariance += np.diag(np.maximum(_null_variance(tallies) - covariance.diagonal(), 0))
        draws = np.random.default_rng(seed).multivariate_normal(np.zeros(len(gaps)), covariance, DRAWS, method="eigh")
        freedom = effective_groups(sizes) - 1
        heavy = [quantile(1 - chance, freedom) / quantile(1 - chance, np.inf) for chance in (alpha, beta)]
        again = np.abs(gaps + draws * heavy[1]).sum(1)
        low = max(value - heavy[0] * float(np.quantile(np.abs(draws).sum(1), 1 - alpha)), 0.0)
        high = min(value + float(again.mean() - np.quantile(again, beta)), 1.0)
    return Estimate(value=value, low=low, high=high, rows=rows, groups=groups, level=1 - alpha - beta)


def _null_variance(tallies: np.ndarray) -> np.ndarray:
    """Variance of each bin's gap if the model were calibrated, ``[bins]``.

    In a bin whose rows happen to be all right nothing varies, and its gap would pass for a sure one.
    """
    import numpy as np

    off = np.abs(tallies[:, :-1])  # the confidence of a wrong answer, or what a right one lacks
    return np.asarray((off * (1 - off)).sum(0) / len(tallies) ** 2)


def reliability(confidence: np.ndarray, right: np.ndarray, edges: np.ndarray) -> list[dict[str, float]]:
    """Bins that hold rows: ``low``, ``high``, ``rows``, mean ``confidence`` and ``accuracy``, for a plot."""
    number = _bin(confidence, edges)
    return [
        {
            "low": float(edges[place]),
            "high": float(edges[place + 1]),
            "rows": int(chosen.sum()),
            "confidence": float(confidence[chosen].mean()),
            "accuracy": float(right[chosen].mean()),
        }
        for place in range(len(edges) - 1)
        if (chosen := number == place).any()
    ]


def _bin(confidence: np.ndarray, edges: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, len(edges) - 2)
