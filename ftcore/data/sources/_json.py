"""Rows of JSON Lines, and of files that hold one JSON array."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftcore.data.sources._formats import EXCERPT, Gather, Lines, Reading
from ftcore.data.sources._json_array import Unread, elements
from ftcore.data.sources._mapping import Batch
from ftcore.errors import DataRejectedError


def read_jsonl(lines: Lines, reading: Reading) -> Iterator[Batch]:
    """Objects of a JSON Lines file, also where several stand in one line; a key that a line lacks is null.

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
                several = _several(line)
                gather.rows += several
                gather.places += [lines.number] * len(several)
                if not several:
                    gather.spoil({}, lines.number, f"[no JSON object] {line.strip()[:EXCERPT]}")
        if gather.full:
            seen.update(*gather.rows)
            yield _objects(gather, reading)
            gather.start()
    seen.update(*gather.rows)
    if lines.number and seen:
        reading.require(sorted(seen), _under_a_key(gather.rows) if lines.number == 1 else "")
    yield _objects(gather, reading)


def _several(line: str) -> list[dict[str, Any]]:
    """Objects that stand behind each other in a line, as some logs write them; none where it is anything else."""
    found: list[dict[str, Any]] = []
    decode, line, at = json.JSONDecoder().raw_decode, line.strip(), 0
    while at < len(line):
        try:
            value, at = decode(line, at)
        except (ValueError, RecursionError):
            return []
        if type(value) is not dict:
            return []
        found.append(value)
        while at < len(line) and line[at] in " \t":
            at += 1
    return found


def _under_a_key(rows: Sequence[Mapping[str, Any]]) -> str:
    """What to do where a file is one object that has its rows under a key; else empty."""
    for key, value in rows[0].items() if len(rows) == 1 else ():
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            return f"{len(value):,} objects stand under {key!r}: write that array into a file of its own"
    return ""


def read_json(lines: Lines, reading: Reading) -> Iterator[Batch]:
    """Objects of a file that holds one JSON array, an element at a time; of JSON Lines in any other case.

    Raises:
        DataRejectedError: the array breaks off, an element's end is not clear, or no element has a wanted key.
    """
    buffer: Any = lines.text.buffer
    start = buffer.peek(4096)[:4096].decode(lines.text.encoding, "ignore").lstrip("\ufeff \t\r\n")
    if not start.startswith("["):
        first, _, more = start.partition("\n")
        if more and not _parses(first) and not _several(first):
            raise DataRejectedError(
                f"{reading.where} holds one JSON object over several lines, not rows",
                hint="write an array of objects, [{…}, {…}], or one object a line (JSON Lines)",
            )
        yield from read_jsonl(lines, reading)
        return
    seen: set[str] = set()
    gather = Gather(lines)
    for number, row in enumerate(elements(lines, reading.where), 1):
        if type(row) is dict:
            gather.rows.append(row)
            gather.places.append(number)
        elif isinstance(row, Unread):
            gather.spoil({}, number, row.reason)
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
