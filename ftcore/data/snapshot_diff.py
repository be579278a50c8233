"""What changed from one snapshot of a recipe to another."""

from __future__ import annotations

import heapq
import sys
from typing import Any

from ftcore.data import snapshot
from ftcore.store.store import RecipeStore


def diff(shelf: RecipeStore, before: str, after: str) -> dict[str, Any]:
    """What changed from one snapshot to another.

    Returns:
        Counts ``added``, ``removed``, ``changed`` (same row id, other content), ``moved`` (to another split, which must
        be 0) and ``kept``; ``labels``: the shares before and after; ``examples``: up to ten row ids of each.
    """
    old, new = _contents(shelf, before), _contents(shelf, after)
    both = old.keys() & new.keys()
    sets = {
        "added": new.keys() - old.keys(),
        "removed": old.keys() - new.keys(),
        "changed": {row for row in both if old[row][0] != new[row][0]},
        "moved": {row for row in both if old[row][1] != new[row][1]},
    }
    shares = [snapshot.label_shares(snapshot.manifest(shelf, identity)["labels"]) for identity in (before, after)]
    return {
        "before": before,
        "after": after,
        **{name: len(rows) for name, rows in sets.items()},
        "kept": len(both) - len(sets["changed"]),
        "labels": {label: [share.get(label, 0.0) for share in shares] for label in sorted({*shares[0], *shares[1]})},
        "examples": {name: heapq.nsmallest(10, rows) for name, rows in sets.items()},
    }


def _contents(shelf: RecipeStore, identity: str) -> dict[str, tuple[bytes, str]]:
    """Hash and split by row id."""
    found: dict[str, tuple[bytes, str]] = {}
    for table in snapshot.batches(shelf, identity):
        digests = snapshot.row_digests(table).tolist()
        rows = zip(table["row_id"].to_pylist(), digests, table["split"].to_pylist(), strict=True)
        found |= {row: (digest[:12], sys.intern(split or "")) for row, digest, split in rows}
    return found
