"""Exact duplicates: which row of each text stays, whose label counts, and which rows contradict each other.

The rows stay where they are; what is decided here needs about 100 bytes a row, so ten million rows fit in a gigabyte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftcore.store import hashes

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
    """Hash of everything in the row where another one has its id and time, see ``settle_ties``; else 0."""


@dataclass(frozen=True)
class Decision:
    """Positions of rows, in the order of their row ids."""

    kept: NDArray[np.int64]
    """The one row of each text that stays: the one of the lowest rank, and of several the one seen first."""
    label_of: NDArray[np.int64]
    """For each kept row the row whose label counts: the one seen last."""
    contradicting: NDArray[np.int64]
    """All rows of texts whose latest labels differ."""
    split_conflicts: int
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

    digests = b"".join([hashlib.blake2b(key.encode(), digest_size=16).digest() for key in keys])
    return Index(
        np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2),
        rows["observed_at"].cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy(),
        np.array(rows["row_id"].fill_null("").cast(pa.binary()).to_pylist() or [b""], np.bytes_)[: rows.num_rows],
        hashes.of_each(rows["label"], _hash),
        np.zeros(rows.num_rows, np.uint64),
    )


def settle_ties(rows: Index, take: Callable[[NDArray[np.int64]], pa.Table]) -> None:
    """Give rows that have one id and one time an order that does not depend on where they stand.

    Args:
        rows: the index; its ``tie`` is filled.
        take: gives the rows at some positions; it is called where ids repeat, which they should not.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    order = _sorted(rows.row_id, rows.seen)
    same = (rows.row_id[order[1:]] == rows.row_id[order[:-1]]) & (rows.seen[order[1:]] == rows.seen[order[:-1]])
    places = np.sort(order[np.r_[same, False] | np.r_[False, same]]) if len(order) else order
    if not len(places):
        return
    large = pa.large_string()
    columns = [column.cast(large) for column in take(places).select(TIED).columns]
    whole = pc.binary_join_element_wise(
        *columns, pa.scalar("\x1f", large), null_handling="replace", null_replacement="\x00"
    )
    ties = [hashlib.blake2b(row, digest_size=8).digest() for row in whole.cast(pa.large_binary()).to_pylist()]
    rows.tie[places] = np.frombuffer(b"".join(ties), np.uint64)


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
    fields = (rows.key[:, 0], rows.key[:, 1], rows.seen, rows.row_id, rows.tie)
    order = taking[_sorted(*(field[taking] for field in fields))]
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

    return _sorted(*(field[places] for field in (rows.row_id, rows.seen, rows.tie)))


def _sorted(first: NDArray[Any], *others: NDArray[Any]) -> NDArray[np.int64]:
    """Positions in the order of the first field, and of the others where that one repeats, as it does in few rows."""
    import numpy as np

    order = np.argsort(first, kind="stable")
    ranked = first[order]
    same = ranked[1:] == ranked[:-1]
    again = np.flatnonzero(np.r_[same, False] | np.r_[False, same])[: len(order)]
    some = order[again]
    order[again] = some[np.lexsort(tuple(field[some] for field in (*reversed(others), first)))]
    return order


def _hash(label: str | None) -> int:
    if label is None:
        return 0
    return int.from_bytes(hashlib.blake2b(label.encode(), digest_size=8).digest(), "little")
