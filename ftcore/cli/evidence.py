"""``ftcore doctor``, ``evidence``, ``verify`` and ``keys``: what a compliance officer and a night shift need."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftcore.cli._help import group
from ftcore.cli._plain import one_line
from ftcore.cli._shared import AsJson, RecipeName, open_archive, open_kept, say

if TYPE_CHECKING:
    from ftcore.registry.findings import Finding

HELP = """Make, rotate and trust the keys that sign ledger and evidence.

Example:

    ftcore keys new signing.pem
"""
keys = group(HELP)


def doctor(
    recipe: Annotated[str, typer.Argument(metavar="[RECIPE]", help="Name of a recipe; all by default.")] = "",
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Fix what can be fixed.")] = False,
    mend: Annotated[bool, typer.Option("--mend", hidden=True, help="The former name of --fix.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check store, ledger and registry for inconsistencies: half-done promotions, aliases, orphan runs, broken files.

    Without a name it examines every recipe, also those in the store whose file is gone or broken, by the recipe that
    the champion's run went by. A broken file is a fault.

    Fit for cron: exit 0 where all is well, also while a step is running; 1 while something is wrong; 75 where MLflow or
    the store does not answer, or a promotion is under way.

    Examples:

        ftcore doctor

        ftcore doctor --json

        ftcore doctor sentiment --fix
    """
    report: dict[str, dict[str, list[Any]]] = {}
    for name in [recipe] if recipe else _every():
        own, done, left = _examined(name, fix=fix or mend, alone=bool(recipe))
        report[own] = {"mended": done, "found": [one.to_json() for one in left]}
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _tell(report)
    raise typer.Exit(any(found["fault"] for one in report.values() for found in one["found"]))


def _every() -> list[str]:
    """Every recipe by its file, then those of the store that no file is of."""
    from ftcore import settings
    from ftcore.errors import RecipeError
    from ftcore.recipe import reading as recipes
    from ftcore.store import store

    conf, found = settings.load(), dict[str, str]()
    for path in recipes.files(conf.recipes):
        name = path.stem
        with suppress(RecipeError):  # told when it is examined
            name = recipes.read(path).name
        found[name] = str(path)
    return [*found.values(), *(name for name in store.recipes(conf) if name not in found)]


def _examined(given: str, *, fix: bool, alone: bool) -> tuple[str, list[str], list[Finding]]:
    """What was fixed of a recipe, and what is left; a file that cannot be used is a fault, and hides no other."""
    from ftcore.errors import RecipeError
    from ftcore.recipe import reading as recipes
    from ftcore.registry import doctor as doctors
    from ftcore.registry.findings import Finding
    from ftcore.registry.promotion import ModelRegistry
    from ftcore.serving.model import serving

    broken = []
    try:
        if Path(given).is_file():
            recipes.read(given)
    except RecipeError as error:
        broken = [Finding(f"its file cannot be used: {error.args[0]}", f"correct it: ftcore check {given}")]
    try:
        registrar = ModelRegistry.of(*open_kept(given))
    except RecipeError as error:
        if alone:
            raise
        gone = Finding(f"it has a ledger, and its recipe is nowhere: {error.args[0]}", "restore its file from a backup")
        return Path(given).stem, [], broken or [gone]
    needs = serving(registrar.recipe)
    done, left = doctors.mend(registrar, needs) if fix else ([], doctors.examine(registrar, needs))
    return registrar.shelf.name, done, [*broken, *left]


def _tell(report: dict[str, dict[str, list[Any]]]) -> None:
    for name, one in report.items():
        if not one["found"] and not one["mended"]:
            print(f"✔ {name}: registry, ledger and store agree")
        for done in one["mended"]:
            print(f"✔ {name}: fixed: {done}")
        for found in one["found"]:
            to_do = "--fix would" if found["mendable"] else "to do"
            mark = "✘" if found["fault"] else "…"
            print(f"{mark} {name}: {one_line(found['what'])}\n  {to_do}: {one_line(found['hint'])}")


