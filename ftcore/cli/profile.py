"""``ftcore profile``: look at a recipe's data, and propose what to expect of them."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftcore.cli._shared import AsJson, RecipeName, open_recipe, path_of, show

if TYPE_CHECKING:
    from ftcore.context import Context

SHOWN_SHARE = 0.005
SHOWN_LABELS = 40


def profile(
    recipe: RecipeName,
    rows: Annotated[int, typer.Option(min=10, help="Rows of the sample; all rows are read and counted.")] = 10_000,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the proposed suite, e.g. expectations/NAME.json.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a suite that is there.")] = False,
    of_snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Look at the current snapshot instead of the sources.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at a recipe's data: lengths, labels, languages, duplicates, personal data; propose a suite from them.

    The suite is that of the task with what the data suggest; a recipe uses it with `validation: {suite: NAME}`.

    Examples:

        ftcore profile sentiment

        ftcore profile sentiment --output expectations/sentiment.json

        ftcore profile sentiment --snapshot --json
    """
    from ftcore.context import Context
    from ftcore.errors import FtcoreError
    from ftcore.reports import profile as profiles
    from ftcore.reports import token_lengths
    from ftcore.store.store import read_json, write_json

    read, shelf, conf = open_recipe(recipe)
    if output and not re.fullmatch(r"[a-z][a-z0-9_]*\.json", output.name):
        raise FtcoreError(f"{output.name}: a suite's file is NAME.json", hint="lower case, digits and underscores")
    if output and output.exists() and not force:
        raise FtcoreError(f"{output} is there already", hint="give another name, or --force to write over it")
    context = Context(read, path_of(recipe), "profile", "ingest", {}, shelf, conf)
    tables = _current(context) if of_snapshot else profiles.of_sources(context)
    found = profiles.look(read, tables, rows, tokens=partial(token_lengths.of, context))
    if output:
        suite = read_json(conf.suite(read.task.kind))
        write_json(output, profiles.propose(found, suite, output.stem))
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    _show(found)
    if output:
        print(f"\nwrote {output}; to use it: validation: {{suite: {output.stem}}}")


def _current(context: Context) -> Any:
    """Rows of the current snapshot, table by table."""
    from ftcore.data import snapshot

    identity = snapshot.current(context.shelf) or "none"
    tables: Any = snapshot.batches(context.shelf, identity)
    return tables


def _show(found: dict[str, Any]) -> None:
    from rich.table import Table

    from ftcore.models import window

    def shares(values: dict[str, float]) -> str:
        return ", ".join(f"{name} {share:.1%}" for name, share in values.items() if share >= SHOWN_SHARE) or "none"

    def counts(values: dict[str, int]) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in values.items()) or "none"

    names = {"0": "shortest", "0.5": "median", "1": "longest"}
    lengths = [f"{names.get(at, f'{float(at):.0%}')} {value:,.0f}" for at, value in found["lengths"].items()]
    empty = {name: share for name, share in found["nulls"].items() if share}
    lines = [
        ("rows", f"{found['rows']:,}, of which {found['sampled']:,} were looked at closely"),
        ("sources", counts(found["by_source"])),
        ("exact duplicates", f"{found['exact_duplicates']:,} of all rows"),
        ("near duplicates", f"{found['near_duplicates']:,} of the sample"),
        ("empty", shares(empty)),
        ("length of texts", f"{', '.join(lengths)} characters" if lengths else "no texts"),
        ("tokens", window.words(found["tokens"]) if found["tokens"] else "unknown: the base model is not here"),
        ("labels", _by_split(found["labels_by_split"])),
        *([("skewed labels", found["imbalance"]["proposal"])] if found["imbalance"] else []),
        ("cannot be used", "\n".join(f"{rows:,} × {why}" for why, rows in found["faults"].items()) or "no row"),
        ("languages", shares(found["languages"])),
        ("personal data", counts(found["personal_data"])),
        ("phone regions to set", ", ".join(found["phone_regions"])),
    ]
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in lines:
        table.add_row(name, value)
    show(table, markup=False)
    if found["rare_labels"]:
        print(f"\n! {found['rare_labels']}")


def _by_split(labels: dict[str, dict[str, int]]) -> str:
    """Rows of the commonest labels in each split."""
    ranked = sorted(labels.items(), key=lambda one: -sum(one[1].values()))
    lines = [
        f"{label} {sum(rows.values()):,} ({', '.join(f'{split} {count:,}' for split, count in rows.items())})"
        for label, rows in ranked[:SHOWN_LABELS]
    ]
    more = [f"and {len(ranked) - SHOWN_LABELS:,} more labels"] if len(ranked) > SHOWN_LABELS else []
    return "\n".join([*lines, *more]) or "none"
