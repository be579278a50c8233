"""Rows in CSV, TSV, JSON, JSON Lines, Parquet or text files, in archives too, here or on any server of fsspec."""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from ftcore.data import period
from ftcore.data.sources import _archives, _formats, _json, _names, _places
from ftcore.data.sources._mapping import Batch, Mapped, Mapper, answered, sampled, structures
from ftcore.data.sources._values import plain
from ftcore.errors import DataRejectedError, EmptyFileError, NotFoundError
from ftcore.recipe.kinds import find

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath

    from ftcore.context import Context

EXAMPLE = {"kind": "files", "path": "data/*.csv"}
log = logging.getLogger(__name__)
_DAY = re.compile(r"\{day:([^{}]+)\}")
MOST_SHARDS = 100
"""Most groups that one source's files are divided into; each costs an Airflow task a few seconds to start."""


class Config(Mapped):
    """Files of rows, read as a stream. Broken bytes become U+FFFD; a row that cannot be read is quarantined.

    Besides its own columns every row has ``path`` (from the recipe's folder, or within the archive), ``folder`` (name
    of the folder that the file lies in) and ``file`` (its name), unless the file has columns of these names.
    """

    kind: Literal["files"] = "files"
    path: str
    """A file or a pattern such as ``data/**/*.csv.gz``; a relative one starts at the recipe's folder. A name with
    brackets that is there as it is written is no pattern. Any URL that fsspec knows: ``s3://``, ``gs://``,
    ``https://``; its credentials come from the environment. Where folders or files are called by the day,
    ``events/{day:%Y-%m-%d}/*.csv`` spares a backfill from opening those of other days. Of an archive (``.zip``,
    ``.tar``, ``.tar.gz``, …) the members are read as files, without unpacking it to a disk."""
    members: str | None = None
    """Which members of an archive to read, such as ``train/*.csv``; all in a known format where it is not said."""
    format: Literal["csv", "tsv", "jsonl", "json", "parquet", "txt", "document"] | None = None
    """Format of the files; by their ending where it is not said. In ``txt`` each line is a row with only ``text``; in
    ``document`` each file is one, and ``label: folder`` takes its folder's name as the label; in ``tsv`` a quote is a
    character like any other; ``json`` is an array of objects."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Character between the cells of a CSV file; a comma where it is not said."""
    quote: Annotated[str, Field(max_length=1)] | None = None
    """Quote character of a CSV file; empty where quotes are characters like any other. A double quote where it is not
    said."""
    skip_rows: Annotated[int, Field(ge=0)] = 0
    """Lines of a CSV file before its header."""
    header: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the columns of a CSV file that has no header; with ``skip_rows: 1`` they replace the one it has."""
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
    several = _names.SIGNS.search(config.path) or _places.is_archive(Path(config.path))
    if config.format == "document":
        return f"files:{config.name or _places.first_folder(config.path) or 'documents'}"
    return None if several and not config.name else f"files:{config.name or _places.stem(Path(config.path))}"


def read(config: Config, context: Context) -> Iterator[pa.Table]:
    """Rows of all files that match, in the order of their paths.

    Raises:
        NotFoundError: no file matches.
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


def batches(
    path: UPath | Path,
    config: Config,
    wanted: Sequence[str] | None,
    where: str = "",
    given: Mapping[str, str] | None = None,
) -> Iterator[Batch]:
    """Rows of one file.

    Args:
        path: the file.
        config: how it is to be read.
        wanted: columns; None reads all.
        where: what messages call it; its path where it is not said.
        given: columns that all its rows have, where it has none of that name.

    Raises:
        DataRejectedError: the file is empty, is broken, or lacks a column.
    """
    where = where or _places.shown(path)
    form = config.format or _places.format_of(path)
    opened = partial(_places.opened, path)
    yield from _batches(opened, form, config, _reading(config, form, where, wanted, given or {}))


def columns(path: Path, config: Config) -> list[str]:
    """Names of a file's columns: of its header or schema, or the keys of its first rows.

    Raises:
        DataRejectedError: the file is empty or broken, or of another format.
    """
    where, form = _places.shown(path), config.format or _places.format_of(path)
    with _places.speaking_plainly(where):
        if form == "parquet":
            from pyarrow import parquet

            with _places.opened(path) as file:
                return list(parquet.ParquetFile(file).schema_arrow.names)
        if form in {"csv", "tsv"}:
            with _places.opened(path) as file:
                lines = _formats.Lines(_formats.decoded(file, config.encoding))
                return _formats.header(lines, _reading(config, form, where, None, {}))
        return list(next(iter(batches(path, config, None))).columns)


