"""Files of requests and of true labels, as people hand them in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore._find import find
from ftcore.errors import DataRejectedError
from ftcore.records import sha256

if TYPE_CHECKING:
    import pyarrow as pa


def read(file: Path, parts: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of a file to score, as they came: ``request_id``, ``text``, ``context``, ``group`` and ``part``.

    Args:
        file: CSV, JSON Lines or Parquet.
        parts: names of the task's parts; a task without any has none.

    Raises:
        DataRejectedError: the file cannot be read, lacks a column, or uses a request id twice.
    """
    table = find("sources", "files").read_any(file)
    _require(file, table, ("text", "part") if parts else ("text",))
    if not table.num_rows:
        raise DataRejectedError(f"{file} has no row")
    rows = []
    names = ("request_id", "text", "context", "group", *(("part",) if parts else ()))
    wanted = [name for name in names if name in table.column_names]
    for number, found in enumerate(table.select(wanted).to_pylist()):
        row = dict.fromkeys(("request_id", "context", "group", "part")) | {
            n: v if v is None else str(v) for n, v in found.items()
        }
        row["text"] = row["text"] or ""
        row["request_id"] = row["request_id"] or sha256(f"{file.name}\x00{number}\x00{given(row)}")[:20]
        rows.append(row)
    if strange := sorted({str(row["part"]) for row in rows} - set(parts)) if parts else []:
        raise DataRejectedError(
            f"{file} asks for parts that the task does not have", strange, hint=f"its parts are {', '.join(parts)}"
        )
    twice = [identity for identity, count in Counter(row["request_id"] for row in rows).items() if count > 1]
    if twice:
        raise DataRejectedError(f"{file} uses a request_id twice", [f"request_id {identity}" for identity in twice])
    return rows


def labels(file: Path) -> list[dict[str, str | None]]:
    """Rows of a file of true labels: ``request_id`` and ``label``.

    Raises:
        DataRejectedError: the file cannot be read or lacks a column.
    """
    table = find("sources", "files").read_any(file)
    _require(file, table, ("request_id", "label"))
    return [
        {"request_id": str(r["request_id"]), "label": None if r["label"] is None else str(r["label"])}
        for r in table.select(["request_id", "label"]).to_pylist()
    ]


def given(row: dict[str, Any]) -> str:
    """What the model is given, as one string."""
    said = row["text"] if row["context"] is None else f"{row['text']}\x00{row['context']}"
    return said if row["part"] is None else f"{said}\x00{row['part']}"


def _require(file: Path, table: pa.Table, wanted: tuple[str, ...]) -> None:
    if missing := [name for name in wanted if name not in table.column_names]:
        raise DataRejectedError(f"{file} has no column {', '.join(missing)}; it has {', '.join(table.column_names)}")
