"""``ftcore doctor``, ``evidence``, ``verify`` and ``keys``: what a compliance officer and a night shift need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ftcore._cli import AsJson, RecipeName, open_recipe

keys = typer.Typer(no_args_is_help=True, help="Make the key pair that signs evidence.")


def doctor(
    recipe: Annotated[str, typer.Argument(metavar="[RECIPE]", help="Name of a recipe; all by default.")] = "",
    mend: Annotated[bool, typer.Option("--mend", help="Mend what can be mended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find what a crash left behind: half-done promotions, lost aliases, broken files; exit 1 while something is wrong.

    Examples:

        ftcore doctor

        ftcore doctor sentiment --mend
    """
    from ftcore import doctor as doctors
    from ftcore import recipe as recipes
    from ftcore import settings
    from ftcore.promotion import Registrar
    from ftcore.serving.model import flavours

    names = [recipe] if recipe else [str(path) for path in recipes.files(settings.load().recipes)]
    report: dict[str, dict[str, list[Any]]] = {}
    for name in names:
        registrar = Registrar.of(*open_recipe(name))
        needs = flavours(registrar.recipe)[:1]
        done, left = doctors.mend(registrar, needs) if mend else ([], doctors.examine(registrar, needs))
        report[registrar.recipe.name] = {"mended": done, "found": [one.to_json() for one in left]}
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _tell(report)
    raise typer.Exit(any(one["found"] for one in report.values()))


def _tell(report: dict[str, dict[str, list[Any]]]) -> None:
    for name, one in report.items():
        if not one["found"] and not one["mended"]:
            print(f"✔ {name}: registry, ledger and store agree")
        for done in one["mended"]:
            print(f"✔ {name}: mended: {done}")
        for found in one["found"]:
            print(f"✘ {name}: {found['what']}\n  {'--mend would' if found['mendable'] else 'to do'}: {found['hint']}")


def evidence(
    recipe: RecipeName,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="Number of a version.", min=1)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="An empty or new folder.")],
    as_json: AsJson = False,
) -> None:
    """Collect all evidence of a version into one folder with an index page, signed with the key FTCORE_SIGNING_KEY.

    Example:

        FTCORE_SIGNING_KEY=signing.pem ftcore evidence sentiment 2 -o evidence-2
    """


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What ftcore evidence wrote.")],
    key: Annotated[Path, typer.Option("--key", metavar="PUB", help="The signer's public key, PEM.")],
    as_json: AsJson = False,
) -> None:
    """Prove that evidence is as it was signed; exit 3 and name the first broken link where a byte was changed.

    Example:

        ftcore verify evidence-2 --key signing.pem.pub
    """


@keys.command()
def new(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Private key; the public one is FILE.pub.")],
) -> None:
    """Make an Ed25519 key pair; the same as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`.

    Example:

        ftcore keys new signing.pem
    """
