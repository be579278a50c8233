"""What most tasks do with rows on their way in: see ``ftcore.data.cleaning.rows``."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftcore.data.cleaning import aligned
from ftcore.data.cleaning.rows import Plain
from ftcore.data.conversations import turns as conversation

if TYPE_CHECKING:
    from ftcore.data.cleaning.rows import Editor, Faults, Rows
    from ftcore.recipe.kinds import Config


def parse_rows(config: Config, rows: Rows) -> Faults:
    """Leave rows as they are."""
    del config, rows
    return {}


def clean_chosen(config: Config, rows: Rows, editor: Editor) -> None:
    """Clean text and context; a label of a fixed set, or a number, is none that people wrote.

    Whether entities are resolved is decided once for a row: not where either of the two is HTML.
    """
    del config
    html = {place for texts in (rows.text, rows.context) for place, text in enumerate(texts) if text and "<" in text}
    Plain.clean_rows(rows, editor, ("text", "context"), lines=False, html=html)


def clean_written(config: Config, rows: Rows, editor: Editor) -> None:
    """Clean every column, with lines and indentation as they are."""
    del config
    Plain.clean_rows(rows, editor)


def clean_passages(config: Config, rows: Rows, editor: Editor) -> None:
    """Clean text, passage and answer; an answer that is a piece of its passage stays one."""
    del config
    Plain.clean_rows(rows, editor, ("text",))
    places = [place for place, passage in enumerate(rows.context) if passage is not None]
    passages, answers = aligned.passages(
        editor, [rows.context[place] for place in places], [rows.label[place] for place in places], places
    )
    for place, passage, answer in zip(places, passages, answers, strict=True):
        rows.context[place], rows.label[place] = passage, answer


def clean_words(config: Config, rows: Rows, editor: Editor) -> None:
    """Clean text word by word, so that each keeps its tag; tags are none that people wrote."""
    del config
    rows.text[:] = aligned.words(editor, rows.text, range(len(rows)))
    Plain.clean_rows(rows, editor, ("context",))


def clean_read(config: Config, rows: Rows, editor: Editor) -> None:
    """Clean text and context, with lines and indentation as they are, and what else came along."""
    del config
    Plain.clean_rows(rows, editor)


def check_rows(config: Config, rows: Rows) -> Faults:
    """Find nothing wrong."""
    del config, rows
    return {}


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
