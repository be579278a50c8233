"""What most tasks do with rows on their way in: see ``ftcore.cleaning.rows``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftcore.cleaning.rows import Plain

if TYPE_CHECKING:
    from ftcore._find import Config
    from ftcore.cleaning.rows import Editor, Faults, Rows


def parse_rows(config: Config, rows: Rows) -> Faults:
    """Leave rows as they are."""
    del config, rows
    return {}


def clean_chosen(config: Config, rows: Rows, editor: Editor) -> None:
    """Clean text and context; a label of a fixed set, or a number, is none that people wrote."""
    del config
    Plain.clean_rows(rows, editor, ("text", "context"), lines=False)


def clean_written(config: Config, rows: Rows, editor: Editor) -> None:
    """Clean every column, with lines and indentation as they are."""
    del config
    Plain.clean_rows(rows, editor)


def clean_read(config: Config, rows: Rows, editor: Editor) -> None:
    """Clean text and context, with lines and indentation as they are."""
    del config
    Plain.clean_rows(rows, editor, ("text", "context"))


def check_rows(config: Config, rows: Rows) -> Faults:
    """Find nothing wrong."""
    del config, rows
    return {}
