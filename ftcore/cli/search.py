"""``ftcore search``: what a recipe's search has tried, while it runs and afterwards."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftcore.cli._help import group
from ftcore.cli._shared import AsJson, RecipeName, console, open_recipe

if TYPE_CHECKING:
    from rich.table import Table

FILE_WIDTH = 200
"""Characters a line where no terminal has a width."""
HELP = """Look at a recipe's search for better settings.

Example:

    ftcore search show sentiment
"""
app = group(HELP)


@app.callback()
def _group() -> None:
    """Keep ``show`` a command of the group: typer would else make the group the command."""


@app.command()
def show(
    recipe: RecipeName,
    run_id: Annotated[str, typer.Option("--run", help="Name of the run; the newest with a search by default.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the trials: what was tried, how low the validation loss came, why some ended early, what mattered.

    Examples:

        ftcore search show sentiment

        ftcore search show sentiment --run cli-20261121-101500 --json
    """
    from ftcore.tuning import search

    _, shelf, _ = open_recipe(recipe)
    found = search.look(shelf, run_id)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    screen = console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    screen.print(f"run {found['run']}", highlight=False, markup=False)
    screen.print(_table(found))
    for path, share in found["importances"].items():
        screen.print(f"{share:4.0%}  {path}", highlight=False, markup=False)


def _table(found: dict[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    paths = list(dict.fromkeys(path for one in found["trials"] for path in one["settings"]))
    table = Table(box=None, pad_edge=False)
    for name in ("", "trial", "state", "loss", *paths, "seconds"):
        table.add_column(Text(name), no_wrap=True)
    table.add_column("because", overflow="fold")
    for one in found["trials"]:
        loss = one["validation_loss"]
        settings = [_short(one["settings"].get(path, "")) for path in paths]
        table.add_row(
            "★" if one["trial"] == found["best_trial"] else "",
            str(one["trial"]),
            one["state"],
            "" if loss is None else f"{loss:.4f}",
            *map(Text, settings),
            f"{one['seconds']:.1f}",
            Text(one["reason"].partition("\n")[0]),
        )
    return table


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
