"""Draws of groups of rows: how often each kind of group is in each resample, and the sums of its tallies there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

CELLS = 4_000_000
"""Weights that are held at once, 8 bytes each."""
KEPT_CELLS = 25_000_000
"""Weights that are kept for the next model on rows with as many groups, 4 bytes each."""


def by_group(tallies: np.ndarray, group: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Tallies summed by group ``[groups, k]``, and the rows of each ``[groups]``."""
    import numpy as np

    if group is None or not len(tallies):
        return tallies, np.ones(len(tallies), int)
    _, ids, sizes = np.unique(group, return_inverse=True, return_counts=True)
    if len(sizes) == len(tallies):
        return tallies, sizes
    order = np.argsort(ids, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return np.add.reduceat(tallies[order], starts, axis=0), sizes


def effective_groups(sizes: np.ndarray) -> float:
    """Groups of equal size that are as informative as groups of these sizes (L. Kish 1965): ``(Σn)² / Σn²``."""
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0


def kinds_of(tallies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Groups that differ ``[kinds, k]``, sorted by their bytes, and how often each occurs ``[kinds]``."""
    import numpy as np

    if not tallies.size:
        return tallies[:1], np.ones(min(len(tallies), 1), int)
    rows = np.ascontiguousarray(tallies).view(np.dtype((np.void, tallies.itemsize * tallies.shape[1]))).ravel()
    _, first, counts = np.unique(rows, return_index=True, return_counts=True)
    return tallies[first], counts


def drawn_sums(kinds: np.ndarray, counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums of the tallies in each resample, ``[resamples, k]``."""
    import numpy as np

    if not len(kinds):
        return np.zeros((resamples, kinds.shape[1]))
    drawn = _kept if resamples * len(kinds) <= KEPT_CELLS else _weights
    return np.concatenate([weight.astype(np.float64) @ kinds for weight in drawn(counts.tobytes(), resamples, seed)])


def _weights(counts: bytes, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each kind of group is in each resample, some resamples at a time."""
    import numpy as np

    known = np.frombuffer(counts, np.int64)
    generator, groups = np.random.default_rng(seed), int(known.sum())
    at_once = max(1, CELLS // len(known))
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        yield generator.multinomial(groups, known / groups, size=size).astype(np.int32)


@lru_cache(maxsize=1)
def _kept(counts: bytes, resamples: int, seed: int) -> tuple[np.ndarray, ...]:
    """The same, kept for the next model: of tallies that are all different, any model has the same counts."""
    return tuple(_weights(counts, resamples, seed))


def forget() -> None:
    """Let go of the weights that are kept: up to 100 MB, which a process that only shows figures need not hold."""
    _kept.cache_clear()
