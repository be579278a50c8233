"""How far each incremental source has been read, kept in ``STORE/RECIPE/state/watermarks.json``.

A mark is a pair: the largest watermark read, and the snapshot that holds every row up to it. The pair is what makes a
crash harmless: whatever happens between two publications, the next ingest starts from that snapshot's rows and asks
the source for what came after, so no row is skipped and none is taken twice.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ftcore.errors import DataRejectedError
from ftcore.store import Shelf, read_json, write_json

if TYPE_CHECKING:
    from ftcore.records import Record

Value = int | float | str | Decimal | dt.datetime | dt.date | UUID
_READERS: dict[str, Any] = {
    "int": int,
    "float": float,
    "str": str,
    "Decimal": Decimal,
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "UUID": UUID,
}


@dataclass
class Cursor:
    """Where a source starts to read, and how far it got."""

    since: Value | None = None
    """Read from this watermark on, itself included; None means from the beginning."""
    reached: Value | None = None
    """The largest watermark seen so far; a source sets it as it reads."""


def load(shelf: Shelf, source: str, config: str) -> tuple[Value, str] | None:
    """The watermark of a source and the snapshot that holds its rows so far.

    Args:
        shelf: the recipe's part of the store.
        source: name of the source, as its rows carry it.
        config: hash of what the recipe says about it; a changed source is read from the beginning.

    Returns:
        None where the source has not been published yet, or was published under another configuration.
    """
    mark = (read_json(_file(shelf)) or {}).get(source)
    if mark is None or mark["config"] != config:
        return None
    return _READERS[mark["type"]](mark["value"]), str(mark["snapshot"])


def figure(value: Value, config: str) -> dict[str, str]:
    """A watermark as ingest's record keeps it under ``watermarks``.

    Raises:
        DataRejectedError: a value of a type that has no order worth keeping.
    """
    kind = type(value).__name__
    if kind not in _READERS:
        raise DataRejectedError(
            f"a watermark of type {kind} cannot be kept", hint="use a number, a text, a date or a time"
        )
    text = value.isoformat() if isinstance(value, dt.date) else str(value)
    return {"value": text, "type": kind, "config": config}


def commit(shelf: Shelf, ingest: Record, snapshot: str) -> None:
    """Move the marks to where a published snapshot has read: called right after the publication.

    Called again with the same record and snapshot it changes nothing; a crash before it leaves the older pairs, which
    still fit together.

    Args:
        shelf: the recipe's part of the store.
        ingest: record of the run's ``ingest``.
        snapshot: id of the snapshot that was published from it.
    """
    reached = ingest.figures.get("watermarks") or {}
    if reached:
        marks = read_json(_file(shelf)) or {}
        marks |= {source: {**mark, "snapshot": snapshot, "run_id": ingest.run_id} for source, mark in reached.items()}
        write_json(_file(shelf), marks)


def held(shelf: Shelf) -> set[str]:
    """Snapshots from which rows will be carried over: retention must keep them."""
    return {str(mark["snapshot"]) for mark in (read_json(_file(shelf)) or {}).values()}


def _file(shelf: Shelf) -> Any:
    return shelf.root / "state" / "watermarks.json"