def missing(config: Config, folder: Path) -> str:
    """Why a source on this machine has no file to read; empty where it has one, or is on a server.

    Args:
        config: of the source.
        folder: the recipe's.
    """
    if "://" in config.path:
        return ""
    try:
        _places.find(_any_day(config.path), folder)
    except NotFoundError as error:
        return str(error.args[0])
    return ""


def is_archive(path: Path) -> bool:
    """Whether a file is an archive of several, by its ending."""
    return _places.is_archive(path)


def has_delimiter(path: Path) -> bool:
    """Whether the format of a file, by its ending, has a delimiter that one may choose."""
    return _places.known_format(path.name) == "csv"


def given(path: Path, wanted: Sequence[str] | None) -> dict[str, str]:
    """The columns that every row of a file has besides its own, or those of them that are wanted."""
    found = _given(path.as_posix())
    return found if wanted is None else _asked_for(found, wanted)


def mapper(config: Config, task: Any) -> Mapper:
    """What maps the columns of a file that people hand in for a task."""
    return Mapper(config, "requests", structures=getattr(find("tasks", task.kind), "STRUCTURES", ()))


def read_any(path: Path, wanted: Sequence[str] | None = None, config: Config | None = None) -> pa.Table:
    """Columns of one file as text, for files that people hand in: requests, labels. It is read whole.

    Args:
        path: the file.
        wanted: columns; None reads all.
        config: how it is to be read, where its ending does not tell.

    Raises:
        DataRejectedError: empty, broken, or of another kind; with the line.
    """
    import pyarrow as pa

    tables = []
    for batch in batches(path, config or Config(path=str(path)), wanted):
        for position, reason in batch.spoiled.items():
            raise DataRejectedError(f"{batch.at(position)} cannot be read: {reason}")
        columns = {name: pa.array(_texts(batch, name), pa.string()) for name in batch.columns}
        tables.append(pa.table(columns) if columns else pa.table({}))
    return pa.concat_tables(tables, promote_options="default")


def _reading(
    config: Config, form: str, where: str, wanted: Sequence[str] | None, given: Mapping[str, str]
) -> _formats.Reading:
    return _formats.Reading(
        where,
        wanted,
        given,
        config.delimiter or ("\t" if form == "tsv" else ","),
        config.quote,
        config.skip_rows,
        config.header,
    )


def _batches(
    opened: Callable[[], AbstractContextManager[IO[bytes]]], form: str, config: Config, reading: _formats.Reading
) -> Iterator[Batch]:
    where, lines = reading.where, None
    try:
        with opened() as file:
            if form == "parquet":
                yield from _formats.read_parquet(file, reading)
                return
            lines = _formats.Lines(_formats.decoded(file, config.encoding))
            yield from _READERS[form](lines, reading)
            if not lines.number:
                raise EmptyFileError(f"{where} is empty")
    except Exception as error:
        translated = _places.plainly(f"{where}, after line {lines.number}" if lines and lines.number else where, error)
        if translated is error:
            raise
        raise translated from None  # the cause may hold a signed URL, and a traceback would print it


def _found(config: Config, context: Context) -> list[UPath]:
    """The files of a run, sorted by path; where the path names days only those of its period."""
    folder = context.recipe_path.parent
    asked = period.asked(context.params) if _DAY.search(config.path) else None
    if asked is None:
        return _places.find(_any_day(config.path), folder)
    found: dict[str, UPath] = {}
    missing = None
    for pattern in dict.fromkeys(_on(day, config.path) for day in asked.days()):
        try:
            found |= {str(file): file for file in _places.find(pattern, folder)}
        except NotFoundError as error:  # a day on which nothing came is no fault
            missing = error
    if missing and not found:
        raise missing
    return [found[name] for name in sorted(found)]


def _any_day(path: str) -> str:
    return _DAY.sub(lambda spec: re.sub("%[A-Za-z]", "*", spec[1]), path)


def _on(day: date, path: str) -> str:
    return _DAY.sub(lambda spec: day.strftime(spec[1]), path)


