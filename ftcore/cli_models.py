"""``ftcore models``: list, show and compare a recipe's versions; promote, roll back, reject, release by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftcore._cli import AsJson, RecipeName, open_recipe, say

if TYPE_CHECKING:
    from ftcore.promotion import Registrar

HELP = """List, show and compare a recipe's model versions; promote, roll back, reject and release them by name.

Example:

    ftcore models ls sentiment
"""
app = typer.Typer(no_args_is_help=True, help=HELP)
Number = Annotated[int, typer.Argument(metavar="VERSION", help="Number of a version.", min=1)]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides; the ledger keeps it.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; the ledger keeps it.")]


@app.command()
def ls(
    recipe: Annotated[str, typer.Argument(metavar="[RECIPE]", help="Name of a recipe; all by default.")] = "",
    as_json: AsJson = False,
) -> None:
    """List a recipe's versions, the newest first; without a recipe, every registered model.

    Examples:

        ftcore models ls

        ftcore models ls sentiment --json
    """
    from ftcore import registry, settings

    if not recipe:
        found = [registry.summary(model) for model in registry.models(settings.load())]
        _print(found, as_json, "\n".join(_line(one) for one in found) or "no model is registered")
        return
    book = registry.book(_registrar(recipe).tracking).to_json()
    hold = [f"held by {book['hold']['by']}: {book['hold']['reason']}"] if book["hold"] else []
    rows = [
        f"{one['version']:>4}  {(one['created_at'] or '')[:19]}  {one['state']:<12} {one['snapshot']:<16}  "
        f"{', '.join(answer['person'] for answer in one['answers'] if answer['decision'] == 'approve')}".rstrip()
        for one in book["versions"]
    ]
    _print(book, as_json, "\n".join([*hold, *rows]) or f"{book['recipe']} has no version yet")


@app.command()
def show(recipe: RecipeName, version: Number) -> None:
    """Print what is known of a version: verdict, snapshot, run, commit, hashes, approvals, ledger lines.

    Example:

        ftcore models show sentiment 2
    """
    from ftcore import registry, tracking_models

    registrar = _registrar(recipe)
    found = tracking_models.version(registrar.tracking, version)
    entry = registry.entry(found, tracking_models.model(registrar.tracking))
    lines = [line for line in registrar.shelf.ledger() if version in (line.get("version"), line.get("candidate"))]
    print(json.dumps(entry | {"ledger": lines}, indent=2))


@app.command()
def diff(recipe: RecipeName, before: int, after: int) -> None:
    """Print what differs between two versions: facts, artefacts, last metrics and parameters of their training.

    Example:

        ftcore models diff sentiment 1 2
    """
    from ftcore import registry

    print(json.dumps(registry.diff(_registrar(recipe).tracking, before, after), indent=2))


@app.command()
def promote(
    recipe: RecipeName,
    version: Number,
    by: By = "",
    reason: Reason = "",
    override: Annotated[
        bool, typer.Option("--override", help="Although verdict or approvals speak against it; needs --reason.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a version champion by hand; it needs a verdict that passed, and the approvals that the recipe asks for.

    What it serves with is read and compared with the hash that was recorded when it was judged; where it differs or is
    gone nothing is promoted, not even with --override.

    Examples:

        ftcore models promote sentiment 3 --by mira

        ftcore models promote sentiment 3 --by mira --override --reason 'the gate ran on wrong labels, see #12'
    """
    from ftcore.serving.model import serving

    registrar = _registrar(recipe)
    line = registrar.promote(version, by, reason, serving(registrar.recipe), override=override)
    _done(line, registrar, as_json, version)


@app.command()
def rollback(recipe: RecipeName, by: By = "", reason: Reason = "", as_json: AsJson = False) -> None:
    """Bring the previous champion back, and hold the loop's promotions until `ftcore models release`.

    What it serves with is compared with what was recorded first; where that differs or is gone nothing is changed.

    Example:

        ftcore models rollback sentiment --by mira --reason 'complaints since noon'
    """
    from ftcore.serving.model import serving

    registrar = _registrar(recipe)
    line = registrar.rollback(by, reason, serving(registrar.recipe))
    _done(line, registrar, as_json, line["version"], line["instead_of"])


@app.command()
def reject(recipe: RecipeName, version: Number, by: By = "", reason: Reason = "", as_json: AsJson = False) -> None:
    """Say no to a version: the loop will not promote it.

    Example:

        ftcore models reject sentiment 3 --by mira --reason 'worse on short texts'
    """
    registrar = _registrar(recipe)
    _done(registrar.reject(version, by, reason), registrar, as_json, version)


@app.command()
def release(recipe: RecipeName, by: By = "", reason: Reason = "", as_json: AsJson = False) -> None:
    """End the hold of a rollback, so that the loop may promote again.

    Example:

        ftcore models release sentiment --by mira --reason 'cause found and mended'
    """
    registrar = _registrar(recipe)
    _done(registrar.release(by, reason), registrar, as_json)


def _registrar(recipe: str) -> Registrar:
    from ftcore.promotion import Registrar

    return Registrar.of(*open_recipe(recipe))


def _done(line: dict[str, Any], registrar: Registrar, as_json: bool, *versions: int | None) -> None:
    """Say what was done; then the versions' cards are written anew, which may fail without harm."""
    from ftcore import card
    from ftcore.errors import FtcoreError

    _print(line, as_json, str(line["reason"]))
    for number in versions:
        if number is not None:
            try:
                tracking = registrar.tracking
                card.publish(registrar.recipe, registrar.shelf, tracking, tracking.version(number))
            except FtcoreError as error:
                say(f"the card of version {number} is as it was: {error.args[0]}")


def _print(value: object, as_json: bool, text: str) -> None:
    print(json.dumps(value, indent=2) if as_json else text)


def _line(model: dict[str, Any]) -> str:
    aliases = ", ".join(f"{alias} {number}" for alias, number in sorted(model["aliases"].items()))
    return f"{model['recipe']:<24} {model['newest'] or 0:>4} newest  {aliases}{'  held' if model['hold'] else ''}"
