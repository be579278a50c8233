"""``ftcore snapshots``: list, show, compare and verify the dataset versions of a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ftcore.cli import _manifests
from ftcore.cli._help import group
from ftcore.cli._shared import AsJson, RecipeName, open_recipe
from ftcore.store.times import moment

HELP = """List, show, compare, verify and prune a recipe's snapshots.

Example:

    ftcore snapshots ls sentiment
"""
app = group(HELP)
Id = Annotated[str, typer.Argument(metavar="[ID]", help="Id of a snapshot; the current one by default.")]


@app.command()
def ls(recipe: RecipeName, as_json: AsJson = False) -> None:
    """List a recipe's snapshots, the newest first.

    Example:

        ftcore snapshots ls sentiment
    """
    from ftcore.data import snapshot

    found = snapshot.ls(open_recipe(recipe)[1])
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for one in found:
        splits = " / ".join(f"{rows:,}" for rows in one["splits"].values())
        mark = "  current" if one["current"] else ""
        if period := one.get("period"):
            mark += f"  observed {period['since'][:10]} to {period['until'][:10]}"
        print(f"{one['snapshot']}  {moment(one['created_at'])}  {one['rows']:,} rows  {splits}{mark}")


@app.command()
def show(recipe: RecipeName, identity: Id = "", as_json: AsJson = False) -> None:
    """Show a snapshot: rows read, rows left out with the reasons; with --json its manifest, hashes of files included.

    Example:

        ftcore snapshots show sentiment
    """
    from ftcore.data import snapshot
    from ftcore.errors import FtcoreError

    shelf = open_recipe(recipe)[1]
    current = snapshot.current(shelf)
    wanted = identity or current
    if not wanted:
        raise FtcoreError(f"{shelf.name} has no snapshot yet", hint=f"ftcore run {shelf.name} --only data makes one")
    manifest = snapshot.manifest(shelf, wanted)
    if as_json:
        print(json.dumps(manifest, indent=2, ensure_ascii=False))
    else:
        _manifests.show(manifest, current)


@app.command()
def diff(recipe: RecipeName, before: str, after: str, as_json: AsJson = False) -> None:
    """Show what changed from one snapshot to another.

    Example:

        ftcore snapshots diff sentiment 526359f56d1e08ae 1e52ae0c3c1fb57d
    """
    from ftcore.data import snapshot_diff

    found = snapshot_diff.diff(open_recipe(recipe)[1], before, after)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _manifests.difference(found)


@app.command()
def verify(recipe: RecipeName, identity: Id = "") -> None:
    """Hash every file and row of a snapshot again; exit 3 where a byte was changed.

    Example:

        ftcore snapshots verify sentiment
    """
    from ftcore.data import snapshot
    from ftcore.errors import DataRejectedError

    shelf = open_recipe(recipe)[1]
    identity = identity or snapshot.current(shelf) or "none"
    if faults := snapshot.verify(shelf, identity):
        raise DataRejectedError(f"snapshot {identity} was changed", faults, hint="restore it from a backup")
    print(f"{identity} is as it was published")


@app.command()
def audit(recipe: RecipeName, identity: Id = "") -> None:
    """Scan a snapshot again for the personal data that its recipe removes; exit 3 where some is found.

    Example:

        ftcore snapshots audit sentiment
    """
    from ftcore.data import snapshot
    from ftcore.data.cleaning.audit import audit as scan
    from ftcore.errors import DataRejectedError

    shelf = open_recipe(recipe)[1]
    found = scan(shelf, identity or snapshot.current(shelf) or "none")
    if found["found"]:
        rows = [f"row {row}" for row in found["row_ids"]]
        raise DataRejectedError(f"personal data in snapshot {found['snapshot']}: {found['found']}", rows)
    print(f"{found['rows']:,} texts hold none of {', '.join(found['entities'])}")


@app.command()
def prune(
    recipe: RecipeName,
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest stay.")],
    older_than: Annotated[float, typer.Option(metavar="DAYS", min=0, help="Younger ones stay, too.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete old snapshots; never the current one, nor one that a model version or an incremental source needs.

    Example:

        ftcore snapshots prune sentiment --keep 5 --older-than 90 --dry-run
    """
    from ftcore.compliance import retention

    _, shelf, conf = open_recipe(recipe)
    found = retention.prune(shelf, conf, keep, older_than, dry_run=dry_run)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for identity in found["deleted"]:
        print(f"{identity}  {'would be deleted' if dry_run else 'deleted'}")
    for identity, why in found["kept"].items():
        print(f"{identity}  stays: {why}")
    if not found["deleted"]:
        print("nothing to delete")


@app.command()
def report(
    recipe: RecipeName,
    identity: Id = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the page to this file.")] = None,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the page that a person reads first: rows read, rows left out with the reasons, plots, checks, verdict.

    Examples:

        ftcore snapshots report sentiment --open

        ftcore snapshots report sentiment 526359f56d1e08ae --output report.html
    """
    from ftcore.data import snapshot
    from ftcore.reports import snapshot as reports
    from ftcore.store.store import write_bytes

    read, shelf, conf = open_recipe(recipe)
    identity = identity or snapshot.current(shelf) or "none"
    page = reports.published(shelf, read, identity)
    sealed = Path(str(snapshot.path(shelf, identity, reports.FILE)))
    path = output or (sealed if sealed.is_file() else conf.home / "reports" / read.name / f"{identity}.html")
    if path != sealed:
        write_bytes(path, page)
    print(json.dumps({"snapshot": identity, "report": str(path)}) if as_json else path)
    if browse:
        typer.launch(path.resolve().as_uri())
