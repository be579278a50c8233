"""``ftcore lineage``: from snapshots to the versions trained on them, and from a version back to its sources."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftcore.cli._shared import AsJson, RecipeName, open_archive, show
from ftcore.store.times import moment

if TYPE_CHECKING:
    from rich.tree import Tree

What = Annotated[
    str,
    typer.Argument(
        metavar="SNAPSHOT|VERSION",
        help="Id of a snapshot, number of a version, or champion, candidate, previous; every snapshot by default.",
    ),
]


def lineage(recipe: RecipeName, what: What = "", as_json: AsJson = False) -> None:
    """Print the lineage: snapshots with the runs and versions trained on them, versions with their past.

    Examples:

        ftcore lineage sentiment                        # every snapshot, and what was trained on it

        ftcore lineage sentiment 526359f56d1e08ae       # one snapshot: sources, validation, versions

        ftcore lineage sentiment champion --json        # back to snapshot, sources, base model, commit, approval
    """
    from ftcore.compliance.lineage import Lineage
    from ftcore.tracking.client import Tracking

    shelf, conf = open_archive(recipe)
    found = Lineage(shelf, Tracking(conf, shelf.name)).of(what)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    show(_tree(found), soft_wrap=True)


def _tree(found: dict[str, Any]) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(Text(found["recipe"], "bold"))
    if "version" in found:
        _version(tree, found)
    for one in found.get("snapshots", [found] if "snapshot" in found else []):
        _snapshot(tree, one)
    if found.get("snapshots") == []:
        _add(tree, "no snapshot was published yet")
    if "models" in found:
        _add(tree, f"models: {found['models']}", "yellow")
    return tree


def _version(tree: Tree, found: dict[str, Any]) -> None:
    here = _add(tree, _named(found), "bold")
    trained = moment(found["trained_at"] or "unknown time")
    _add(here, f"run {found['run_id']} · MLflow run {found['mlflow_run']} · {trained}")
    _add(here, f"base model {found['base']}")
    _add(here, f"commit {found['git_commit'] or 'unknown'} · recipe {found['recipe_sha256'] or 'unknown'}")
    for line in found["decisions"]:
        _add(here, f"{moment(line['at'])} {line['kind']}: {line['decision']} · {line['reason']}")
    if found["trained_on"] is None:
        _add(here, "no snapshot is known")
    elif found["trained_on"].get("gone"):
        _add(here, f"snapshot {found['trained_on']['snapshot']} is no longer kept")
    else:
        _snapshot(here, found["trained_on"])


def _snapshot(tree: Tree, found: dict[str, Any]) -> None:
    marks = " · current" if found["current"] else ""
    if period := found["period"]:
        marks += f" · observed {period['since'][:10]} to {period['until'][:10]}"
    rows = f"{found['rows']:,} rows" if found["rows"] is not None else "rows unknown"
    here = _add(tree, f"snapshot {found['snapshot']} · {moment(found['created_at'])} · {rows}{marks}", "bold")
    for source, rows in found["sources"].items():
        _add(here, f"from {source}: {rows:,} rows")
    _add(here, f"after snapshot {found['previous']}" if found["previous"] else "after no snapshot")
    _add(here, f"run {found['run_id']} · commit {found['git_commit'] or 'unknown'}")
    warned = f" · {len(found['warnings'])} warnings" if found["warnings"] else ""
    _add(here, f"validated: {found['quarantined'] or 0:,} rows quarantined{warned}")
    for name, path in found["reports"].items():
        _add(here, f"{name.replace('_', ' ')} {path}")
    for run in found.get("trained") or []:
        branch = _add(
            here, f"run {run['run_id'] or 'unknown'} · MLflow run {run['mlflow_run']} · {run['status'].lower()}"
        )
        for version in run["versions"]:
            _add(branch, _named(version))
    if found.get("trained") == []:
        _add(here, "no model was trained on it")


def _named(version: dict[str, Any]) -> str:
    words = [f"version {version['version']}", *version["aliases"]]
    if version["promoted_at"]:
        words.append(f"promoted {moment(version['promoted_at'])}")
    if version["approved_by"]:
        words.append(f"approved: {version['approved_by']}")
    return " · ".join(words)


def _add(tree: Tree, text: str, style: str = "") -> Tree:
    from rich.text import Text

    return tree.add(Text(text, style))
