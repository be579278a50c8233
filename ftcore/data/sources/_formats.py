"""Rows of a file as they come: CSV, TSV, JSON, JSON Lines, Parquet and plain lines, never the whole file at once.

Text is decoded by its byte order mark, else as UTF-8; bytes that are none become U+FFFD. A row that cannot be read
(broken JSON, a wrong number of cells, longer than ``LONGEST_ROW`` characters) does not stop the file: it becomes a
spoiled row, which the suite quarantines. What makes the rest of the file doubtful is an error that names the line.
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, TYPE_CHECKING, Any

from ftcore.data.sources._mapping import Batch, require
from ftcore.errors import DataRejectedError, EmptyFileError

if TYPE_CHECKING:
    from typing import TextIO

log = logging.getLogger(__name__)
LONGEST_ROW = 4_000_000
"""Longest line of a text file that is read, in characters. Of a longer one only the start is kept."""
EXCERPT = 200
"""How much of a row that cannot be read is kept, in characters."""
ROWS, CHARACTERS = 10_000, 8_000_000
"""A batch ends after so many rows, or lines of so many characters."""

NOTES = 20
"""Lines behind the first in which a header is looked for, for the message."""
DELIMITERS = (",", ";", "\t", "|")
"""Delimiters that messages propose."""


@dataclass(frozen=True)
class Reading:
    """How a file is to be read."""

    where: str
    """What messages call the file."""
    wanted: Sequence[str] | None
    """Columns that it must have; None reads all."""
    given: Mapping[str, str] = field(default_factory=dict)
    """Columns that every row of the file has where the file itself has none of that name."""
    delimiter: str = ","
    quote: str | None = None
    """Quote character of a CSV file; empty for none. None is a double quote, and none where tabs part the cells."""
    skip_rows: int = 0
    """Lines before the header."""
    header: Sequence[str] | None = None
    """Names of the columns where the file has no header."""

    def require(self, there: Sequence[str], hint: str = "") -> None:
        """Check that the wanted columns are there, each once."""
        wanted = [name for name in self.wanted or () if name not in self.given or name in there]
        require(self.where, wanted, there, hint)

    def batch(self, columns: dict[str, Any], gather: Gather, unit: str = "line") -> Batch:
        """A batch of what was gathered, with the columns that are given."""
        more = {name: [self.given[name]] * len(gather.places) for name in self.given if name not in columns}
        return Batch(columns | more, self.where, gather.places, unit, gather.spoiled)


class Lines:
    """Lines of a text with their line ends; one that is too long leaves its start in ``cut`` and comes as empty."""

    def __init__(self, text: TextIO) -> None:
        """Read from ``text``, which must not translate line ends."""
        self.text = text
        self.number = 0
        """Lines read so far."""
        self.characters = 0
        self.cut: list[str] = []

    def __iter__(self) -> Iterator[str]:
        """Yield the lines in bounded memory."""
        readline = self.text.readline
        while line := readline(LONGEST_ROW):
            self.number += 1
            if len(line) == LONGEST_ROW and line[-1] not in "\r\n":
                self.cut.append(f"[longer than {LONGEST_ROW:,} characters] {line[:EXCERPT]}")
                while (line := readline(LONGEST_ROW)) and line[-1] not in "\r\n":
                    pass
                line = "\n"
            self.characters += len(line)
            yield line

    def why(self) -> str:
        """Say what was cut since the last call."""
        reason = " ".join(self.cut)
        self.cut.clear()
        return reason


class Gather:
    """Collects rows until a batch is full."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.start()

    def start(self) -> None:
        self.rows: list[Any] = []
        self.places: list[int] = []
        self.spoiled: dict[int, str] = {}
        self.until = self.lines.characters + CHARACTERS

    def spoil(self, row: Any, place: int, reason: str) -> None:
        self.spoiled[len(self.rows)] = reason
        self.rows.append(row)
        self.places.append(place)

    @property
    def full(self) -> bool:
        return len(self.rows) >= ROWS or self.lines.characters >= self.until


