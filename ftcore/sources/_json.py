"""Rows of JSON Lines, and of files that hold one JSON array."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ftcore.errors import DataRejectedError
from ftcore.sources._formats import EXCERPT, LONGEST_ROW, Gather, Lines, Reading
from ftcore.sources._mapping import Batch

CHUNK = 1 << 16
"""Characters of a JSON array that are read at a time."""


def read_jsonl(lines: Lines, reading: Reading) -> Iterator[Batch]:
    """Objects of a JSON Lines file; a key that a line lacks is null.

    Raises:
        DataRejectedError: no line has a wanted key.
    """
    seen: set[str] = set()
    gather = Gather(lines)
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
            yield _objects(gather, reading)
            gather.start()
    seen.update(*gather.rows)
    if lines.number and seen:
        reading.require(sorted(seen))
    yield _objects(gather, reading)


def read_json(lines: Lines, reading: Reading) -> Iterator[Batch]:
    """Objects of a file that holds one JSON array, an element at a time; of JSON Lines in any other case.

    Raises:
        DataRejectedError: the array breaks off, or no element has a wanted key.
    """
    buffer: Any = lines.text.buffer
    start = buffer.peek(4096)[:4096].decode(lines.text.encoding, "ignore").lstrip("\ufeff \t\r\n")
    if not start.startswith("["):
        first, _, more = start.partition("\n")
        if more and not _parses(first):
            raise DataRejectedError(
                f"{reading.where} holds one JSON object over several lines, not rows",
                hint="write an array of objects, [{…}, {…}], or one object a line (JSON Lines)",
            )
        yield from read_jsonl(lines, reading)
        return
    seen: set[str] = set()
    gather = Gather(lines)
    for number, row in enumerate(_elements(lines, reading.where), 1):
        if type(row) is dict:
            gather.rows.append(row)
            gather.places.append(number)
        else:
            gather.spoil({}, number, f"[no JSON object] {str(row)[:EXCERPT]}")
        if gather.full:
            seen.update(*gather.rows)
            yield _objects(gather, reading, "item")
            gather.start()
    seen.update(*gather.rows)
    if seen:
        reading.require(sorted(seen))
    yield _objects(gather, reading, "item")


def _elements(lines: Lines, where: str) -> Iterator[Any]:
    """Elements of a JSON array, each decoded as soon as it is there: little more than one of them is in memory."""
    decode = json.JSONDecoder().raw_decode
    text, at, number = _after_bracket(lines), 0, 0
    while True:
        at = _gap(text, at)
        if text[at : at + 1] == "]":
            _only_blanks(lines, where, text, at + 1)
            return
        try:
            value, end = decode(text, at)
            if end == len(text) and (read := lines.text.read(CHUNK)):  # a number may go on
                text += read
                continue
        except (ValueError, RecursionError) as error:
            long = len(text) - at > LONGEST_ROW
            read = "" if long else lines.text.read(max(CHUNK, len(text) - at))
            if not read:
                what = "is too long" if long else f"breaks off or is no JSON: {error}"
                raise DataRejectedError(
                    f"{where}, item {number + 1:,} (line {lines.number + text.count(chr(10), 0, at):,}): {what}",
                    hint="write one object a line (JSON Lines), so that a broken one harms no other",
                ) from None
            lines.number += text.count("\n", 0, at)
            text, at = text[at:] + read, 0
            continue
        yield value
        number += 1
        lines.characters += end - at
        at = end


def _only_blanks(lines: Lines, where: str, text: str, at: int) -> None:
    """Check that nothing stands behind the array: rows there would be lost."""
    rest = text[at:]
    lines.number += text.count("\n", 0, at)
    while not rest.strip():
        lines.number += rest.count("\n")
        if not (rest := lines.text.read(CHUNK)):
            return
    line = lines.number + rest[: len(rest) - len(rest.lstrip())].count("\n")
    raise DataRejectedError(
        f"{where}, line {line:,}: more stands behind the array: {rest.strip()[:60]!r}",
        hint="write one array a file, or one object a line (JSON Lines)",
    )


def _after_bracket(lines: Lines) -> str:
    """The first piece of a file behind the bracket of its array."""
    text = lines.text.read(CHUNK)
    start = text.index("[") + 1
    lines.number = 1 + text.count("\n", 0, start)
    return text[start:]


def _gap(text: str, at: int) -> int:
    """Where the next element starts."""
    while at < len(text) and text[at] in ", \t\r\n":
        at += 1
    return at


def _parses(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _objects(gather: Gather, reading: Reading, unit: str = "line") -> Batch:
    names = dict.fromkeys(key for row in gather.rows for key in row) if reading.wanted is None else reading.wanted
    columns = {name: [row.get(name, reading.given.get(name)) for row in gather.rows] for name in names}
    return reading.batch(columns, gather, unit)
