"""``ftcore doctor``, ``evidence``, ``verify`` and ``keys``: what a compliance officer and a night shift need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ftcore.cli._shared import AsJson, RecipeName, open_recipe, say

HELP = """Make the key pair that signs evidence.

Example:

    ftcore keys new signing.pem
"""
keys = typer.Typer(no_args_is_help=True, help=HELP)


@keys.callback()
def _keys() -> None:
    """Keeps `new` a command of its own: typer would merge a group of one."""


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
    from ftcore.serving.model import serving

    names = [recipe] if recipe else [str(path) for path in recipes.files(settings.load().recipes)]
    report: dict[str, dict[str, list[Any]]] = {}
    for name in names:
        registrar = Registrar.of(*open_recipe(name))
        needs = serving(registrar.recipe)
        done, left = doctors.mend(registrar, needs) if mend else ([], doctors.examine(registrar, needs))
        report[registrar.recipe.name] = {"mended": done, "found": [one.to_json() for one in left]}
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _tell(report)
    raise typer.Exit(any(found["fault"] for one in report.values() for found in one["found"]))


def _tell(report: dict[str, dict[str, list[Any]]]) -> None:
    for name, one in report.items():
        if not one["found"] and not one["mended"]:
            print(f"✔ {name}: registry, ledger and store agree")
        for done in one["mended"]:
            print(f"✔ {name}: mended: {done}")
        for found in one["found"]:
            to_do = "--mend would" if found["mendable"] else "to do"
            print(f"{'✘' if found['fault'] else '…'} {name}: {found['what']}\n  {to_do}: {found['hint']}")


def evidence(
    recipe: RecipeName,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="Number of a version.", min=1)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="An empty or new folder.")],
    as_json: AsJson = False,
) -> None:
    """Collect all evidence of a version into one folder with an index page, signed with the key FTCORE_SIGNING_KEY.

    Example:

        ftcore evidence sentiment 2 -o evidence-2      # with FTCORE_SIGNING_KEY=signing.pem in the environment
    """
    from ftcore import evidence as bundles
    from ftcore.promotion import Registrar

    read, shelf, conf = open_recipe(recipe)
    bundle = bundles.collect(Registrar.of(read, shelf, conf), version, output, conf.signing_key)
    for fault in (*bundle.missing, *bundle.broken):
        say(f"! {fault}")
    if not bundle.signed:
        say(
            "! NOT SIGNED: nothing proves this evidence; make a key by `ftcore keys new`, name it in FTCORE_SIGNING_KEY"
        )
    found = {"folder": str(output), "signed": bundle.signed, "files": len(bundle.files)}
    found |= {"missing": list(bundle.missing), "broken": list(bundle.broken)}
    print(json.dumps(found, indent=2) if as_json else f"{output / bundles.INDEX}: {len(bundle.files)} files")


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What ftcore evidence wrote.")],
    key: Annotated[Path, typer.Option("--key", metavar="PUB", help="The signer's public key, PEM.")],
    as_json: AsJson = False,
) -> None:
    """Prove that evidence is as it was signed; exit 3 and name the first broken link where a byte was changed.

    Rows that `ftcore forget` had erased before the evidence was collected are told, and are no fault.

    Example:

        ftcore verify evidence-2 --key signing.pem.pub
    """
    from ftcore.attestation import erased, prove
    from ftcore.errors import DataRejectedError

    faults = prove(folder, key)
    gone = [] if faults else erased(folder)
    if as_json:
        print(json.dumps({"proved": not faults, "faults": faults, "erased": gone}, indent=2))
    if faults:
        raise DataRejectedError(f"{folder} is not what was signed; the first broken link: {faults[0]}", faults[1:])
    if not as_json:
        print("\n".join([f"{folder} is as it was signed", *(f"erased on request: {one}" for one in gone)]))


@keys.command()
def new(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Private key; the public one is FILE.pub.")],
) -> None:
    """Make an Ed25519 key pair; the same as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`.

    Example:

        ftcore keys new signing.pem
    """
    from ftcore.attestation import new_keys

    print(f"private key: {path}; give {new_keys(path)} to those who verify")
