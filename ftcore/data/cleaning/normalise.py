"""Text as people meant it: mojibake fixed and, where wording does not matter, entities and white space in order."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftfy import TextFixerConfig

SUSPECT = re.compile(r"[^\t-\r -~]|[&\x0b]")
"""What ftfy could change: anything but printable ASCII and white space, and the ``&`` of an HTML entity."""
ROUNDS = 5
"""Most times that a text is looked at again: white space in order may bring together what reads as mojibake."""


def clean(text: str | None, *, lines: bool = False, entities: bool = True) -> str:
    """The text with its Unicode fixed by ftfy; doing it twice changes nothing.

    Args:
        text: as it came; None counts as empty.
        lines: the text was written to be read or written like this, as answers, code and documents are: lines and
            indentation stay, and only broken encodings and control characters are fixed. Without it every run of white
            space becomes one space, curly quotes become straight, HTML entities are resolved, and wide and ligature
            letters become plain ones.
        entities: resolve HTML entities, where no ``<`` says that the text is HTML itself; never with ``lines``.
    """
    if not text:
        return ""
    if text.isascii() and text.isprintable() and "&" not in text:  # a tenth of the time of the expression
        return _line(text, lines=lines)
    if not SUSPECT.search(text):
        return _spaced(text, lines=lines)
    import ftfy

    config = _written() if lines else _config(entities=entities)
    for _ in range(ROUNDS):
        fixed = _spaced(ftfy.fix_text(text, config), lines=lines)
        if fixed == text:
            break
        text = fixed
    return text


def _line(text: str, *, lines: bool) -> str:
    """What ``_spaced`` makes of a text whose only white space is the blank."""
    if lines:
        return text.rstrip(" ")
    return " ".join(text.split()) if "  " in text else text.strip(" ")


def _spaced(text: str, *, lines: bool) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n") if lines else " ".join(text.split())


@cache
def _config(*, entities: bool) -> TextFixerConfig:
    import ftfy

    return ftfy.TextFixerConfig(unescape_html="auto" if entities else False, explain=False)


@cache
def _written() -> TextFixerConfig:
    """Only what is broken: entities, quotes, widths, ligatures and composed letters are how somebody wrote it."""
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        normalization=None,
        explain=False,
    )
