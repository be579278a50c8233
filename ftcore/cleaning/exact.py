"""Exact duplicates: which row of each text stays, whose label counts, and which rows contradict each other.

The rows stay where they are; what is decided here needs about 100 bytes a row, so ten million rows fit in a gigabyte.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


TIED = ("row_id", "text", "context", "label", "rejected", "source", "group")


@dataclass(frozen=True)
class Index:
    """What deciding needs of some rows, one entry a row."""

    key: NDArray[np.uint64]
    """Shape ``(rows, 2)``: 128 bits of the hash of the folded text."""
    seen: NDArray[np.int64]
    """When the row was observed, in ms; rows without a time are older than any other."""
    row_id: NDArray[np.bytes_]
    """Row ids as UTF-8."""
    label: NDArray[np.uint64]
    """Hash of the label; 0 where there is none."""
    tie: NDArray[np.uint64]
    """Hash of everything in the row: an order between rows that are alike in all of the above."""


@dataclass(frozen=True)
class Decision:
    """Positions of rows, in the order of their row ids."""

    kept: NDArray[np.int64]
    """The one row of each text that stays: the one of the lowest rank, and of several the one seen first."""
    label_of: NDArray[np.int64]
    """For each kept row the row whose label counts: the one seen last."""
    contradicting: NDArray[np.int64]
    """All rows of texts whose latest labels differ."""
    straddling: int
    """How many rows are of texts that were drawn to different sides of the split, contradicting ones apart. Their text
    goes where the row that stays is."""


def index(rows: pa.Table, keys: list[str]) -> Index:
    """Index of some rows.

    Args:
        rows: with the columns of ``snapshot.schema()``.
        keys: what equal texts share, one a row; rows whose text is empty need keys of their own.
    """
    import numpy as np
    import pyarrow as pa

    digests = b"".join(hashlib.blake2b(key.encode(), digest_size=16).digest() for key in keys)
    columns = [rows[name].to_pylist() for name in TIED]
    whole = ("\x1f".join("\x00" if one is None else one for one in row) for row in zip(*columns, strict=True))
    ties = b"".join(hashlib.blake2b(row.encode(), digest_size=8).digest() for row in whole)
    hashed = {label: _hash(label) for label in rows["label"].unique().to_pylist()}
    return Index(
        np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2),
        rows["observed_at"].cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy(),
        np.array([(identity or "").encode() for identity in columns[0]] or [b""], dtype=np.bytes_)[: rows.num_rows],
        np.array([hashed[label] for label in columns[TIED.index("label")]], dtype=np.uint64),
        np.frombuffer(ties, dtype=np.uint64),
    )


def join(parts: list[Index]) -> Index:
    """One index of all parts' rows, in order."""
    import numpy as np

    def all_of(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    return Index(all_of("key"), all_of("seen"), all_of("row_id"), all_of("label"), all_of("tie"))


def decide(
    rows: Index,
    alive: NDArray[np.bool_] | None = None,
    side: NDArray[np.int8] | None = None,
    rank: NDArray[np.int8] | None = None,
) -> Decision:
    """Keep one row of each text, whatever order the rows come in.

    Args:
        rows: the index.
        alive: rows that take part; None means all.
        side: the side of the split that each row was drawn to; None means that all are on one.
        rank: which rows stay before others of their text: those of the lowest rank; None means that all are equal.
    """
    import numpy as np

    taking = np.arange(len(rows.seen)) if alive is None else np.flatnonzero(alive)
    # By text, then from the first seen to the last; row id and content settle what time does not.
    fields = (rows.tie, rows.row_id, rows.seen, rows.key[:, 1], rows.key[:, 0])
    order = taking[np.lexsort(tuple(field[taking] for field in fields))]
    if not len(order):
        return Decision(order, order, order, 0)
    key = rows.key[order]
    first = np.flatnonzero(np.r_[True, (key[1:] != key[:-1]).any(axis=1)])
    last = np.r_[first[1:], len(order)] - 1
    size = last - first + 1
    seen, label = rows.seen[order], rows.label[order]
    latest = seen == np.repeat(seen[last], size)
    differs = np.logical_or.reduceat(latest & (label != np.repeat(label[last], size)), first)
    there = np.zeros(len(order), np.int8) if side is None else side[order]
    straddles = ~differs & np.logical_or.reduceat(there != np.repeat(there[last], size), first)
    chosen = first
    if rank is not None:
        weight = rank[order].astype(np.int64) * len(order) + np.arange(len(order))
        chosen = np.minimum.reduceat(weight, first) % len(order)
    kept = order[chosen[~differs]]
    ranked = _by_row_id(rows, kept)
    bad = order[np.repeat(differs, size)]
    return Decision(kept[ranked], order[last[~differs]][ranked], bad[_by_row_id(rows, bad)], int(size[straddles].sum()))


def _by_row_id(rows: Index, places: NDArray[np.int64]) -> NDArray[np.int64]:
    import numpy as np

    return np.lexsort((rows.tie[places], rows.seen[places], rows.row_id[places]))


def _hash(label: str | None) -> int:
    if label is None:
        return 0
    return int.from_bytes(hashlib.blake2b(label.encode(), digest_size=8).digest(), "little")
