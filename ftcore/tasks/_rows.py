"""What most tasks do with rows on their way in: see ``ftcore.data.cleaning.rows``."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftcore.data.conversations import turns as conversation

if TYPE_CHECKING:
    from ftcore.data.cleaning.rows import Faults, Rows


def missing(rows: Rows, **words: str) -> Faults:
    """Rows that lack a field, or of which nothing is left.

    Args:
        rows: cleaned ones.
        words: by column what people call it, as in ``label="answer"``.
    """
    found: Faults = {}
    for name, word in words.items():
        for place, value in enumerate(getattr(rows, name)):
            if value is None:
                found.setdefault(place, f"{word} is missing")
            elif conversation.is_blank(value):
                found.setdefault(place, f"{word} is empty or blank")
    return found


def listed(cell: str) -> list[Any] | None:
    """The entries of a cell that holds a list as JSON or as Python writes it; None where it holds none."""
    if not (cell[:1] == "[" and cell[-1:] == "]"):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list):
            return found
    return None


def chosen(cell: str, separator: str | None) -> list[str]:
    """The labels of a cell with several: of a list, else of a text in which a separator parts them."""
    entries: Sequence[Any] | None = listed(cell.strip())
    if entries is None:
        entries = cell.split(separator)
    return [text for one in entries if (text := one if isinstance(one, str) else json.dumps(one, default=str)).strip()]