def decoded(file: IO[bytes], encoding: str | None) -> TextIO:
    """Text of a binary file, by its byte order mark, else in ``encoding``, else as UTF-8."""
    reader = io.BufferedReader(file, 1 << 18)  # type: ignore[type-var]
    start = reader.peek(4)[:4]
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        encoding = "utf-32"
    elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif start.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    return io.TextIOWrapper(reader, encoding=encoding or "utf-8", errors="replace", newline="")


def read_csv(lines: Lines, reading: Reading) -> Iterator[Batch]:
    """Rows of a CSV file; an empty cell is null. In a TSV a quote is a character like any other.

    Raises:
        DataRejectedError: a column is missing, or a quote is opened and never closed.
    """
    csv.field_size_limit(LONGEST_ROW)
    where = reading.where
    reader, delimiter, skipped = _reader(iter(lines), reading)
    names = _header(reader, lines, reading, skipped)
    reading.require(names, _other_delimiter(names, delimiter, reading) or _later_header(reader, names, reading))
    gather, width, empty = Gather(lines), len(names), [""] * len(names)
    while True:
        before = reader.line_num + skipped
        try:
            row = _next(reader, where, before, skipped)
        except _BadRowError as error:
            gather.spoil(empty, before + 1, lines.why() or f"[{error}]")
            continue
        if row is None:
            break
        if lines.cut:
            gather.spoil(empty, before + 1, lines.why())
        elif len(row) == width:
            gather.rows.append(row)
            gather.places.append(before + 1)
        elif row:
            said = f"[{len(row)} cells instead of {width}] {delimiter.join(row)[:EXCERPT]}"
            gather.spoil(empty, before + 1, said)
        if gather.full:
            yield _columns(gather, names, reading)
            gather.start()
    yield _columns(gather, names, reading)


def _reader(rest: Iterator[str], reading: Reading) -> tuple[Any, str, int]:
    """The reader of a CSV file's rows, the delimiter, and how many lines were skipped before them."""
    skipped = sum(1 for _ in zip(range(reading.skip_rows), rest, strict=False))
    first, delimiter = next(rest, ""), reading.delimiter
    if first.lower().startswith("sep=") and len(first.strip()) <= 5:  # Excel's own note on the delimiter
        delimiter, first, skipped = first[4:5], "", skipped + 1
    quote = ("" if delimiter == "\t" else '"') if reading.quote is None else reading.quote
    quoting: Any = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    rows = chain([first] if first else [], rest)
    return (
        csv.reader(rows, delimiter=delimiter, quotechar=quote or None, quoting=quoting, strict=True),
        delimiter,
        skipped,
    )


def _other_delimiter(names: Sequence[str], delimiter: str, reading: Reading) -> str:
    """What to do where another delimiter would give the header columns that are wanted and missing; else empty."""
    missing = {name for name in reading.wanted or () if name not in names}
    line = delimiter.join(names)
    for other in DELIMITERS:
        if other != delimiter and missing & {name.strip().strip('"') for name in line.split(other)}:
            shown = "\\t" if other == "\t" else other
            return f'say `delimiter: "{shown}"`: with it the header has more of the columns'
    return ""


def _later_header(reader: Any, names: Sequence[str], reading: Reading) -> str:
    """What to do where the header stands some lines further down, behind notes; else empty."""
    missing = {name for name in reading.wanted or () if name not in names and name not in reading.given}
    if not missing or reading.header:
        return ""
    for _ in range(NOTES):
        before = reader.line_num
        try:
            row = next(reader, None)
        except csv.Error:
            continue
        if row is None:
            return ""
        if missing <= {cell.strip() for cell in row}:
            return (
                f"say `skip_rows: {reading.skip_rows + before}`: the header is in line {reading.skip_rows + before + 1}"
            )
    return ""


def read_txt(lines: Lines, reading: Reading) -> Iterator[Batch]:
    """Lines of a text file as the column ``text``; blank lines are none.

    Raises:
        DataRejectedError: another column is wanted.
    """
    reading.require(["text"])
    gather = Gather(lines)
    for line in lines:
        if lines.number == 1:
            _warn_of_a_table(line, reading.where)
        if lines.cut:
            gather.spoil("", lines.number, lines.why())
        elif not line.isspace():
            gather.rows.append(line.rstrip("\r\n"))
            gather.places.append(lines.number)
        if gather.full:
            yield reading.batch({"text": gather.rows}, gather)
            gather.start()
    yield reading.batch({"text": gather.rows}, gather)


