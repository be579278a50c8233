"""What most tasks do with rows on their way in: see ``ftcore.cleaning.rows``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftcore.cleaning import aligned
from ftcore.cleaning.rows import Plain

if TYPE_CHECKING:
    from ftcore._find import Config
    from ftcore.cleaning.rows import Editor, Faults, Rows


def parse_rows(config: Config, rows: Rows) -> Faults:
    """Leave rows as they are."""
    del config, rows
    return {}


def clean_chosen(config: Config, rows: Rows, editor: Editor) -> None:
    """Clean text and context; a label of a fixed set, or a number, is none that people wrote.

    Whether entities are resolved is decided once for a row: not where either of the two is HTML.
    """
    del config
    pairs = zip(rows.text, rows.context, strict=True)
    html = {place for place, both in enumerate(pairs) if any("<" in (text or "") for text in both)}
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
    """Clean text and context, with lines and indentation as they are."""
    del config
    Plain.clean_rows(rows, editor, ("text", "context"))


def check_rows(config: Config, rows: Rows) -> Faults:
    """Find nothing wrong."""
    del config, rows
    return {}
