"""``ftcore forget``: suppress a subject's rows from now on, erase them from logs and evaluations, say what remains."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftcore.cli._shared import AsJson, RecipeName, open_recipe, say

if TYPE_CHECKING:
    from ftcore.settings import Settings


def forget(
    recipe: RecipeName,
    subject: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            help="The group of its rows, such as a customer id; a row's own key at its source; or a row id. "
            "`-` reads it from stdin, so that no shell keeps it.",
        ),
    ],
    in_text: Annotated[
        bool, typer.Option("--in-text", help="Also every row in whose text the key stands: an e-mail address, a name.")
    ] = False,
    reason: Annotated[
        str, typer.Option(help="Why, for the ledger, such as a case number; it must not name the subject.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look: suppress and erase nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Forget a subject: every later ingest leaves its rows out, and logs and evaluations keep none of them.

    What is kept is a keyed hash of the key, never the key. Its rows are erased from the prediction and feedback logs,
    from the evaluations and kept examples in the store and in MLflow, and from the logs of services and tasks on this
    machine; hashes before and after are kept, so that `ftcore verify` distinguishes an erasure from a forgery.
    Published snapshots do not change, and model versions still contain what they were trained on: both are listed, with
    what to do about them. Where snapshots hold the key under a mask, their rows cannot be found; incremental sources
    are then read from the beginning once, so that none comes back.

    The ledger's line names the person: whoever is logged in (`ftcore login`), else the user of this machine, also where
    Airflow does not confirm the login: an erasure does not wait for that.
    Where MLflow does not answer, it says so and what is left to do: the same command again.

    Examples:

        ftcore forget support_tickets --subject C-10442 --reason "case 2026-118"

        ftcore forget support_tickets --subject - --in-text --dry-run < address.txt
    """
    from ftcore.compliance.forget import ErasureRequest
    from ftcore.compliance.forget import forget as suppress
    from ftcore.registry import rights

    read, shelf, conf = open_recipe(recipe)
    key = sys.stdin.readline().strip() if subject == "-" else subject
    rights.short(reason)
    by = "" if dry_run else _asking(conf)
    report = suppress(read, shelf, conf, ErasureRequest(key, in_text=in_text, reason=reason, dry_run=dry_run, by=by))
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)


def _asking(conf: Settings) -> str:
    """Whoever is logged in; the user of this machine where nobody is, or where Airflow does not say so."""
    from ftcore.errors import FtcoreError
    from ftcore.registry import login

    try:
        return login.whoever(conf).name
    except FtcoreError as error:
        here = login.here()
        say(f"the login is not confirmed: {error.args[0]}; the erasure does not wait, and the ledger names {here}")
        return here


def _print(report: dict[str, Any]) -> None:
    known = ", as before" if report["known"] else ""
    print(f"{'would be suppressed' if report['dry_run'] else 'suppressed'}{known}: subject {report['subject']}")
    for one in report["snapshots"]:
        rows = ", ".join(f"{count:,} {split}" for split, count in one["rows"].items())
        print(f"  snapshot {one['snapshot']}{' (current)' if one['current'] else ''}: {rows}")
    for one in report["versions"]:
        print(f"  version {one['version']}: trained on {one['trained']:,} of them, tested on {one['tested']:,}")
    for place, rows in report["erased"].items():
        print(f"  {'would be erased' if report['dry_run'] else 'erased'} from {place}: {rows:,}")
    for path, lines in report["log_files"].items():
        print(f"  {'would be erased' if report['dry_run'] else 'erased'} from the log {path}: {lines:,} lines")
    if not report["snapshots"]:
        print("  no snapshot holds rows that can be recognized as the subject's")
    if report["pruned"]:
        named = ", ".join(map(str, report["pruned"]))
        print(f"  the snapshots of versions {named} are gone: their evaluations were searched by row id and text only")
    if report["masked"]:
        print("  snapshots may hold more under a mask; the next ingest reads incremental sources from the beginning")
    for number, step in enumerate(report["next"], 1):
        print(f"{number}. {step}")
