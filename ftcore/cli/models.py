"""``ftcore models``: list, show and compare a recipe's versions; promote, roll back, reject, release by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftcore.cli._help import group
from ftcore.cli._plain import one_line
from ftcore.cli._shared import AsJson, RecipeName, open_kept, open_recipe, say
from ftcore.store.times import moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftcore.recipe.model import Recipe
    from ftcore.registry.login import Person
    from ftcore.registry.promotion import ModelRegistry
    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore

HELP = """List, show and compare a recipe's model versions; promote, roll back, reject and release them by name.

Example:

    ftcore models ls sentiment
"""
NEWEST, WIDEST = 30, 100
"""Versions and characters of a reason that `ls` shows."""
NOTES = ("rejected", "rolled_back")
app = group(HELP)
Number = Annotated[int, typer.Argument(metavar="VERSION", help="Number of a version.", min=1)]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; the ledger keeps it.")]


@app.command()
def ls(
    recipe: Annotated[str, typer.Argument(metavar="[RECIPE]", help="Name of a recipe; all by default.")] = "",
    every: Annotated[bool, typer.Option("--all", help=f"Every version, not the newest {NEWEST} alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """List a recipe's versions, the newest first, and champion and previous in any case; without a recipe, every model.

    Examples:

        ftcore models ls

        ftcore models ls sentiment --all

        ftcore models ls sentiment --json      # always every version
    """
    from ftcore import settings
    from ftcore.registry import versions as registry

    if not recipe:
        found = [registry.summary(model) for model in registry.models(settings.load())]
        _print(found, as_json, "\n".join(_line(one) for one in found) or "no model is registered")
        return
    registrar = _registrar(recipe)
    book = registry.book(registrar.tracking).to_json(registrar.shelf.ledger())
    _print(book, as_json, _listed(book, every=every))


@app.command()
def show(recipe: RecipeName, version: Number, as_json: AsJson = False) -> None:
    """Print a version: verdict, snapshot, run, commit, hashes, approvals, ledger lines.

    Examples:

        ftcore models show sentiment 2

        ftcore models show sentiment 2 --json
    """
    from ftcore.registry import versions as registry
    from ftcore.tracking import registered

    registrar = _registrar(recipe)
    found = registered.version(registrar.tracking, version)
    ledger = registrar.shelf.ledger()
    entry = registry.entry(found, registered.model(registrar.tracking), ledger)
    lines = [line for line in ledger if version in (line.get("version"), line.get("candidate"))]
    _print(entry | {"ledger": lines}, as_json, _shown(entry, lines))


@app.command()
def diff(recipe: RecipeName, before: int, after: int, as_json: AsJson = False) -> None:
    """Print what differs between two versions: facts, artefacts, last metrics and parameters of their training.

    Examples:

        ftcore models diff sentiment 1 2

        ftcore models diff sentiment 1 2 --json
    """
    from ftcore.registry import versions as registry
    from ftcore.registry.metric_titles import title

    registrar = _registrar(recipe)
    found = registry.diff(registrar.tracking, before, after)
    task = registrar.recipe.task.model_dump(mode="json")
    named = {title(key, task): ends for key, ends in found["metrics"].items()}
    _print(found, as_json, _differing(found | {"metrics": named}))


@app.command()
def promote(
    recipe: RecipeName,
    version: Number,
    reason: Reason = "",
    override: Annotated[
        bool, typer.Option("--override", help="Promote despite a failed verdict or missing approvals; needs --reason.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a version champion by hand; it needs a verdict that passed, and the approvals that the recipe asks for.

    Who decides is whoever is logged in (`ftcore login`), which is an approval, too, and takes the rights
    that docs/howto/approve-and-roll-back.md lists; else the user of this machine, which is none.

    What it serves with is read and compared with the hash that was recorded when it was judged; where it differs or is
    gone nothing is promoted, not even with --override.

    Examples:

        ftcore models promote sentiment 3

        ftcore models promote sentiment 3 --override --reason 'the gate ran on wrong labels, see #12'
    """
    from ftcore.serving.model import serving

    registrar = _registrar(recipe, open_recipe)
    person = _person(registrar)
    found = registrar.tracking.version(version).tags
    if word := found.get("ftcore.verdict", ""):
        say(
            "\n  ".join(
                [f"the verdict of version {version}: {word}", *found.get("ftcore.verdict.reason", "").splitlines()]
            )
        )
    line = registrar.promote(version, person, reason, serving(registrar.recipe), override=override)
    _done(line, registrar, as_json, version)


