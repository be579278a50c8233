"""``ftcore runs``: what runs left in the store."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ftcore.cli._help import group
from ftcore.cli._shared import AsJson, RecipeName, open_recipe

HELP = """Look after what runs left in the store.

Example:

    ftcore runs prune sentiment --older-than 30
"""
app = group(HELP)


@app.callback()
def _group() -> None:
    """Keep the name of its only command."""


@app.command()
def prune(
    recipe: RecipeName,
    older_than: Annotated[float, typer.Option(metavar="DAYS", min=0, help="Rows written later stay.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete the rows that old runs left; their records, verdicts and reports stay.

    Example:

        ftcore runs prune sentiment --older-than 30 --dry-run
    """
    from ftcore.compliance import retention

    found = retention.prune_runs(open_recipe(recipe)[1], older_than, dry_run=dry_run)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for run, files in found["runs"].items():
        print(f"{run}  {files} files {'would be deleted' if dry_run else 'deleted'}")
    print(f"{found['size_bytes'] / 1e6:,.1f} MB in {len(found['runs'])} runs")
