"""How far each incremental source has been read, kept in ``STORE/RECIPE/state/watermarks.json``.

A mark is a pair: the largest watermark read, and the snapshot that holds every row up to it. The pair is what makes a
crash harmless: whatever happens between two publications, the next ingest starts from that snapshot's rows and asks
the source for what came after, so no row is skipped and none is taken twice.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ftcore.errors import DataRejectedError
from ftcore.store.store import RecipeStore, damaged, read_json, write_json

if TYPE_CHECKING:
    from ftcore.store.records import Record

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
    deleted: set[str] = field(default_factory=set)
    """Ids of rows that the source says are gone; a source adds them as it reads."""


@dataclass(frozen=True)
class Mark:
    """Where the last published read of a source ended."""

    value: Value
    """The largest watermark read."""
    snapshot: str
    """Id of the snapshot that holds the source's rows up to it."""
    rules: str
    """Hash of the rules by which those rows were kept, masked or left out; empty where it was not kept."""
    left_out: str = ""
    """File with the rows that were read and are not in the snapshot, relative to the recipe's part of the store."""


def load(shelf: RecipeStore, source: str, config: str) -> Mark | None:
    """The watermark of a source and the snapshot that holds its rows so far.

    Args:
        shelf: the recipe's part of the store.
        source: name of the source, as its rows carry it.
        config: hash of what the recipe says about it; a changed source is read from the beginning.

    Returns:
        None where the source has not been published yet, or was published under another configuration.
    """
    mark = _marks(shelf).get(source)
    if mark is None or mark["config"] != config:
        return None
    return Mark(
        _READERS[mark["type"]](mark["value"]), str(mark["snapshot"]), mark.get("rules", ""), mark.get("left_out", "")
    )


def figure(value: Value, config: str, rules: str = "") -> dict[str, str]:
    """A watermark as ingest's record keeps it under ``watermarks``.

    Args:
        value: the largest watermark read.
        config: hash of what the recipe says about the source.
        rules: hash of the rules by which rows are kept, masked or left out.

    Raises:
        DataRejectedError: a value of a type that has no order worth keeping.
    """
    kind = type(value).__name__
    if kind not in _READERS:
        raise DataRejectedError(
            f"a watermark of type {kind} cannot be kept", hint="use a number, a text, a date or a time"
        )
    text = value.isoformat() if isinstance(value, dt.date) else str(value)
    return {"value": text, "type": kind, "config": config, "rules": rules}


def before(value: Value, overlap: float) -> Value:
    """A watermark that lies ``overlap`` behind another: a window in which rows that were committed late are read again.

    Args:
        value: a number, a time, a date, or a time written as ISO 8601.
        overlap: in the number's own unit, in seconds for a time, in days for a date.

    Raises:
        DataRejectedError: from this value nothing can be taken away.
    """
    if not overlap:
        return value
    found: Value | None = None
    if isinstance(value, dt.datetime):
        found = value - dt.timedelta(seconds=overlap)
    elif isinstance(value, dt.date):
        found = value - dt.timedelta(days=overlap)
    elif isinstance(value, int):
        found = value - math.ceil(overlap)
    elif isinstance(value, float):
        found = value - overlap
    elif isinstance(value, Decimal):
        found = value - Decimal(str(overlap))
    elif isinstance(value, str):
        found = _written_before(value, overlap)
    if found is None:
        raise DataRejectedError(
            f"an overlap cannot be taken from the watermark {value!r}",
            hint="name a column of numbers, times or dates as watermark, or take the source's overlap out",
        )
    return found


def _written_before(value: str, overlap: float) -> str | None:
    """The same of a time that is written, in the same form, so that it still compares as text; None for other texts."""
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        return None
    if len(value) <= len("2026-01-31"):
        return (moment - dt.timedelta(days=overlap)).date().isoformat()
    digits = re.search(r"[.](\d+)", value)
    earlier = moment - dt.timedelta(seconds=overlap)
    precision = "seconds" if value.count(":") > 1 else "minutes"
    text = earlier.isoformat(
        value[10], {0: precision, 3: "milliseconds"}.get(len(digits[1]) if digits else 0, "microseconds")
    )
    return text.replace("+00:00", "Z") if value.endswith("Z") else text


def commit(shelf: RecipeStore, ingest: Record, snapshot: str, left_out: str = "") -> None:
    """Move the marks to where a published snapshot has read: called right after the publication.

    Called again with the same record and snapshot it changes nothing; a crash before it leaves the older pairs, which
    still fit together.

    Args:
        shelf: the recipe's part of the store.
        ingest: record of the run's ``ingest``.
        snapshot: id of the snapshot that was published from it.
        left_out: file with the rows that were read and are not in the snapshot; files of marks that are gone go, too.
    """
    reached = ingest.figures.get("watermarks") or {}
    if reached:
        marks = _marks(shelf)
        before = {mark.get("left_out") for mark in marks.values()}
        more = {"snapshot": snapshot, "left_out": left_out, "run_id": ingest.run_id}
        marks |= {source: {**mark, **more} for source, mark in reached.items()}
        write_json(_file(shelf), marks)
        for old in before - {mark.get("left_out") for mark in marks.values()}:
            if old:
                (shelf.root / old).unlink(missing_ok=True)


def held(shelf: RecipeStore) -> set[str]:
    """Snapshots from which rows will be carried over: retention must keep them."""
    return {str(mark["snapshot"]) for mark in _marks(shelf).values()}


def _marks(shelf: RecipeStore) -> dict[str, Any]:
    """The marks by source; none before the first publication."""
    marks = read_json(_file(shelf))
    if marks is None:
        return {}
    whole = isinstance(marks, dict) and all(
        isinstance(mark, dict) and {"value", "type", "config", "snapshot"} <= mark.keys() and mark["type"] in _READERS
        for mark in marks.values()
    )
    if not whole:
        raise damaged(_file(shelf), "holds no watermarks")
    return dict(marks)


def _file(shelf: RecipeStore) -> Any:
    return shelf.root / "state" / "watermarks.json"
