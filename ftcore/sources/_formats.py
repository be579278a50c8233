"""Rows of a file as they come: CSV, TSV, JSON Lines, Parquet and plain lines, never the whole file at once.

Text is decoded by its byte order mark, else as UTF-8; bytes that are none become U+FFFD. A row that cannot be read
(broken JSON, a wrong number of cells, longer than ``LONGEST_ROW`` characters) does not stop the file: it becomes a
spoiled row, which the suite quarantines. What makes the rest of the file doubtful is an error that names the line.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from ftcore.errors import DataRejectedError
from ftcore.sources._mapping import Batch, require

if TYPE_CHECKING:
    from typing import TextIO

LONGEST_ROW = 4_000_000
"""Longest line of a text file that is read, in characters. Of a longer one only the start is kept."""
EXCERPT = 200
"""How much of a row that cannot be read is kept, in characters."""
ROWS, CHARACTERS = 10_000, 8_000_000
"""A batch ends after so many rows, or lines of so many characters."""


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


class _Gather:
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


def read_csv(lines: Lines, where: str, wanted: Sequence[str] | None, delimiter: str = ",") -> Iterator[Batch]:
    """Rows of a CSV file with a header; an empty cell is null. In a TSV a quote is a character like any other.

    Raises:
        DataRejectedError: a column is missing, or a quote is opened and never closed.
    """
    csv.field_size_limit(LONGEST_ROW)
    quoting: Any = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    reader = csv.reader(iter(lines), delimiter=delimiter, quoting=quoting, strict=True)
    header = _header(reader, where)
    if lines.cut:
        raise DataRejectedError(f"{where}, line 1: the header is longer than {LONGEST_ROW:,} characters")
    require(where, wanted or (), header)
    gather, width, empty = _Gather(lines), len(header), [""] * len(header)
    while True:
        before = reader.line_num
        try:
            row = _next(reader, where, before)
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
            yield _columns(gather, header, where)
            gather.start()
    yield _columns(gather, header, where)


def read_jsonl(lines: Lines, where: str, wanted: Sequence[str] | None) -> Iterator[Batch]:
    """Objects of a JSON Lines file; a key that a line lacks is null.

    Raises:
        DataRejectedError: no line has a wanted key.
    """
    seen: set[str] = set()
    gather = _Gather(lines)
    for line in lines:
        if lines.cut:
            gather.spoil({}, lines.number, lines.why())
        elif not line.isspace():
            try:
                row = json.loads(line)
                if type(row) is not dict:
                    raise ValueError
                gather.rows.append(row)
                gather.places.append(lines.number)
            except (ValueError, RecursionError):
                gather.spoil({}, lines.number, f"[no JSON object] {line.strip()[:EXCERPT]}")
        if gather.full:
            seen.update(*gather.rows)
            yield _objects(gather, wanted, where)
            gather.start()
    seen.update(*gather.rows)
    if lines.number and seen:
        require(where, wanted or (), sorted(seen))
    yield _objects(gather, wanted, where)


def read_txt(lines: Lines, where: str, wanted: Sequence[str] | None) -> Iterator[Batch]:
    """Lines of a text file as the column ``text``; blank lines are none.

    Raises:
        DataRejectedError: another column is wanted.
    """
    require(where, wanted or (), ["text"])
    gather = _Gather(lines)
    for line in lines:
        if lines.cut:
            gather.spoil("", lines.number, lines.why())
        elif not line.isspace():
            gather.rows.append(line.rstrip("\r\n"))
            gather.places.append(lines.number)
        if gather.full:
            yield Batch({"text": gather.rows}, where, gather.places, spoiled=gather.spoiled)
            gather.start()
    yield Batch({"text": gather.rows}, where, gather.places, spoiled=gather.spoiled)


def read_parquet(file: IO[bytes], where: str, wanted: Sequence[str] | None) -> Iterator[Batch]:
    """Rows of a Parquet file, a few thousand at a time.

    Raises:
        DataRejectedError: a column is missing.
    """
    from pyarrow import parquet

    source = parquet.ParquetFile(file, pre_buffer=False)
    require(where, wanted or (), source.schema_arrow.names)
    first = 1
    for batch in source.iter_batches(batch_size=4_000, columns=None if wanted is None else list(wanted)):
        names = batch.schema.names
        columns = {name: _values(batch.column(number)) for number, name in enumerate(names)}
        yield Batch(columns, where, range(first, first + batch.num_rows), unit="row")
        first += batch.num_rows


class _BadRowError(Exception):
    """One line of a CSV file that cannot be read, and harms no other."""


def _next(reader: Any, where: str, before: int) -> list[str] | None:
    """The next row; None at the end."""
    try:
        return next(reader, None)
    except csv.Error as error:
        if reader.line_num - before <= 1:
            raise _BadRowError(str(error)) from error
        raise DataRejectedError(
            f"{where}, line {before + 1}: a quote is opened there and not closed properly ({error}, "
            f"line {reader.line_num})",
            hint="double the quotes inside quoted values, or write the file as JSON Lines",
        ) from error


def _header(reader: Any, where: str) -> list[str]:
    """Names of the columns; blank lines may stand before them."""
    names: list[str] = []
    while not any(names):
        try:
            row = _next(reader, where, reader.line_num)
        except _BadRowError as error:
            raise DataRejectedError(f"{where}, line {reader.line_num}: the header cannot be read: {error}") from error
        if row is None:
            raise DataRejectedError(f"{where} is empty")
        names = [name.strip() for name in row]
    return names


def _columns(gather: _Gather, header: list[str], where: str) -> Batch:
    cells = zip(*gather.rows, strict=True) if gather.rows else [()] * len(header)
    columns = {name: [cell or None for cell in column] for name, column in zip(header, cells, strict=True)}
    return Batch(columns, where, gather.places, spoiled=gather.spoiled)


def _objects(gather: _Gather, wanted: Sequence[str] | None, where: str) -> Batch:
    names = dict.fromkeys(key for row in gather.rows for key in row) if wanted is None else wanted
    columns = {name: [row.get(name) for row in gather.rows] for name in names}
    return Batch(columns, where, gather.places, spoiled=gather.spoiled)


def _values(column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:  # a file may say text and hold other bytes; mapping decodes them
        return list(column.cast(pa.large_binary()).to_pylist())
