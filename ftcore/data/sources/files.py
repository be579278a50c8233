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
from typing import IO, TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from ftcore.data import period
from ftcore.data.sources import _archives, _formats, _json, _names, _places
from ftcore.data.sources._base import Mapped
from ftcore.data.sources._mapping import Batch, Mapper
from ftcore.errors import EmptyFileError, NotFoundError

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath

    from ftcore.context import Context
    from ftcore.recipe.sections import Task

log = logging.getLogger(__name__)
_DAY = re.compile(r"\{day:([^{}]+)\}")
MOST_SHARDS = 100
"""Most groups that one source's files are divided into; each costs an Airflow task a few seconds to start."""


class Files(Mapped):
    """Files of rows, read as a stream. Broken bytes become U+FFFD; a row that cannot be read is quarantined.

    In addition to its own columns every row has ``path`` (from the recipe's folder, or within the archive), ``folder``
    (name of the folder that the file lies in) and ``file`` (its name), unless the file has columns of these names.
    """

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "files", "path": "data/*.csv"}

    kind: Literal["files"] = "files"
    path: str
    """A file or a pattern such as ``data/**/*.csv.gz``; a relative one starts at the recipe's folder. A name with
    brackets that is there as it is written is no pattern. Any URL that fsspec knows: ``s3://``, ``gs://``,
    ``https://``; its credentials come from the environment. Where folders or files are called by the day,
    ``events/{day:%Y-%m-%d}/*.csv`` spares a backfill from opening those of other days. Of an archive (``.zip``,
    ``.tar``, ``.tar.gz``, …) the members are read as files, without unpacking it to a disk."""
    members: str | None = None
    """Which members of an archive to read, such as ``train/*.csv``; null: all in a known format."""
    format: Literal["csv", "tsv", "jsonl", "json", "parquet", "txt", "document"] | None = None
    """Format of the files; null: by their ending. In ``txt`` each line is a row with only ``text``; in
    ``document`` each file is one, and ``label: folder`` takes its folder's name as the label; in ``tsv`` a quote is a
    character like any other; ``json`` is an array of objects."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Character between the cells of a CSV file; null: a comma."""
    quote: Annotated[str, Field(max_length=1)] | None = None
    """Quote character of a CSV file; empty where quotes are characters like any other; null: a double quote."""
    skip_rows: Annotated[int, Field(ge=0)] = 0
    """Lines of a CSV file before its header."""
    header: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the columns of a CSV file that has no header; with ``skip_rows: 1`` they replace the one it has."""
    encoding: str | None = None
    """Encoding of text files without a byte order mark, such as ``cp1252``; null: UTF-8."""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        try:
            return value and codecs.lookup(value).name
        except LookupError:
            raise ValueError("unknown encoding") from None

    @property
    def location(self) -> str:
        """The path."""
        return self.path

    def source_name(self) -> str | None:
        """Name that the rows of this source carry; None where each of several files has one of its own."""
        several = _names.SIGNS.search(self.path) or _places.is_archive(Path(self.path))
        if self.format == "document":
            return f"files:{self.name or _places.first_folder(self.path) or 'documents'}"
        return None if several and not self.name else f"files:{self.name or _places.stem(Path(self.path))}"

    def tables(self, context: Context) -> Iterator[pa.Table]:
        """Rows of all files that match, in the order of their paths.

        Raises:
            NotFoundError: no file matches.
            DataRejectedError: a file is empty, is broken, or lacks a column; with its line.
            TransientError: a server does not answer.
        """
        yield from self._tables(context, self._found(context))

    def shards(self, context: Context) -> list[tuple[str, list[str]]]:
        """The files in groups of about one size, each with a name; together and in order they are what ``read`` reads.

        Raises:
            As ``read``.
        """
        files = self._found(context)
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

    def read_shard(self, context: Context, pieces: Sequence[str]) -> Iterator[pa.Table]:
        """Rows of one of the groups that ``shards`` gave.

        Raises:
            As ``read``.
        """
        from upath import UPath

        yield from self.sampled(self._tables(context, [UPath(piece) for piece in pieces]))

    def batches(
        self,
        path: UPath | Path,
        wanted: Sequence[str] | None,
        where: str = "",
        given: Mapping[str, str] | None = None,
    ) -> Iterator[Batch]:
        """Rows of one file.

        Args:
            path: the file.
            wanted: columns; None reads all.
            where: what messages call it; its path where it is not said.
            given: columns that all its rows have, where it has none of that name.

        Raises:
            DataRejectedError: the file is empty, is broken, or lacks a column.
        """
        where = where or _places.shown(path)
        form = self.format or _places.format_of(path)
        opened = partial(_places.opened, path)
        yield from self._batches(opened, form, self._reading(form, where, wanted, given or {}))

    def columns(self, path: Path) -> list[str]:
        """Names of a file's columns: of its header or schema, or the keys of its first rows.

        Raises:
            DataRejectedError: the file is empty or broken, or of another format.
        """
        where, form = _places.shown(path), self.format or _places.format_of(path)
        with _places.translate_errors(where):
            if form == "parquet":
                from pyarrow import parquet

                with _places.opened(path) as file:
                    return list(parquet.ParquetFile(file).schema_arrow.names)
            if form in {"csv", "tsv"}:
                with _places.opened(path) as file:
                    lines = _formats.Lines(_formats.decoded(file, self.encoding))
                    return _formats.header(lines, self._reading(form, where, None, {}))
            return list(next(iter(self.batches(path, None))).columns)

    def missing(self, folder: Path) -> str:
        """Why a source on this machine has no file to read; empty where it has one, or is on a server.

        Args:
            folder: the recipe's.
        """
        if "://" in self.path:
            return ""
        try:
            _places.find(_any_day(self.path), folder)
        except NotFoundError as error:
            return str(error.args[0])
        return ""

    def requests(self, task: Task) -> Mapper:
        """Maps the columns of a file that people hand in for a task."""
        return Mapper(self, "requests", structures=task.STRUCTURES)

    def _reading(
        self, form: str, where: str, wanted: Sequence[str] | None, given: Mapping[str, str]
    ) -> _formats.Reading:
        return _formats.Reading(
            where,
            wanted,
            given,
            self.delimiter or ("\t" if form == "tsv" else ","),
            self.quote,
            self.skip_rows,
            self.header,
        )

    def _batches(
        self, opened: Callable[[], AbstractContextManager[IO[bytes]]], form: str, reading: _formats.Reading
    ) -> Iterator[Batch]:
        where, lines = reading.where, None
        try:
            with opened() as file:
                if form == "parquet":
                    yield from _formats.read_parquet(file, reading)
                    return
                lines = _formats.Lines(_formats.decoded(file, self.encoding))
                yield from _READERS[form](lines, reading)
                if not lines.number:
                    raise EmptyFileError(f"{where} is empty")
        except Exception as error:
            translated = _places.plainly(
                f"{where}, after line {lines.number}" if lines and lines.number else where, error
            )
            if translated is error:
                raise
            raise translated from None  # the cause may hold a signed URL, and a traceback would print it

    def _found(self, context: Context) -> list[UPath]:
        """The files of a run, sorted by path; where the path names days only those of its period."""
        folder = context.recipe_path.parent
        asked = period.asked(context.params) if _DAY.search(self.path) else None
        if asked is None:
            return _places.find(_any_day(self.path), folder)
        found: dict[str, UPath] = {}
        missing = None
        for pattern in dict.fromkeys(_on(day, self.path) for day in asked.days()):
            try:
                found |= {str(file): file for file in _places.find(pattern, folder)}
            except NotFoundError as error:  # a day on which nothing came is no fault
                missing = error
        if missing and not found:
            raise missing
        return [found[name] for name in sorted(found)]

    def _tables(self, context: Context, paths: Sequence[UPath]) -> Iterator[pa.Table]:
        """Rows of some files; one without any is a warning where it is not the only one."""
        mappers: dict[bool, Mapper] = {}
        empty: list[EmptyFileError] = []
        files = read = 0
        for name, form, found in self._each(context, paths):
            files, before = files + 1, read
            unlabelled = form in {"txt", "document"} and not {"label", "label_columns"} & self.model_fields_set
            if unlabelled not in mappers:
                # Lines have no label: the default must not ask for one.
                here = self.model_copy(update={"label": None}) if unlabelled else self
                mappers[unlabelled] = Mapper.reading(here, context, name)
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
                log.warning("%s: nothing to read there for %s", said, self.path)
        if empty and (files == 1 or not read):
            raise empty[0]
        for mapper in mappers.values():
            mapper.finish()

    def _each(
        self, context: Context, paths: Sequence[UPath]
    ) -> Iterator[tuple[str, str, Callable[[Sequence[str]], Iterator[Batch]]]]:
        """Name of the source, format and reader of each file, and of each member of an archive."""
        names = _names.Names(context)
        for path in paths:
            if not _places.is_archive(path):
                form = self.format or _places.format_of(path)
                given = _given(_names.where(path, context))
                yield self._named_by(path, names), form, partial(self._of_file, path, given)
                continue
            for name, file in _archives.members(path, self.members, any_format=self.format is not None):
                form = self.format or str(_places.known_format(name))
                given = _given(name)
                where = f"{_places.shown(path)}: {name}"
                named = self._named_by(path, names, PurePosixPath(name))
                yield named, form, partial(self._of_member, file, form, where, given)

    def _named_by(self, path: UPath, names: _names.Names, member: PurePosixPath | None = None) -> str:
        """Name that the rows of a file, or of a member of an archive, carry."""
        if self.format == "document":
            return str(self.source_name())
        if self.name:
            return f"files:{self.name}"
        if member is None and not _names.SIGNS.search(self.path):
            return f"files:{_places.stem(path)}"
        inner = "" if member is None else f"/{member.with_name(_places.stem(member))}"
        return f"files:{names.of(self.path, path)}{inner}"

    def _of_file(self, path: UPath, given: Mapping[str, str], wanted: Sequence[str]) -> Iterator[Batch]:
        return self.batches(path, wanted, given=_asked_for(given, wanted))

    def _of_member(
        self, file: IO[bytes], form: str, where: str, given: Mapping[str, str], wanted: Sequence[str]
    ) -> Iterator[Batch]:
        opened = partial(_places.unpacked, file, where)
        yield from self._batches(opened, form, self._reading(form, where, wanted, _asked_for(given, wanted)))


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


def _any_day(path: str) -> str:
    return _DAY.sub(lambda spec: re.sub("%[A-Za-z]", "*", spec[1]), path)


def _on(day: date, path: str) -> str:
    return _DAY.sub(lambda spec: day.strftime(spec[1]), path)


def _named(group: Sequence[UPath]) -> str:
    more = f"-and-{len(group) - 1}-more" if len(group) > 1 else ""
    return f"{_places.stem(group[0])}{more}"


def _given(path: str) -> dict[str, str]:
    parts = PurePosixPath(path.rsplit("://", maxsplit=1)[-1])
    return {"path": path, "folder": parts.parent.name, "file": parts.name}


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
