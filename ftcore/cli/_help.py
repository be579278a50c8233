"""Help as plain text, with commands in sections and whole sentences; rich takes as long as all else together."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

WIDTH = 100
"""Columns that help uses at most, on a wider terminal."""


class Sections(TyperGroup):
    """A group that lists its commands by section (typer's ``rich_help_panel``)."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one definition list a section, in the order in which the commands were added."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            if not command.hidden:
                section = getattr(command, "rich_help_panel", None) or "Commands"
                sections.setdefault(section, []).append((name, command.get_short_help_str(limit=1000)))
        for section, commands in sections.items():
            with formatter.section(section):
                formatter.write_dl(commands)


def group(text: str, epilog: str = "") -> typer.Typer:
    """A group of commands whose help is plain text."""
    return typer.Typer(
        cls=Sections,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"max_content_width": WIDTH},
        help=text,
        epilog=epilog,
    )
