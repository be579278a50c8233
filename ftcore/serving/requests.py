"""Files of requests and of true labels, as people hand them in: read as the recipe's sources read theirs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.data.cleaning import label_names
from ftcore.data.sources import files
from ftcore.errors import DataRejectedError
from ftcore.recipe.canonical import sha256

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe

log = logging.getLogger(__name__)
GUESSED = (";", "\t", "|")
"""Delimiters that are tried where a file has no wanted column between commas."""


@dataclass(frozen=True)
class Handed:
    """What the person says who hands a file in."""

    source: str = ""
    """Name of the source whose mapping holds; empty where one alone fits."""
    delimiter: str = ""
    """Character between the cells of a CSV file; empty tries a comma, then those of ``GUESSED``."""
    encoding: str = ""
    """Encoding of a text file without a byte order mark; empty means UTF-8."""
    new_ids: bool = False
    """Leave the file's request ids aside and make new ones."""


@dataclass(frozen=True)
class _Mapping:
    """Which columns of a file are what, by one source of the recipe."""

    name: str
    fields: dict[str, str]
    """Column or template by field."""
    config: Any


def read(file: Path, recipe: Recipe, handed: Handed | None = None) -> list[dict[str, Any]]:
    """Rows of a file to score, as they came: ``request_id``, ``text``, ``context``, ``group`` and ``part``.

    A source's mapping holds where the file has the columns that it names (``text: message`` reads ``message``); else,
    and for what it does not name, the columns are called ``text``, ``context`` and ``group``. Other columns are not
    read.

    Args:
        file: in any format of the source ``files``.
        recipe: its sources' mappings, and the parts of its task.
        handed: what the person says about the file.

    Raises:
        DataRejectedError: the file cannot be read, lacks a column, fits several mappings, or uses a request id twice.
    """
    handed = handed or Handed()
    own = ("request_id", *(("part",) if recipe.parts else ()))
    opened = _Opened(file, recipe, handed, "text", ("text", "context"), own[1:])
    rows = [
        dict.fromkeys(("request_id", "context", "group", "part")) | row
        for row in opened.rows(("text", "context", "group"), own)
    ]
    if not rows:
        raise DataRejectedError(f"{file} has no row")
    for number, row in enumerate(rows):
        row["text"] = row["text"] or ""
        if handed.new_ids or not row["request_id"]:
            row["request_id"] = sha256(f"{file.name}\x00{number}\x00{given(row)}")[:20]
    parts = recipe.parts
    if strange := sorted({str(row["part"]) for row in rows} - set(parts)) if parts else []:
        raise DataRejectedError(
            f"{file} asks for parts that the task does not have", strange, hint=f"its parts are {', '.join(parts)}"
        )
    twice = [identity for identity, count in Counter(row["request_id"] for row in rows).items() if count > 1]
    if twice:
        raise DataRejectedError(
            f"{file} uses a request_id twice",
            [f"request_id {identity}" for identity in twice],
            hint="a request id names one request; --new-ids makes ids instead of those of the file",
        )
    return rows


def labels(file: Path, recipe: Recipe, handed: Handed | None = None) -> list[dict[str, str | None]]:
    """Rows of a file of true labels: ``request_id`` and ``label``.

    The label is read by a source's mapping where the file has the column that it names, else from ``label``. A value
    that is no label of the task may be one by the ``label_map`` of the sources.

    Raises:
        DataRejectedError: the file cannot be read, lacks a column, or fits several mappings.
    """
    opened = _Opened(file, recipe, handed or Handed(), "label", ("label",), ("request_id",))
    labels = _Labels(recipe)
    return [
        {"request_id": str(row["request_id"]), "label": labels.meant(row["label"])}
        for row in opened.rows(("label",), ("request_id",))
    ]


def given(row: dict[str, Any]) -> str:
    """What the model is given, as one string."""
    said = row["text"] if row["context"] is None else f"{row['text']}\x00{row['context']}"
    return said if row["part"] is None else f"{said}\x00{row['part']}"


