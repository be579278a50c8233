"""One way for every row: read by its task, cleaned field by field, checked by its task.

Training, holdouts, scoring, feedback, the reference and the window all go through ``clean``, so that the model is
trained on, judged on, asked and watched with one text. A task has three methods over ``Rows``, which it changes in
place (see ``tasks/_base.py``): ``parse_rows`` brings what a source wrote into the task's own form, ``clean_rows``
cleans each piece that people wrote by itself and keeps what belongs together aligned, ``check_rows`` names what cannot
be used. A row with a fault costs one row: it goes into the quarantine with its reason, and no model ever sees it.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeAlias

from ftcore.data.cleaning import normalise

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.data.cleaning.personal import Cleaner
    from ftcore.recipe.sections import Task

LEFT_OUT = "left out by the recipe: "
"""Begins the reason of a fault that is none of the data: the recipe asks for such rows to be left out."""
BLANK = "text is empty or blank"
"""Why a row without a text is not asked: a model would answer all the same."""
_UNREAD = re.compile(r"\ufffd \[(.+?)\](?= |$)")
Faults: TypeAlias = dict[int, str]
"""By position of a row why it cannot be used, with the value that is wrong as ``repr``."""


@dataclass
class Rows:
    """Texts of some rows, a list each; a task changes them in place, and never how many there are."""

    text: list[str | None]
    context: list[str | None]
    label: list[str | None]
    rejected: list[str | None]
    source: list[str | None]

    @classmethod
    def of(cls, table: pa.Table) -> Rows:
        """Rows of a table with the columns of ``snapshot.schema()``; a column that it lacks is null."""
        there = set(table.column_names)
        columns: list[list[str | None]] = [
            table[f.name].to_pylist() if f.name in there else [None] * table.num_rows for f in fields(cls)
        ]
        return cls(*columns)

    def __len__(self) -> int:
        """How many."""
        return len(self.text)

    def take(self, places: Sequence[int]) -> Rows:
        """Some of the rows."""
        return Rows(*([getattr(self, f.name)[place] for place in places] for f in fields(self)))

    def put(self, places: Sequence[int], rows: Rows) -> None:
        """Put rows back that ``take`` gave."""
        for field in fields(self):
            into, values = getattr(self, field.name), getattr(rows, field.name)
            for place, value in zip(places, values, strict=True):
                into[place] = value

    def into(self, table: pa.Table) -> pa.Table:
        """The table with these texts in place of its own."""
        import pyarrow as pa

        for field in fields(self):
            name = field.name
            if name != "source" and name in table.column_names:
                column = pa.array(getattr(self, name), pa.string())
                table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
        return table


@dataclass
class Editor:
    """Cleans pieces of text: what a task gives it one by one, never a structure as a string."""

    cleaner: Cleaner

    def __post_init__(self) -> None:
        """Begin with no row that must go."""
        self.dropped: set[int] = set()
        """Positions of rows that hold personal data for which the recipe drops the row."""

    def texts(
        self, texts: Sequence[str | None], places: Sequence[int], *, lines: bool, html: Container[int] = ()
    ) -> list[str]:
        """Each text normalised and without personal data.

        Args:
            texts: pieces that people wrote.
            places: position of the row that each of them belongs to.
            lines: keep wording, lines and indentation, and fix broken encodings only: see ``normalise.clean``.
            html: positions of rows that are HTML, so that entities in their texts stay, too.
        """
        pairs = zip(texts, places, strict=True)
        return self.masked([normalise.clean(one, lines=lines, entities=at not in html) for one, at in pairs], places)

    def masked(
        self,
        texts: Sequence[str],
        places: Sequence[int],
        marks: Mapping[int, list[tuple[int, int]]] | None = None,
    ) -> list[str]:
        """Normalised texts without personal data; ``marks`` are spans to move along, see ``Cleaner.clean``."""
        cleaned, out = self.cleaner.clean(texts, marks)
        self.dropped.update(places[place] for place in out)
        return cleaned


@dataclass(frozen=True)
class Cleaned:
    """Rows behind ``clean``."""

    table: pa.Table
    faults: Faults
    dropped: list[int]
    """Positions of rows with personal data that takes the row out."""


def clean(table: pa.Table, task: Task, cleaner: Cleaner, *, requests: bool = False) -> Cleaned:
    """Read, clean and check rows by their task.

    Args:
        table: raw rows, or rows that went through here before: doing it twice changes nothing.
        task: the recipe's task.
        cleaner: replaces personal data as the recipe says.
        requests: the rows are to be predicted: they have no label, and are checked by the task's ``check_requests``.
    """
    rows, editor = Rows.of(table), Editor(cleaner)
    unread = {place: f"the row could not be read: {said[1]}" for place, said in _unread(rows.text)}
    faults: Faults = {**task.parse_rows(rows), **unread}
    good = [place for place in range(len(rows)) if place not in faults] if faults else range(len(rows))
    some = rows.take(good) if faults else rows
    task.clean_rows(some, editor)
    found = _check_requests(task, some) if requests else task.check_rows(some)
    if faults:
        rows.put(good, some)
        bad = [place for place in range(len(rows)) if place in faults]
        # What could not be read is shown to people as it came, without personal data, and is never trained on.
        rest = rows.take(bad)
        Plain.clean_rows(rest, Editor(cleaner))
        rows.put(bad, rest)
    faults |= {good[place]: why for place, why in found.items()}
    if faults:  # what was taken for a label may be anything
        instead = _masked([*faults.values(), *(rows.label[place] for place in faults)], cleaner)
        for place, why in faults.items():
            rows.label[place] = instead.get(rows.label[place], rows.label[place])
            faults[place] = instead.get(why, why)
    return Cleaned(rows.into(table), faults, sorted(good[place] for place in editor.dropped))


def ask(table: pa.Table, task: Task) -> tuple[pa.Table, Faults]:
    """Read rows and check them by their task without cleaning: quick, for a look at data.

    Returns:
        The rows as the task reads them, and why some cannot be used.
    """
    rows = Rows.of(table)
    unread = {place: f"the row could not be read: {said[1]}" for place, said in _unread(rows.text)}
    faults: Faults = {**task.parse_rows(rows), **unread}
    good = [place for place in range(len(rows)) if place not in faults]
    found = task.check_rows(rows.take(good))
    return rows.into(table), faults | {good[place]: why for place, why in found.items()}


def _masked(texts: Iterable[str | None], cleaner: Cleaner) -> dict[str | None, str]:
    """Texts that hold personal data, and each without it."""
    every = [text for text in dict.fromkeys(texts) if text]
    instead: dict[str | None, str] = {}
    for place, found in cleaner.finder.find(every).items():
        text = every[place]
        for one in reversed(found):
            text = f"{text[: one.start]}[{one.entity}]{text[one.end :]}"
        instead[every[place]] = text
    return instead


def _check_requests(task: Task, rows: Rows) -> Faults:
    """Faults of rows to predict: nothing to read, a conversation whose answer is there, and what the task finds."""
    found: Faults = {place: BLANK for place, text in enumerate(rows.text) if not (text and text.strip())}
    found |= task.check_requests(rows)
    conversations = "text" in task.STRUCTURES  # of other tasks a request without labels has none
    there = [place for place, label in enumerate(rows.label) if conversations and label is not None]
    return dict.fromkeys(there, "the conversation ends with an answer: there is no question") | found


def _unread(texts: Sequence[str | None]) -> Iterator[tuple[int, re.Match[str]]]:
    """Positions of rows that a source could not read, and what it put in their place (``sources._mapping``)."""
    for place, text in enumerate(texts):
        if text and text[0] == "\ufffd" and (said := _UNREAD.match(text)):
            yield place, said


class Plain:
    """What most tasks do: nothing to read, columns of plain text, nothing to find wrong."""

    @staticmethod
    def clean_rows(
        rows: Rows,
        editor: Editor,
        columns: Sequence[str] = ("text", "context", "label", "rejected"),
        *,
        lines: bool = True,
        html: Container[int] = (),
    ) -> None:
        """Clean some columns, each as plain texts; see ``Editor.texts``. The text is never null."""
        for name in columns:
            column: list[str | None] = getattr(rows, name)
            there = [place for place, text in enumerate(column) if text is not None or name == "text"]
            cleaned = editor.texts([column[place] for place in there], there, lines=lines, html=html)
            for place, text in zip(there, cleaned, strict=True):
                column[place] = text
