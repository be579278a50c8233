"""The data of two versions: rows added, removed and changed, and how the labels' shares moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot, snapshot_diff
from ftcore.errors import FtcoreError

if TYPE_CHECKING:
    from ftcore.store.store import RecipeStore

MOST_ROWS = 200_000
"""Rows of both snapshots up to which a page compares them row by row, which takes about a second for 100,000."""


@dataclass(frozen=True)
class Data:
    """Two snapshots."""

    before: str
    after: str
    rows: tuple[int, int] = (0, 0)
    splits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Rows by split."""
    labels: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Share of the rows by label, 0 to 1."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows ``added``, ``removed``, ``changed``, ``moved`` and ``kept``; empty where nobody has counted."""
    why_not: str = ""
    """Why rows were not compared."""

    @property
    def same(self) -> bool:
        """Whether both were trained on the same snapshot."""
        return self.before == self.after


def data_of(shelf: RecipeStore, before: str, after: str) -> Data:
    """Two snapshots; where there are too many rows for a page, by their manifests alone.

    Raises:
        FtcoreError: a snapshot is not known, or not in the store.
    """
    if not before or not after:
        raise FtcoreError("one of them does not name its snapshot")
    manifests = [snapshot.manifest(shelf, one) for one in (before, after)]
    rows = tuple(int(one.get("rows", 0)) for one in manifests)
    splits = {name: _two(manifests, "splits", name) for name in snapshot.SPLITS}
    shares = [snapshot.label_shares(one.get("labels") or {}) for one in manifests]
    names = dict.fromkeys([*shares[0], *shares[1]])
    labels = {name: (shares[0].get(name, 0.0), shares[1].get(name, 0.0)) for name in names}
    made = Data(before, after, (rows[0], rows[1]), splits, dict(sorted(labels.items(), key=_moved)))
    if made.same:
        return made
    if sum(rows) > MOST_ROWS:
        command = f"ftcore snapshots diff {shelf.name} {before} {after}"
        return Data(**vars(made) | {"why_not": f"There are too many rows to compare here: {command} counts them."})
    return Data(**vars(made) | {"counts": dict(_counted(shelf, before, after))})


def _two(manifests: list[dict[str, Any]], key: str, name: str) -> tuple[int, int]:
    found = [int((one.get(key) or {}).get(name, 0)) for one in manifests]
    return found[0], found[1]


def _moved(pair: tuple[str, tuple[float, float]]) -> tuple[float, str]:
    name, (before, after) = pair
    return -abs(after - before), name


@lru_cache(maxsize=64)
def _counted(shelf: RecipeStore, before: str, after: str) -> dict[str, int]:
    """Of two snapshots, which never change."""
    found = snapshot_diff.diff(shelf, before, after)
    return {name: int(found[name]) for name in ("added", "removed", "changed", "moved", "kept")}
