"""Rows in CSV, JSON Lines or Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore import snapshot
from ftcore._find import Config as Base
from ftcore.errors import DataRejectedError, MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.context import Context

EXAMPLE = {"kind": "files", "path": "data/*.csv"}
SUFFIXES = (".csv", ".jsonl", ".parquet")


class Config(Base):
    """Files of rows; a relative path starts at the recipe's folder."""

    kind: Literal["files"] = "files"
    path: str
    """A file or a pattern such as ``data/*.csv``; CSV, JSON Lines (``.jsonl``) or Parquet by the ending."""
    text: str = "text"
    """Column of the text."""
    label: str = "label"
    """Column of the label."""
    id: str | None = None
    """Column of the source's own key; without one a row is known by its text."""
    group: str | None = None
    """Column that ties rows together which must stay on one side of the split: a customer, a document, a
    conversation."""
    observed_at: str | None = None
    """Column of the time at which the row was observed; ISO 8601, in UTC where it names no offset."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """Read no more rows than this."""


def read(config: Config, context: Context) -> Iterator[pa.Table]:
    """Rows of all files that match, a table a file.

    Raises:
        MissingExtraError: no file matches.
        DataRejectedError: a file is empty, is broken, or lacks a column.
    """
    left = config.max_rows
    for path in _matching(config.path, context.recipe_path.parent):
        table = _rows(path, config)
        yield table.slice(0, left)
        if left is not None:
            left -= table.num_rows
            if left <= 0:
                return


def read_any(path: Path) -> pa.Table:
    """A table from a CSV, JSON Lines or Parquet file. CSV columns come as text; broken UTF-8 comes as U+FFFD.

    Raises:
        DataRejectedError: empty, broken, or of another kind.
    """
    import pyarrow as pa
    from pyarrow import csv, json, parquet

    try:
        if path.suffix == ".parquet":
            return parquet.read_table(path)
        if path.suffix not in SUFFIXES:
            raise DataRejectedError(f"{path}: cannot read '{path.suffix}' files", hint=f"known: {', '.join(SUFFIXES)}")
        data = path.read_bytes().decode("utf-8-sig", errors="replace").encode()
        if not data.strip():
            raise DataRejectedError(f"{path} is empty")
        source = pa.BufferReader(data)
        if path.suffix == ".jsonl":
            return json.read_json(source, read_options=json.ReadOptions(block_size=max(1 << 20, len(data) + 1)))
        # One block: a value that is longer than a block, or crosses two of them, cannot be read.
        whole = csv.ReadOptions(block_size=max(1 << 20, len(data) + 1))
        header = csv.open_csv(pa.BufferReader(data), read_options=whole, parse_options=_csv_format()).schema.names
        types = csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=True, null_values=[""]
        )
        return csv.read_csv(source, read_options=whole, parse_options=_csv_format(), convert_options=types)
    except (pa.ArrowException, OSError) as error:
        raise DataRejectedError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _csv_format() -> object:
    from pyarrow import csv

    return csv.ParseOptions(newlines_in_values=True)


def _matching(pattern: str, folder: Path) -> list[Path]:
    path = Path(pattern).expanduser()
    start, rest = (Path(path.anchor), str(path.relative_to(path.anchor))) if path.is_absolute() else (folder, str(path))
    found = sorted(match for match in start.glob(rest) if match.is_file())
    if not found:
        raise MissingExtraError(
            f"no file matches {pattern!r} in {start}", hint="mount it, or mend the path in the recipe"
        )
    return found


def _rows(path: Path, config: Config) -> pa.Table:
    import pyarrow as pa

    table = read_any(path)
    asked = [config.text, config.label, config.id, config.group, config.observed_at]
    if missing := [name for name in asked if name and name not in table.column_names]:
        raise DataRejectedError(
            f"{path} has no column {', '.join(map(repr, missing))}; it has {', '.join(table.column_names)}",
            hint="name the columns in the recipe: text, label, id, group, observed_at",
        )
    if twice := sorted({name for name in asked if name and table.column_names.count(name) > 1}):
        raise DataRejectedError(f"{path} has more than one column {', '.join(map(repr, twice))}")
    source = f"files:{path.stem}"
    texts = [_text(value) for value in table[config.text].to_pylist()]
    keys = [_text(value) for value in table[config.id].to_pylist()] if config.id else map(snapshot.text_key, texts)
    columns = {
        "row_id": [snapshot.row_id(source, key) for key in keys],
        "text": texts,
        "label": [None if value is None else str(value) for value in table[config.label].to_pylist()],
        "source": [source] * table.num_rows,
        "group": _optional(table, config.group, lambda value: f"{source}:{value}"),
        "observed_at": _times(path, table, config.observed_at),
    }
    return pa.table(columns, schema=snapshot.schema())


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _optional(table: pa.Table, column: str | None, convert: object) -> list[object]:
    if column is None:
        return [None] * table.num_rows
    return [None if value is None else convert(value) for value in table[column].to_pylist()]  # type: ignore[operator]


def _times(path: Path, table: pa.Table, column: str | None) -> pa.Array:
    import pyarrow as pa

    kind = pa.timestamp("ms", "UTC")
    if column is None:
        return pa.nulls(table.num_rows, kind)
    if pa.types.is_timestamp(table.schema.field(column).type):
        return table[column].combine_chunks().cast(kind, safe=False)
    try:
        return pa.array([_time(value) for value in table[column].to_pylist()], kind)
    except ValueError as error:
        raise DataRejectedError(
            f"{path}: column {column!r} holds something that is no ISO 8601 time: {error}"
        ) from error


def _time(value: object) -> datetime | None:
    """A time in UTC; one without an offset is taken to be in UTC already."""
    if value is None:
        return None
    moment = datetime.fromisoformat(str(value))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
