"""Does a model that says 80 % get 80 % right? Expected calibration error and reliability bins.

Sources: M. P. Naeini, G. Cooper and M. Hauskrecht (2015), *Obtaining well calibrated probabilities using Bayesian
binning* (ECE); K. Nguyen and B. O'Connor (2015), *Posterior calibration and exploratory analysis for natural language
processing models* (bins of equal size).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BINS = 15


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
