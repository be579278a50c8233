"""Rows in CSV, TSV, JSON Lines, Parquet or plain text files, here or on any server that fsspec knows."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from ftcore import period
from ftcore.errors import DataRejectedError, MissingExtraError
from ftcore.sources import _formats, _names, _places
from ftcore.sources._mapping import Batch, Mapped, Mapper, answered, plain, sampled, structures

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath

    from ftcore.context import Context

EXAMPLE = {"kind": "files", "path": "data/*.csv"}
_DAY = re.compile(r"\{day:([^{}]+)\}")
MOST_SHARDS = 100
"""Most groups that one source's files are divided into; each costs an Airflow task a few seconds to start."""


class Config(Mapped):
    """Files of rows, read as a stream. Broken bytes become U+FFFD; a row that cannot be read is quarantined."""

    kind: Literal["files"] = "files"
    path: str
    """A file or a pattern such as ``data/**/*.csv.gz``; a relative one starts at the recipe's folder. Any URL that
    fsspec knows: ``s3://``, ``gs://``, ``https://``; its credentials come from the environment. Where folders or files
    are called by the day, ``events/{day:%Y-%m-%d}/*.csv`` spares a backfill from opening those of other days."""
    format: Literal["csv", "tsv", "jsonl", "parquet", "txt"] | None = None
    """Format of the files; by their ending where it is not said. In ``txt`` each line is a row with only ``text``;
    in ``tsv`` a quote is a character like any other."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Character between the cells of a CSV file; a comma where it is not said."""
    encoding: str | None = None
    """Encoding of text files without a byte order mark, such as ``cp1252``; UTF-8 where it is not said."""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        try:
            return value and codecs.lookup(value).name
        except LookupError:
            raise ValueError("unknown encoding") from None


def source_name(config: Config) -> str | None:
    """Name that the rows of this source carry; None where each of several files has one of its own."""
    several = _names.SIGNS.search(config.path)
    return None if several and not config.name else f"files:{config.name or _places.stem(Path(config.path))}"


def read(config: Config, context: Context) -> Iterator[pa.Table]:
    """Rows of all files that match, in the order of their paths.

    Raises:
        MissingExtraError: no file matches.
        DataRejectedError: a file is empty, is broken, or lacks a column; with its line.
        TransientError: a server does not answer.
    """
    yield from sampled(config, _tables(config, context, _found(config, context)))


def shards(config: Config, context: Context) -> list[tuple[str, list[str]]]:
    """The files in groups of about the same size, each with a name; together and in order they are what ``read`` reads.

    Raises:
        As ``read``.
    """
    files = _found(config, context)
    if len(files) == 1:
        return [(_places.stem(files[0]), [str(files[0])])]
    sizes = [_places.size_bytes(file) for file in files]
    total, count = sum(sizes) or 1, min(MOST_SHARDS, -(-sum(sizes) // context.settings.shard_bytes))
    groups: dict[int, list[UPath]] = {}
    before = 0
    for file, size in zip(files, sizes, strict=True):
        groups.setdefault(int((before + size / 2) / total * count), []).append(file)
        before += size
    return [(_named(group), [str(file) for file in group]) for group in groups.values()]


def read_shard(config: Config, context: Context, pieces: Sequence[str]) -> Iterator[pa.Table]:
    """Rows of one of the groups that ``shards`` gave.

    Raises:
        As ``read``.
    """
    from upath import UPath

    yield from sampled(config, _tables(config, context, [UPath(piece) for piece in pieces]))


def batches(path: UPath | Path, config: Config, wanted: Sequence[str] | None, where: str = "") -> Iterator[Batch]:
    """Rows of one file; ``wanted`` columns, or all. Messages call the file ``where``.

    Raises:
        DataRejectedError: the file is empty, is broken, or lacks a column.
    """
    where, lines = where or _places.shown(path), None
    form = config.format or _places.format_of(path)
    try:
        with _places.opened(path) as file:
            if form == "parquet":
                yield from _formats.read_parquet(file, where, wanted)
                return
            lines = _formats.Lines(_formats.decoded(file, config.encoding))
            yield from _read_text(form, lines, where, wanted, config.delimiter)
            if not lines.number:
                raise DataRejectedError(f"{where} is empty")
    except Exception as error:
        translated = _places.plainly(f"{where}, after line {lines.number}" if lines and lines.number else where, error)
        if translated is error:
            raise
        raise translated from None  # the cause may hold a signed URL, and a traceback would print it


def read_any(path: Path) -> pa.Table:
    """All columns of one file as text, for files that people hand in: requests, labels. It is read whole.

    Raises:
        DataRejectedError: empty, broken, or of another kind; with the line.
    """
    import pyarrow as pa

    tables = []
    for batch in batches(path, Config(path=str(path)), None):
        for position, reason in batch.spoiled.items():
            raise DataRejectedError(f"{batch.at(position)} cannot be read: {reason}")
        columns = {name: pa.array(_texts(batch, name), pa.string()) for name in batch.columns}
        tables.append(pa.table(columns) if columns else pa.table({}))
    return pa.concat_tables(tables, promote_options="default")


def _found(config: Config, context: Context) -> list[UPath]:
    """The files of a run, sorted by path; where the path names days only those of its period."""
    folder = context.recipe_path.parent
    asked = period.asked(context.params) if _DAY.search(config.path) else None
    if asked is None:
        return _places.find(_DAY.sub(lambda spec: re.sub("%[A-Za-z]", "*", spec[1]), config.path), folder)
    found: dict[str, UPath] = {}
    missing = None
    for pattern in dict.fromkeys(_on(day, config.path) for day in asked.days()):
        try:
            found |= {str(file): file for file in _places.find(pattern, folder)}
        except MissingExtraError as error:  # a day on which nothing came is no fault
            missing = error
    if missing and not found:
        raise missing
    return [found[name] for name in sorted(found)]


def _on(day: date, path: str) -> str:
    return _DAY.sub(lambda spec: day.strftime(spec[1]), path)


def _named(group: Sequence[UPath]) -> str:
    more = f"-and-{len(group) - 1}-more" if len(group) > 1 else ""
    return f"{_places.stem(group[0])}{more}"


def _tables(config: Config, context: Context, paths: Sequence[UPath]) -> Iterator[pa.Table]:
    for path in paths:
        here = config
        if (config.format or _places.format_of(path)) == "txt" and "label" not in config.model_fields_set:
            here = config.model_copy(update={"label": None})  # lines have no label: the default must not ask for one
        name = f"files:{config.name or _names.of(config.path, path, context)}"
        mapper = Mapper(here, name, answered=answered(context, name), structures=structures(context, name))
        for batch in batches(path, here, mapper.columns):
            if batch.places:
                yield mapper.table(batch)


def _read_text(
    form: str, lines: _formats.Lines, where: str, wanted: Sequence[str] | None, delimiter: str | None
) -> Iterator[Batch]:
    if form == "jsonl":
        return _formats.read_jsonl(lines, where, wanted)
    if form == "txt":
        return _formats.read_txt(lines, where, wanted)
    return _formats.read_csv(lines, where, wanted, delimiter or ("\t" if form == "tsv" else ","))


def _texts(batch: Batch, name: str) -> list[str | None]:
    try:
        return [plain(value) for value in batch.columns[name]]
    except TypeError as error:
        raise DataRejectedError(f"{batch.where}: column {name!r} holds lists or objects") from error