@app.command()
def rollback(recipe: RecipeName, reason: Reason = "", as_json: AsJson = False) -> None:
    """Bring the previous champion back, and hold the loop's promotions until `ftcore models release`.

    What it serves with is compared with what was recorded first; where that differs or is gone nothing is changed.

    Example:

        ftcore models rollback sentiment --reason 'complaints since noon'
    """
    from ftcore.serving.model import serving

    registrar = _registrar(recipe)
    line = registrar.rollback(_person(registrar).name, reason, serving(registrar.recipe))
    _done(line, registrar, as_json, line["version"], line["instead_of"])


@app.command()
def reject(recipe: RecipeName, version: Number, reason: Reason = "", as_json: AsJson = False) -> None:
    """Reject a version; it will not be promoted automatically.

    Example:

        ftcore models reject sentiment 3 --reason 'worse on short texts'
    """
    registrar = _registrar(recipe)
    _done(registrar.reject(version, _person(registrar).name, reason), registrar, as_json, version)


@app.command()
def hold(recipe: RecipeName, reason: Reason = "", as_json: AsJson = False) -> None:
    """Pause automatic promotion until `ftcore models release`; the champion stays as it is.

    Example:

        ftcore models hold sentiment --reason 'the labels of last week are wrong'
    """
    registrar = _registrar(recipe)
    _done(registrar.hold(_person(registrar, "hold").name, reason), registrar, as_json)


@app.command()
def release(recipe: RecipeName, reason: Reason = "", as_json: AsJson = False) -> None:
    """End a hold, so that the loop may promote again.

    Example:

        ftcore models release sentiment --reason 'cause found and fixed'
    """
    registrar = _registrar(recipe)
    _done(registrar.release(_person(registrar).name, reason), registrar, as_json)


def _registrar(recipe: str, opened: Callable[[str], tuple[Recipe, RecipeStore, Settings]] = open_kept) -> ModelRegistry:
    """Who changes a recipe's registry; its file may be gone, but for a promotion, which asks who must approve."""
    from ftcore.registry.promotion import ModelRegistry

    return ModelRegistry.of(*opened(recipe))


def _person(registrar: ModelRegistry, right: str = "change") -> Person:
    """Who decides; whoever is logged in needs the right that the pages ask for."""
    from ftcore.registry import rights

    return rights.decider(registrar.tracking.settings, registrar.recipe.name, right)


def _done(line: dict[str, Any], registrar: ModelRegistry, as_json: bool, *versions: int | None) -> None:
    """Say what was done; then the versions' cards are written anew, which may fail without harm."""
    from ftcore.errors import FtcoreError
    from ftcore.reports import card

    _print(line, as_json, str(line["reason"]))
    for number in versions:
        if number is not None:
            try:
                tracking = registrar.tracking
                card.publish(registrar.shelf, tracking, tracking.version(number))
            except FtcoreError as error:
                say(f"the card of version {number} is as it was: {error.args[0]}")


def _print(value: object, as_json: bool, text: str) -> None:
    print(json.dumps(value, indent=2) if as_json else text)


