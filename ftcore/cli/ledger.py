"""``ftcore ledger``: every decision about a recipe, searched, exported, and checked as the chain that it is."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftcore.cli._plain import one_line
from ftcore.cli._shared import AsJson, RecipeName, open_archive, open_kept, say
from ftcore.store.times import moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ftcore.registry.promotion import ModelRegistry

FIRST = ("n", "at", "kind", "run_id", "decision", "version", "by", "reason")
"""Columns that a table begins with."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Beginnings that a spreadsheet would calculate."""
PEOPLE = ("by", "approved_by", "started_by")
Moment = Annotated[str, typer.Option(metavar="TIME", help="ISO 8601, such as 2026-11-21 or 2026-11-21T09:30; UTC.")]


def ledger(
    recipe: RecipeName,
    *,
    person: Annotated[str, typer.Option("--person", metavar="NAME", help="Lines with this person's decisions.")] = "",
    version: Annotated[int, typer.Option("--version", metavar="N", help="Lines about a version.")] = 0,
    decision: Annotated[str, typer.Option("--decision", help="Such as promoted, refused, approved.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="Such as plan, gate, approve, promote, rollback, decide.")] = "",
    since: Moment = "",
    until: Moment = "",
    table: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the lines as CSV; - is standard output.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check the chain, and what registry and store say; exit 1 where it breaks.")
    ] = False,
    acknowledge: Annotated[
        bool, typer.Option("--acknowledge", help="Go on despite breaks that no backup restores; needs --reason.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Sign the lines from before ledgers were signed; needs --reason.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; the ledger keeps it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Print every decision about a recipe: trained or not, promoted or not, and why.

    Examples:

        ftcore ledger sentiment

        ftcore ledger sentiment --person mira --since 2026-11-01

        ftcore ledger sentiment --version 3 --csv version-3.csv

        ftcore ledger sentiment --check

        ftcore ledger sentiment --acknowledge --reason 'the disk is gone, and the backup is older'

        ftcore ledger sentiment --adopt --reason 'the store is of an ftcore from before ledgers were signed'
    """
    if check or acknowledge or adopt:
        from ftcore.registry.promotion import ModelRegistry

        registrar = ModelRegistry.of(*open_kept(recipe))
        if adopt:
            _adopt(registrar, reason, as_json)
        elif acknowledge:
            _acknowledge(registrar, reason, as_json)
        else:
            _check(registrar, as_json)
        return
    wanted = {"kind": kind, "decision": decision, "since": _moment(since), "until": _moment(until)}
    every = open_archive(recipe)[0].ledger()
    lines = [line for line in every if _fits(line, wanted) and _is_about(line, person, version)]
    _say_unknown(every, {"kind": kind, "decision": decision})
    if table:
        _write(table, lines)
    elif as_json:
        print(json.dumps(lines, indent=2))
    else:
        _print(lines)


def _say_unknown(every: Sequence[Mapping[str, Any]], wanted: Mapping[str, str]) -> None:
    """Say which values there are, where no line has the one that is asked for."""
    for key, value in wanted.items():
        known = sorted({line[key] for line in every})
        if value and value not in known:
            say(f"no line has the {key} {value!r}; there are: {', '.join(known) or 'no lines at all'}")


def _print(lines: Sequence[Mapping[str, Any]]) -> None:
    """When, what, how it was decided, by whom, why: a line each, and of a gate one more for each further rule."""
    from ftcore.registry.verdict import rules_of

    widest = max((len(_person(line)) for line in lines), default=0)
    for line in lines:
        told = f"{moment(line['at']):<23}  {line['kind']:<8} {line['decision']:<9} {_person(line):<{widest}} "
        print(told + f"\n{' ' * len(told)}".join(map(one_line, rules_of(line))))


def _person(line: Mapping[str, Any]) -> str:
    """Who decided; a dash where the loop did."""
    return one_line(line.get("by") or "–")


def _check(registrar: ModelRegistry, as_json: bool) -> None:
    """Say what does not hold, the first broken link first; what was acknowledged breaks nothing and is told."""
    from ftcore.registry import integrity
    from ftcore.store.ledger import unacknowledged

    found, name = integrity.check(registrar.shelf, registrar.tracking), registrar.recipe.name
    broken = unacknowledged(found)
    if as_json:
        print(json.dumps([one.to_json() for one in found], indent=2))
        raise typer.Exit(bool(broken))
    for one in found:
        if one.acknowledged:
            print(f"an acknowledged break: {one_line(one)}")
    if not broken:
        lines = len(registrar.shelf.ledger())
        rest = "all else in registry and records agrees" if found else "registry and records agree"
        print(f"the ledger of {name} holds: {lines:,} line{'' if lines == 1 else 's'}; {rest} with it")
    else:
        print(f"the first broken link: {one_line(broken[0])}")
        for one in broken[1:]:
            print(f"  {one_line(one)}")
        print(f"to do: ftcore doctor {name} says what to do about each; with --fix it restores what it can")
    raise typer.Exit(bool(broken))


def _acknowledge(registrar: ModelRegistry, reason: str, as_json: bool) -> None:
    """Write the line that acknowledges what does not hold, and say what it lists."""
    from ftcore.registry import rights
    from ftcore.registry.acknowledgement import acknowledge

    name = registrar.recipe.name
    person = rights.decider(registrar.tracking.settings, name, rights.CHANGE)
    line = acknowledge(registrar, person, reason)
    if as_json:
        print(json.dumps(line, indent=2))
        return
    print(f"line {line['n']} of the ledger of {name}: {line['by']} acknowledges {len(line['breaks']):,} of its breaks")
    for one in line["breaks"]:
        print(f"  {one_line(one['what'])}")


def _adopt(registrar: ModelRegistry, reason: str, as_json: bool) -> None:
    """Sign, in somebody's name, the lines and records that are older than the platform's key."""
    from ftcore.errors import FtcoreError
    from ftcore.registry import rights
    from ftcore.registry.login import HINT
    from ftcore.store import adoption

    person = rights.decider(registrar.tracking.settings, registrar.recipe.name, rights.CHANGE)
    rights.named(person.name, reason)
    if registrar.recipe.approval.required and not person.logged_in:
        raise FtcoreError("the recipe asks for approvals, and to adopt a ledger needs a login", hint=HINT)
    line = adoption.by_person(registrar.shelf.chain, person.name, reason)
    print(json.dumps(line, indent=2) if as_json else f"{person.name} adopted {line['reason']}")


def _moment(text: str) -> datetime | None:
    from ftcore.errors import FtcoreError

    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise FtcoreError(f"{text!r} is no time", hint="write it as 2026-11-21 or 2026-11-21T09:30") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _fits(line: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether kind, decision and time are those that are wanted."""
    if any(wanted[key] and line.get(key) != wanted[key] for key in ("kind", "decision")):
        return False
    since, until = wanted["since"], wanted["until"]
    if not (since or until):
        return True
    if not line["at"]:
        return False
    at = datetime.fromisoformat(line["at"])
    return (since is None or at >= since) and (until is None or at < until)


def _is_about(line: Mapping[str, Any], person: str, version: int) -> bool:
    """Whether a line is about somebody and about a version; nobody and 0 are about all."""
    from ftcore.recipe.canonical import same_person

    if version and version not in (line.get(key) for key in ("version", "candidate", "instead_of")):
        return False
    if not person:
        return True
    names = [
        name for key in PEOPLE for name in ([line[key]] if isinstance(line.get(key), str) else line.get(key) or ())
    ]
    parts = [part for name in names for part in (name, *str(name).split(","))]
    return same_person(person) in {same_person(str(part)) for part in parts}


def _write(file: Path, lines: list[dict[str, Any]]) -> None:
    """Write lines as CSV, a column for each figure; what is no plain value is JSON."""
    from ftcore.registry.verdict import rules_of
    from ftcore.store.files import write_bytes

    others = sorted({key for line in lines for key in line} - set(FIRST))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([*FIRST, *others])
    for line in lines:
        about = {"version": line.get("candidate"), **line, "reason": "; ".join(rules_of(line))}  # a gate names its own
        writer.writerow([_cell(about.get(key)) for key in (*FIRST, *others)])
    if str(file) == "-":
        print(text.getvalue(), end="")
    else:
        write_bytes(file, text.getvalue().encode())


def _cell(value: object) -> object:
    """A value as a cell of one line; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    if isinstance(value, str):
        return f"'{one_line(value)}" if value[:1] in FORMULA else one_line(value)
    return "" if value is None else value if isinstance(value, int | float) else json.dumps(value)
