"""All evidence of a version in one folder: what was promised, what it was trained on, how it was judged, who agreed."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ftcore.compliance import attestation, links
from ftcore.compliance.bundle import Gathered, Gatherer, Place, erased_of
from ftcore.errors import FtcoreError
from ftcore.reports import card, rendering
from ftcore.store.records import now, versions
from ftcore.store.store import write_bytes
from ftcore.tracking import registered

if TYPE_CHECKING:
    from ftcore.store.store import RecipeStore
    from ftcore.tracking.client import Tracking, Version

INDEX = "index.html"
TOLD = ("missing", "broken", "unknown", "acknowledged")
"""What is to be said of a bundle."""


@dataclass(frozen=True)
class Archive:
    """Store and registry of one recipe, whose file may be gone."""

    shelf: RecipeStore
    tracking: Tracking


@dataclass(frozen=True)
class Bundle:
    """What was collected."""

    folder: Path
    signed: bool
    files: tuple[str, ...]
    missing: tuple[str, ...]
    """What is not there any more, a sentence each."""
    broken: tuple[str, ...]
    """What is not as it was recorded, a sentence each."""
    unknown: tuple[str, ...] = ()
    """What was never written down, since an earlier version of ftcore made the version, a sentence each."""
    acknowledged: tuple[str, ...] = ()
    """What is not as it was recorded, with who goes on all the same and why, a sentence each."""


def collect(place: Place, number: int, folder: Path, key: Path | None = None) -> Bundle:
    """Collect a version's evidence into an empty folder, with an index page, and sign it: whole or not at all.

    What is missing or broken is part of the evidence: it stands on the page and in what is signed.

    Args:
        place: store and registry of the recipe; today's recipe is not read.
        number: the version.
        folder: new or empty.
        key: private key, PEM; None leaves the evidence unsigned.

    Raises:
        FtcoreError: no such version, the folder holds something, or the key is none.
        TransientError: MLflow does not answer.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FtcoreError(f"{folder} is not empty", hint="name a new folder; evidence is never written over")
    if key:
        attestation.check_private(key)
    version = registered.version(place.tracking, number)
    found = Gatherer(place, version).gather()
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        signed = _write(place, version, found, draft, key)
        draft.replace(folder)  # an empty folder of this name gives way
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    told = (tuple(getattr(found, name)) for name in TOLD)
    return Bundle(folder, signed, (*found.files, INDEX), *told)


def _write(place: Place, version: Version, found: Gathered, folder: Path, key: Path | None) -> bool:
    """Write a bundle, its page and its statement; returns whether it is signed."""
    for name, data in found.files.items():
        write_bytes(folder / name, data)
    predicate = {
        "recipe": place.shelf.name,
        "version": version.number,
        "collected_at": now().isoformat(),
        "ftcore": versions().get("ftcore", ""),
        "snapshot": version.snapshot,
        "records": {name.removeprefix("records/").removesuffix(".json"): name for name in found.files if _record(name)},
        "absent": found.absent,
        "about": found.about,
        "ledger_keys": found.keys,
    }
    found.broken.extend(one for one in links.faults(folder, predicate) if one not in found.broken)
    page = _page(place, version, found, signed=key is not None)
    write_bytes(folder / INDEX, page.encode())
    predicate |= {name: getattr(found, name) for name in TOLD}
    return attestation.seal(folder, [*found.files, INDEX], predicate, key)


def _page(place: Place, version: Version, found: Gathered, *, signed: bool) -> str:
    try:
        known = card.facts(place.shelf, version)
    except (FtcoreError, ValidationError, KeyError, TypeError, AttributeError, ValueError):  # told among the faults
        known = {"name": place.shelf.name, "version": version, "nobody": "The answers cannot be shown."}
    names = ("version.json", "ledger.json", "quarantine.json", "licenses.json", "energy.json", "recipes/finetune.json")
    read = {name: _read(found.files.get(name)) for name in names}
    shown = {name.rpartition("/")[2].removesuffix(".json"): value for name, value in read.items()}
    shown |= {"entry": shown.pop("version"), "recipe": shown.pop("finetune"), "files": list(found.files)}
    shown |= {"acknowledged": found.acknowledged, "faults": [*found.missing, *found.broken], "unwritten": found.unknown}
    shown["erased"] = erased_of(place, version)
    template = rendering.pages(strict=False).get_template("evidence.html.jinja")
    return template.render(**(known | shown), signed=signed)


def _read(data: bytes | None) -> Any:
    """JSON of a bundle's file; None where there is none."""
    try:
        return None if data is None else json.loads(data)
    except (ValueError, RecursionError):
        return None


def _record(name: str) -> bool:
    return name.startswith("records/")