def _named(group: Sequence[UPath]) -> str:
    more = f"-and-{len(group) - 1}-more" if len(group) > 1 else ""
    return f"{_places.stem(group[0])}{more}"


def _tables(config: Config, context: Context, paths: Sequence[UPath]) -> Iterator[pa.Table]:
    """Rows of some files; one without any is a warning where it is not the only one."""
    mappers: dict[bool, Mapper] = {}
    empty: list[EmptyFileError] = []
    files = read = 0
    for name, form, found in _each(config, context, paths):
        files, before = files + 1, read
        unlabelled = form in {"txt", "document"} and not {"label", "label_columns"} & config.model_fields_set
        if unlabelled not in mappers:
            # Lines have no label: the default must not ask for one.
            here = config.model_copy(update={"label": None}) if unlabelled else config
            own, fields = answered(context, name), structures(context, name)
            mappers[unlabelled] = Mapper(here, name, answered=own, structures=fields, filtered=context.filtered)
        mapper = mappers[unlabelled].of(name)
        said = f"a file of {name} has no row"
        try:
            for batch in found(mapper.columns):
                read += len(batch.places)
                said = f"{batch.where} has no row"
                if batch.places:
                    yield mapper.table(batch)
        except EmptyFileError as error:
            empty.append(error)
            said = str(error)
        if read == before and len(paths) > 1:
            log.warning("%s: nothing to read there for %s", said, config.path)
    if empty and (files == 1 or not read):
        raise empty[0]
    for mapper in mappers.values():
        mapper.finish()


def _each(
    config: Config, context: Context, paths: Sequence[UPath]
) -> Iterator[tuple[str, str, Callable[[Sequence[str]], Iterator[Batch]]]]:
    """Name of the source, format and reader of each file, and of each member of an archive."""
    names = _names.Names(context)
    for path in paths:
        if not _places.is_archive(path):
            form = config.format or _places.format_of(path)
            given = _given(_names.where(path, context))
            yield _named_by(config, path, names), form, partial(_of_file, path, config, given)
            continue
        for name, file in _archives.members(path, config.members, any_format=config.format is not None):
            form = config.format or str(_places.known_format(name))
            given = _given(name)
            where = f"{_places.shown(path)}: {name}"
            named = _named_by(config, path, names, PurePosixPath(name))
            yield named, form, partial(_of_member, file, form, config, where, given)


def _named_by(config: Config, path: UPath, names: _names.Names, member: PurePosixPath | None = None) -> str:
    """Name that the rows of a file, or of a member of an archive, carry."""
    if config.format == "document":
        return str(source_name(config))
    if config.name:
        return f"files:{config.name}"
    if member is None and not _names.SIGNS.search(config.path):
        return f"files:{_places.stem(path)}"
    inner = "" if member is None else f"/{member.with_name(_places.stem(member))}"
    return f"files:{names.of(config.path, path)}{inner}"


def _given(path: str) -> dict[str, str]:
    parts = PurePosixPath(path.rsplit("://", maxsplit=1)[-1])
    return {"path": path, "folder": parts.parent.name, "file": parts.name}


def _of_file(path: UPath, config: Config, given: Mapping[str, str], wanted: Sequence[str]) -> Iterator[Batch]:
    return batches(path, config, wanted, given=_asked_for(given, wanted))


def _of_member(
    file: IO[bytes], form: str, config: Config, where: str, given: Mapping[str, str], wanted: Sequence[str]
) -> Iterator[Batch]:
    opened = partial(_places.unpacked, file, where)
    yield from _batches(opened, form, config, _reading(config, form, where, wanted, _asked_for(given, wanted)))


def _asked_for(given: Mapping[str, str], wanted: Sequence[str]) -> dict[str, str]:
    return {name: value for name, value in given.items() if name in wanted}


_READERS: dict[str, Callable[[_formats.Lines, _formats.Reading], Iterator[Batch]]] = {
    "csv": _formats.read_csv,
    "tsv": _formats.read_csv,
    "jsonl": _json.read_jsonl,
    "json": _json.read_json,
    "txt": _formats.read_txt,
    "document": _formats.read_document,
}


def _texts(batch: Batch, name: str) -> list[str | None]:
    try:
        return [plain(value) for value in batch.columns[name]]
    except TypeError as error:
        raise DataRejectedError(f"{batch.where}: column {name!r} holds lists or objects") from error
