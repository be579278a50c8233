"""Elements of a file that holds one JSON array, one at a time: one that cannot be read costs itself, no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ftcore.data.sources._formats import EXCERPT, LONGEST_ROW, Lines
from ftcore.errors import DataRejectedError

CHUNK = 1 << 16
"""Characters that are read at a time."""
_PLAIN, _QUOTED = re.compile(r'["\[\]{},]'), re.compile(r'["\\]')
_BETWEEN = re.compile(r"[\s,:\[\]{}]*[,:][\s,:\[\]{}]*")
"""What stands between two strings: where it is found within one, a quote is missing before it."""
_CLOSES = {"]": "[", "}": "{"}


@dataclass(frozen=True)
class Unread:
    """An element that cannot be read."""

    reason: str
    """Why, in brackets, and how it begins."""


class _End:
    """Looks for the end of an element by brackets and quotes alone, in one piece of text after the other."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.quoted, self.escaped = False, 0
        self.strings = self.between = self.crossed = 0
        """Strings that were passed, those of them that look like what is between two, and brackets of two kinds."""

    def find(self, text: str, at: int = 0) -> int | None:
        """Where the element ends that began in an earlier piece or begins at ``at``; None where it goes on."""
        at, self.escaped, opened = at + self.escaped, 0, None
        while found := (_QUOTED if self.quoted else _PLAIN).search(text, at):
            sign, at = found.group(), found.end()
            if sign == "\\":
                at += 1
                self.escaped = max(0, at - len(text))
            elif sign == '"':
                if self.quoted:
                    self.strings += 1
                    self.between += opened is not None and _BETWEEN.fullmatch(text, opened, at - 1) is not None
                self.quoted, opened = not self.quoted, at
                if not self.quoted and not self.open:
                    return at
            elif sign in "[{":
                self.open.append(sign)
            elif not self.open:
                return at - 1  # the comma behind a number, or the array's own end
            elif sign != ",":
                self.crossed += self.open.pop() != _CLOSES[sign]
                if not self.open:
                    return at
        return None

    def is_sure(self, *, broken: bool) -> bool:
        """Whether the end that was found is the element's own, and not somewhere in others behind it.

        Args:
            broken: it is short and no JSON, so that any string that looks wrong may be what is wrong with it.
        """
        return not self.crossed and (self.between == 0 if broken else 2 * self.between <= self.strings)


def elements(lines: Lines, where: str) -> Iterator[Any]:
    """Elements of an array, each decoded as soon as it is there, with little more than one of them in memory.

    One that is no JSON, or longer than ``LONGEST_ROW`` characters, is ``Unread``, where its end is sure.

    Raises:
        DataRejectedError: the array breaks off, or nobody can tell where an element ends.
    """
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
            if end - at > LONGEST_ROW:
                value = _too_long(number + 1, end - at, text[at : at + EXCERPT])
        except (ValueError, RecursionError) as error:
            lines.number += text.count("\n", 0, at)
            if _End().find(text, at) is None and len(text) - at <= LONGEST_ROW:
                read = lines.text.read(max(CHUNK, len(text) - at))
                if not read:
                    raise _doubtful(where, number + 1, lines.number, f"breaks off or is no JSON: {error}") from None
                text, at = text[at:] + read, 0
                continue
            value, text = _unread(lines, where, number + 1, text[at:], error)
            at = end = 0
        yield value
        number += 1
        lines.characters += end - at
        at = end


def _unread(lines: Lines, where: str, number: int, text: str, error: Exception) -> tuple[Unread, str]:
    """An element that cannot be decoded, and the text behind it.

    Raises:
        DataRejectedError: the array breaks off, or the element's end is not sure.
    """
    first, start, size, ends = lines.number, text[:EXCERPT], 0, _End()
    while (end := ends.find(text)) is None:
        size += len(text)
        lines.number += text.count("\n")
        if not (text := lines.text.read(CHUNK)):
            raise _doubtful(where, number, first, f"breaks off or is no JSON: {error}") from None
    size += end
    lines.number += text.count("\n", 0, end)
    rest = text[end:]
    while not rest.strip() and (more := lines.text.read(CHUNK)):
        rest += more
    broken = size <= LONGEST_ROW
    if rest.lstrip()[:1] not in {",", "]"} or not ends.is_sure(broken=broken):
        raise _doubtful(where, number, first, f"is no JSON, and where it ends is not certain: {error}") from None
    if not broken:
        return _too_long(number, size, start), rest
    why = error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deeply"
    return Unread(f"[no JSON: {why}] {start[:size].rstrip()}"), rest


def _too_long(number: int, size: int, start: str) -> Unread:
    return Unread(f"[item {number:,} has {size:,} characters, more than {LONGEST_ROW:,}] {start}")


def _doubtful(where: str, number: int, line: int, why: str) -> DataRejectedError:
    return DataRejectedError(
        f"{where}, item {number:,} (line {line:,}): {why}",
        hint="write one object a line (JSON Lines), so that a broken one harms no other",
    )


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
