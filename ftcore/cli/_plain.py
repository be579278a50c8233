"""Text of others on a terminal: what a tag, a file's name or a reason holds is shown, and never does anything there.

An escape sequence could clear the screen and write that all is well; a mark that turns the direction of writing, or a
line break, could make a sentence another one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import TextIO

_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|\r(?!\n)"
)
_BREAKS = re.compile(r"[\r\n\t]")


def printable(text: str) -> str:
    """The text with the escape of each character that would do something; lines stay lines."""
    return _UNSEEN.sub(_escaped, text)


def one_line(text: object) -> str:
    """The same, with line breaks escaped, too."""
    return _BREAKS.sub(_escaped, printable(str(text)))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"  # JSON escapes those below itself, and knows no \x


class Plain:
    """A stream that shows what would do something."""

    def __init__(self, stream: TextIO) -> None:
        """Writes to ``stream``."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; returns the length of what was written."""
        return self._stream.write(printable(text))

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    @property
    def rich_proxied_file(self) -> object:
        """Where rich writes: its own colours reach a terminal; what it shows there is escaped by ``screen``."""
        return self._stream if self._stream.isatty() else self

    def __getattr__(self, name: str) -> object:
        """All else is the stream's."""
        return getattr(self._stream, name)


class PlainFormatter(logging.Formatter):
    """Log lines in which nothing does anything."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return printable(super().format(record))