def evidence(
    recipe: RecipeName,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="Number of a version.", min=1)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="An empty or new folder.")],
    as_json: AsJson = False,
) -> None:
    """Collect all evidence of a version into one folder with an index page, signed with the platform's key.

    It holds what the run of the version used and recorded, not what the recipe says today; the recipe's file may
    be gone. Exit 3 where something is missing or is not as it was recorded; the folder is written all the same, and
    says so. Acknowledged breaks (`ftcore ledger RECIPE --acknowledge`) are listed first and are no fault.

    Example:

        ftcore evidence sentiment 2 -o evidence-2      # FTCORE_SIGNING_KEY=signing.pem names another key
    """
    from ftcore.compliance import evidence as bundles
    from ftcore.errors import DataRejectedError
    from ftcore.tracking.client import Tracking

    shelf, conf = open_archive(recipe)
    ring = shelf.chain.ring
    key = ring.private if ring.named or ring.private.exists() else None
    bundle = bundles.collect(bundles.Archive(shelf, Tracking(conf, shelf.name)), version, output, key)
    for told in bundle.acknowledged:
        say(f"! an acknowledged break: {told}")
    for told in bundle.unknown:
        say(f"not known: {told}")
    if not bundle.signed:
        to_do = ring.bring if ring.is_elsewhere else "ftcore keys new FILE makes one"
        say(f"! NOT SIGNED: nothing proves this evidence; there is no key here: {to_do}")
    found = {"folder": str(output), "signed": bundle.signed, "files": len(bundle.files)}
    found |= {name: list(getattr(bundle, name)) for name in bundles.TOLD}
    print(json.dumps(found, indent=2) if as_json else f"{output / bundles.INDEX}: {len(bundle.files)} files")
    if faults := [*bundle.missing, *bundle.broken]:
        raise DataRejectedError(
            f"the evidence of version {version} has {len(faults)} gaps and breaks, which it lists", faults
        )


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What ftcore evidence wrote.")],
    key: Annotated[
        Path | None, typer.Option("--key", metavar="PUB", help="The signer's public key, PEM; without it, only links.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that evidence is as it was collected; exit 3 and name the first broken link where a byte was changed.

    Breaks that were acknowledged, gaps and breaks that were there when it was collected are listed first. With the
    signer's public key the signature is checked, too: without it, whoever could write the folder could have written all
    of it anew. Rows that `ftcore forget` had erased before the evidence was collected are listed, and are no fault.

    Examples:

        ftcore verify evidence-2 --key .ftcore/keys/platform.pem.pub

        ftcore verify evidence-2                       # files and links alone
    """
    from ftcore.compliance.attestation import examine
    from ftcore.errors import DataRejectedError

    found = examine(folder, key)
    if as_json:
        told: dict[str, Any] = {"proved": not found.faults and key is not None, "intact": not found.faults}
        told |= {"about": found.about, "signature": found.signature, "format": found.form}
        told |= {"acknowledged": list(found.acknowledged), "gaps": list(found.gaps)}
        print(json.dumps(told | {"faults": list(found.faults), "erased": list(found.erased)}, indent=2))
    else:
        for one in found.acknowledged:
            print(f"! an acknowledged break: {one}")
        for gap in found.gaps:
            print(f"! listed when it was collected: {gap}")
        if found.form:
            print(f"! {found.form}")
        if found.faults:
            print(f"signature: {found.signature}")
    if found.faults:
        raise DataRejectedError(
            f"{folder} is not what was collected; the first broken link: {found.faults[0]}", list(found.faults[1:])
        )
    if not as_json:
        print(_proven(folder, found.about, found.signature))
        print("".join(f"erased on request: {one}\n" for one in found.erased), end="")


def _proven(folder: Path, about: str, signature: str) -> str:
    told = f"{folder}: evidence of {about}" if about else str(folder)
    if signature == "unsigned":
        return f"{told}: every file and link holds; UNSIGNED: nothing proves who wrote it"
    if signature == "not checked":
        return f"{told}: every file and link holds; the signature was not checked: name the signer's key by --key"
    return f"{told} is as it was signed; {signature}"


@keys.command()
def new(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Private key; the public one is FILE.pub.")],
) -> None:
    """Make an Ed25519 key pair; the same as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`.

    Example:

        ftcore keys new signing.pem
    """
    from ftcore.compliance.attestation import new_keys

    print(f"private key: {path}; give {new_keys(path)} to those who verify")


@keys.command()
def rotate() -> None:
    """Sign with a new key from now on; every recipe's ledger says so, signed with the old one, which stays trusted.

    Example:

        ftcore keys rotate
    """
    from ftcore import settings
    from ftcore.store import keys as rings
    from ftcore.store import store

    conf = settings.load()
    ring = rings.ring(conf)
    ring.make()
    old, new = ring.own(), ring.replacement()
    for name in store.recipes(conf):
        shelf = store.shelf(conf, name)
        if shelf.chain.newest():
            reason = f"the key {new[:16]} signs from now on"
            shelf.add_to_ledger("keys", f"to-{new[:16]}", "rotated", reason, public_key=new)
    ring.replace()
    print(f"{ring.private}: {new}; give {ring.private}.pub to those who verify")
    print(f"machines that get the new key trust the one before it by: ftcore keys trust {old}")


@keys.command("ls")
def listed(as_json: AsJson = False) -> None:
    """List the public keys that this machine trusts; the first one signs, where its private key is here.

    Example:

        ftcore keys ls
    """
    from ftcore import settings
    from ftcore.store import keys as rings

    ring = rings.ring(settings.load())
    own = ring.own()
    found = [{"key": key, "signs": key == own} for key in sorted(ring.trusted(), key=lambda key: (key != own, key))]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for one in found:
        print(f"{one['key']}  {'signs' if one['signs'] else 'trusted'}")


@keys.command()
def trust(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A public key: its file, PEM, or its 64 digits in hex.")],
) -> None:
    """Trust another public key on this machine: of a ledger that another machine wrote, or whose key was lost.

    Example:

        ftcore keys trust platform.pem.pub
    """
    from ftcore import settings
    from ftcore.store import keys as rings

    public = rings.named(key)
    rings.ring(settings.load()).trust(public)
    print(f"trusted: {public}")