class _Opened:
    """A file whose delimiter is found and whose columns are mapped."""

    def __init__(
        self,
        file: Path,
        recipe: Recipe,
        handed: Handed,
        main: str,
        fields: Sequence[str],
        needed: Sequence[str],
    ) -> None:
        """Find the mapping.

        Args:
            file: what was handed in.
            recipe: its sources are the mappings.
            handed: what the person says.
            main: the field that the file is about.
            fields: those by which a mapping is told from another.
            needed: further columns that the file must have.
        """
        self.file, self.recipe, self.main, self.needed = file, recipe, main, needed
        self.fields = fields
        first: DataRejectedError | None = None
        for delimiter in self._delimiters(handed):
            self.config = files.Files(path=str(file), delimiter=delimiter or None, encoding=handed.encoding or None)
            try:
                self.names: list[str] = self.config.columns(file)
                self.mapping = self._chosen(handed)
            except _AmbiguousError:
                raise
            except DataRejectedError as error:
                first = first or error
            else:
                return
        assert first is not None, "at least one delimiter is tried"
        raise first

    def rows(self, fields: Sequence[str], own: Sequence[str]) -> Iterator[dict[str, str | None]]:
        """Some fields of every row as text, and some columns of the file's own.

        A request that cannot be read has a text that says why, which no model is asked.

        Raises:
            DataRejectedError: no row can be read, or a label cannot.
        """
        mapper = self._mapper(fields)
        own = [name for name in own if name in self.names]
        wanted = list(dict.fromkeys([*mapper.config.needs(fields), *own]))
        bad: list[str] = []
        doubtful = count = 0
        for batch in self.config.batches(self.file, wanted, given=files.given(self.file, wanted)):
            columns = {name: mapper.values(name, batch) for name in fields}
            columns |= {name: mapper.column(name, batch) for name in own}
            for place, why in sorted(batch.spoiled.items()):
                where = f"{batch.unit} {batch.places[place]}"
                bad.append(f"{where}: {why}")
                columns[self.main][place] = f"\ufffd [{where}: {why.removeprefix('[')}"  # refused by name when cleaned
            doubtful += sum("\ufffd" in (text or "") for text in columns[self.main])
            for row in zip(*columns.values(), strict=True):
                count += 1
                yield dict(zip(columns, row, strict=True))
        if bad and (self.main == "label" or len(bad) == count):
            raise DataRejectedError(f"{self.file}: {len(bad):,} of {count:,} rows cannot be read", bad)
        if doubtful > len(bad):
            found = doubtful - len(bad)
            log.warning("%s: %s rows hold bytes that are no UTF-8; --encoding names another", self.file, found)

    def _delimiters(self, handed: Handed) -> Iterable[str]:
        if handed.delimiter:
            return [handed.delimiter]
        if not files.has_delimiter(self.file):
            return [""]
        known = [one.delimiter for one in self.recipe.sources if isinstance(one, files.Files) and one.delimiter]
        return dict.fromkeys(["", *known, *GUESSED])

    def _chosen(self, handed: Handed) -> _Mapping:
        """The mapping of the source that fits the file's columns, or the log's own names."""
        if missing := [name for name in self.needed if name not in self.names]:
            wanted = [*missing] if self._plain() or self._fitting() else [*missing, self.main]
            raise self._lacks(wanted)
        fitting = self._fitting()
        if handed.source:
            known = dict(self._mappings())
            if handed.source not in known:
                raise _AmbiguousError(
                    f"{self.recipe.name} has no source {handed.source!r} that maps columns",
                    hint=f"its sources are {', '.join(known) or 'none'}",
                )
            fitting = [one for one in fitting if one.name == handed.source]
            if not fitting:
                raise self._lacks(known[handed.source].needs(self.fields))
        elif len({tuple(one.fields.get(name) for name in self.fields) for one in fitting}) > 1:
            found = [f"{one.name}: {', '.join(f'{n}: {s}' for n, s in one.fields.items())}" for one in fitting]
            raise _AmbiguousError(
                f"{self.file} has the columns of several sources of {self.recipe.name}",
                found,
                hint="name one of them with --source",
            )
        if fitting:
            return fitting[0]
        if not self._plain():
            raise self._lacks([self.main])
        return _Mapping("", {}, None)

    def _plain(self) -> bool:
        return self.main in self.names

    def _mappings(self) -> Iterator[tuple[str, Any]]:
        for number, source in enumerate(self.recipe.sources):
            if source.mapping:
                yield source.source_name() or f"sources[{number}]", source.mapping

    def _fitting(self) -> list[_Mapping]:
        """Mappings all of whose columns the file has: those that its own columns fit, before all others.

        Where a file lies says nothing of the rows in it that are handed in: ``label: folder`` holds only where the file
        has no column for labels, neither that of another mapping nor one of the field's own name.
        """
        found: dict[str, list[_Mapping]] = {"own": [], "plain": [], "given": []}
        for name, source in self._mappings():
            specs = {field: self._spec(source, field) for field in self.fields}
            fields = {field: spec for field, spec in specs.items() if spec}
            one_hot = self.main == "label" and source.label_columns
            if not (self.main in fields or one_hot) or not self._fits(source, fields):
                continue
            own = one_hot or fields[self.main] == source.column_of(self.main)
            rank = ("given" if self._of_the_place(source, self.main) else "own") if own else "plain"
            found[rank].append(_Mapping(name, fields, source))
        return found["own"] or found["plain"] or found["given"]

    def _fits(self, source: Any, fields: Mapping[str, str]) -> bool:
        """Whether the file has what the fields need that the source maps itself."""
        there = {*self.names, *files.given(self.file, None)}
        mapped = [name for name in self.fields if name not in fields or fields[name] == source.column_of(name)]
        return set(source.needs(mapped)) <= there

    def _spec(self, source: Any, field: str) -> str | None:
        """Column or template of a field by a source.

        It is the field's own name where the file has that column, and the source would take the file's place instead.
        """
        spec: str | None = source.column_of(field)
        return field if spec and field in self.names and self._of_the_place(source, field) else spec

    def _of_the_place(self, source: Any, field: str) -> bool:
        """Whether a source takes a field from where the file lies alone."""
        needed = set(source.needs((field,)))
        return bool(needed) and needed <= {*files.given(self.file, None)} - {*self.names}

    def _mapper(self, fields: Sequence[str]) -> Any:
        """What gives the fields' values: by the source's mapping, and by the log's own names for what it leaves out."""
        specs: dict[str, Any] = {}
        source, there = self.mapping.config, {*self.names, *files.given(self.file, None)}
        for name in fields:
            spec = self._spec(source, name) if source else None
            fits = spec and (spec in self.names or set(source.needs((name,))) <= there)
            specs[name] = spec if fits else name if name in self.names else None
        one_hot = source.label_columns if source and "label" in fields else None
        specs = {"label": None, **specs, "label_columns": one_hot}
        if specs["label"] and one_hot:
            specs["label"] = None
        label_map = source.label_map if one_hot else {}
        config = files.Files(path=str(self.file), label_map=label_map, **specs)
        return config.requests(self.recipe.task_of(self.mapping.name) if source else self.recipe.task)

    def _lacks(self, names: Iterable[str]) -> DataRejectedError:
        expected = [f"{name}: {', '.join(source.needs(self.fields))}" for name, source in self._mappings()]
        mapped = f", or those that the sources map ({'; '.join(dict.fromkeys(expected))})" if expected else ""
        cells = "; --delimiter names another than a comma" if files.has_delimiter(self.file) else ""
        return DataRejectedError(
            f"{self.file} has no column {', '.join(names)}; it has {', '.join(self.names)}",
            hint=f"expected {', '.join([*self.needed, self.main])}{mapped}{cells}",
        )


class _AmbiguousError(DataRejectedError):
    """No other delimiter would help."""


class _Labels:
    """What the labels of a file mean: those of the task, however they are written, and the sources' ``label_map``."""

    def __init__(self, recipe: Recipe) -> None:
        """Gather the maps; a value for which two sources have different labels stays as it is."""
        found: dict[str, set[str]] = {}
        for source in recipe.sources:
            for value, label in (source.mapping.label_map if source.mapping else {}).items():
                found.setdefault(value, set()).add(label)
        known = recipe.task.labels
        maps = {value: next(iter(names)) for value, names in found.items() if len(names) == 1 and value not in known}
        self.names = label_names.Names({**maps, **{label: label for label in known}})

    def meant(self, label: str | None) -> str | None:
        found = None if label is None else self.names.find(label)
        return label if found is None else found