def _warn_of_a_table(line: str, where: str) -> None:
    """Say so where the first line of a text reads like the header of a table."""
    for delimiter in DELIMITERS:
        if {"text", "label"} <= {cell.strip().lower() for cell in line.split(delimiter)}:
            form = "tsv" if delimiter == "\t" else "csv"
            log.warning(
                "%s begins like a table, and each line is read as a text: say `format: %s` if it is one", where, form
            )


def read_document(lines: Lines, reading: Reading) -> Iterator[Batch]:
    """A whole file as one row, in the column ``text``.

    Raises:
        DataRejectedError: another column is wanted.
    """
    reading.require(["text"])
    text = lines.text.read(LONGEST_ROW + 1)
    lines.number = 1 if text else 0
    gather = Gather(lines)
    if len(text) > LONGEST_ROW:
        gather.spoil("", 1, f"[longer than {LONGEST_ROW:,} characters] {text[:EXCERPT]}")
    elif text.strip():
        gather.rows.append(text)
        gather.places.append(1)
    yield reading.batch({"text": gather.rows}, gather)


def read_parquet(file: IO[bytes], reading: Reading) -> Iterator[Batch]:
    """Rows of a Parquet file, a few thousand at a time.

    Raises:
        DataRejectedError: a column is missing.
    """
    from pyarrow import parquet

    source = parquet.ParquetFile(file, pre_buffer=False)
    there = source.schema_arrow.names
    reading.require(there)
    wanted = None if reading.wanted is None else [name for name in reading.wanted if name in there]
    first = 1
    for batch in source.iter_batches(batch_size=4_000, columns=wanted):
        columns = {name: _values(batch.column(number)) for number, name in enumerate(batch.schema.names)}
        places = range(first, first + batch.num_rows)
        more = {name: [one] * batch.num_rows for name, one in reading.given.items() if name not in columns}
        yield Batch(columns | more, reading.where, places, unit="row")
        first += batch.num_rows


class _BadRowError(Exception):
    """One line of a CSV file that cannot be read, and harms no other."""


def _next(reader: Any, where: str, before: int, skipped: int) -> list[str] | None:
    """The next row; None at the end."""
    try:
        return next(reader, None)
    except csv.Error as error:
        now = reader.line_num + skipped
        if now - before <= 1:
            raise _BadRowError(str(error)) from error
        raise DataRejectedError(
            f"{where}, line {before + 1}: a quote is opened there and not closed properly ({error}, line {now})",
            hint="double the quotes inside quoted values, write the file as JSON Lines, or say `quote: ''` where "
            "quotes are characters like any other",
        ) from error


def header(lines: Lines, reading: Reading) -> list[str]:
    """Names of a CSV file's columns.

    Raises:
        DataRejectedError: the header cannot be read.
    """
    reader, _, skipped = _reader(iter(lines), reading)
    return _header(reader, lines, reading, skipped)


def _header(reader: Any, lines: Lines, reading: Reading, skipped: int) -> list[str]:
    """Names of the columns; blank lines may stand before them."""
    if reading.header:
        return list(reading.header)
    names: list[str] = []
    while not any(names):
        before = reader.line_num + skipped
        try:
            row = _next(reader, reading.where, before, skipped)
        except _BadRowError as error:
            said = f"{reading.where}, line {before + 1}: the header cannot be read: {error}"
            raise DataRejectedError(said) from error
        if row is None:
            raise EmptyFileError(f"{reading.where} is empty")
        names = [name.strip() for name in row]
    if lines.cut:
        raise DataRejectedError(f"{reading.where}, line 1: the header is longer than {LONGEST_ROW:,} characters")
    return names


def _columns(gather: Gather, header: list[str], reading: Reading) -> Batch:
    cells = zip(*gather.rows, strict=True) if gather.rows else [()] * len(header)
    columns = {name: [cell or None for cell in column] for name, column in zip(header, cells, strict=True)}
    return reading.batch(columns, gather)


def _values(column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:  # a file may say text and hold other bytes; mapping decodes them
        return list(column.cast(pa.large_binary()).to_pylist())
