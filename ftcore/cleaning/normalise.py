"""Text as people meant it: mojibake mended, HTML entities resolved, white space in order."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftfy import TextFixerConfig

SUSPECT = re.compile(r"[^\t-\r -~]|[&\x0b]")
"""What ftfy could change: anything but printable ASCII and white space, and the ``&`` of an HTML entity."""


def clean(text: str | None, *, lines: bool = False) -> str:
    """The text with its Unicode mended by ftfy and every run of white space folded into one space.

    Args:
        text: as it came; None counts as empty.
        lines: keep lines and indentation, where they mean something: answers, code, documents.
    """
    if not text:
        return ""
    if SUSPECT.search(text):
        import ftfy

        text = ftfy.fix_text(text, _config())
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n") if lines else " ".join(text.split())


@cache
def _config() -> TextFixerConfig:
    import ftfy

    return ftfy.TextFixerConfig(unescape_html="auto", explain=False)