def _listed(book: dict[str, Any], *, every: bool) -> str:
    """A recipe's versions as a table of one line each."""
    hold = [one_line(f"held by {book['hold']['by']}: {book['hold']['reason']}")] if book["hold"] else []
    if not book["versions"]:
        return "\n".join([*hold, f"{book['recipe']} has no version yet"])
    shown = [
        one
        for place, one in enumerate(book["versions"])
        if every or place < NEWEST or {"champion", "previous"} & set(one["aliases"])
    ]
    rows = [
        (
            str(one["version"]),
            _moment(one["created_at"]),
            one["state"],
            one_line(one["snapshot"]),
            one_line(_because(one)),
        )
        for one in shown
    ]
    left = len(book["versions"]) - len(shown)
    more = [f"… and {left:,} older ones: ftcore models ls {book['recipe']} --all"] if left else []
    head = ("version", "made (UTC)", "state", "snapshot", "because")
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]])
        for row in (head, *rows)
    ]
    return "\n".join([*hold, *(line.rstrip() for line in lines), *more])


def _because(one: dict[str, Any]) -> str:
    """Who decided about a version, or what the gate said, in one line."""
    for decided in ("rejected", "rolled_back"):
        if note := one[decided]:
            return f"{note['by']}: {note['reason']}"[:WIDEST]
    approved = ", ".join(answer["person"] for answer in one["answers"] if answer["decision"] == "approve")
    first, *more = one["verdict_reason"].splitlines() or [""]
    said = f"{first} (and {len(more)} more)" if more else first
    said = f"approved by {approved}; {said}" if approved else said
    if one["promoted_although"]:
        said = f"promoted by override, although: {one['promoted_although']}; {said}"
    return said if len(said) <= WIDEST else f"{said[: WIDEST - 1]}…"


def _shown(entry: dict[str, Any], ledger: list[dict[str, Any]]) -> str:
    """All that is known of a version, a line each."""
    from ftcore.registry.verdict import rules_of

    told = {key: entry[key] for key in NOTES}
    notes = {key: one and f"{moment(one['at'])} {one['by']}: {one['reason']}" for key, one in told.items()}
    simple = {key: value for key, value in entry.items() if not isinstance(value, list | dict)} | notes
    lines: list[str] = []
    for key, value in simple.items():
        if value not in (None, ""):
            lines += _named(key.replace("_", " "), str(value).splitlines() if key == "verdict_reason" else [str(value)])
    lines += [f"{'artefact':<16} {name}  sha256 {digest}" for name, digest in entry["artefacts"].items()]
    lines += [
        f"{'answer':<16} {moment(one['at'])}  {one['person']}: {one['decision']} {one['reason']}".rstrip()
        for one in entry["answers"]
    ]
    for one in ledger:
        head = f"{moment(one['at'])}  {one['kind']}: {one['decision']}"
        lines += _named("ledger", [head, *rules_of(one)] if one["kind"] == "gate" else [f"{head}: {one['reason']}"])
    return "\n".join(map(one_line, lines))


def _named(name: str, values: list[str]) -> list[str]:
    """Values one below the other, the first beside its name."""
    return [f"{name if not number else '':<16} {value}" for number, value in enumerate(values)]


def _differing(found: dict[str, Any]) -> str:
    """What differs between two versions, a line each."""
    lines = [
        f"{part:<10} {name}: {' → '.join('–' if one is None else str(one).replace(chr(10), '; ') for one in both)}"
        for part in ("facts", "artefacts", "metrics", "params")
        for name, both in found[part].items()
    ]
    return "\n".join(map(one_line, lines)) or f"versions {found['before']} and {found['after']} do not differ"


def _moment(at: str | None) -> str:
    return (at or "")[:16].replace("T", " ")


def _line(model: dict[str, Any]) -> str:
    aliases = ", ".join(f"{alias} {number}" for alias, number in sorted(model["aliases"].items()))
    return f"{model['recipe']:<24} {model['newest'] or 0:>4} newest  {aliases}{'  held' if model['hold'] else ''}"
