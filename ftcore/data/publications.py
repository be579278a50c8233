"""Publications of a snapshot: what each run that published its rows left out, counted, and was set to.

Rows that are published again are the same snapshot, although other rows may have been left out beside them or other
settings may have led to them. The first publication lies in the snapshot's folder; each later one in
``publications/NAME/`` there, with a quarantine, a report, a manifest, a seal and a signature of its own. The names sort
by time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ftcore.errors import DataRejectedError
from ftcore.recipe.canonical import canonical, sha256
from ftcore.store.chain import SIGNATURE
from ftcore.store.files import mapping, read_bytes
from ftcore.store.records import now
from ftcore.store.store import hash_file, log, read_json

if TYPE_CHECKING:
    from upath import UPath

    from ftcore.store.store import RecipeStore

SEAL = "manifest.sha256"
SIGNED = f"manifest{SIGNATURE}"
"""The platform's signature of a manifest, which has the hash of each file."""
FOLDER = "publications"
TOLD_APART_BY = ("run_id", "rows_in", "read", "settings", "removed_entities", "recipe_sha256")
"""Keys of the manifest that tell publications apart, beside the quarantine; a run that is killed and publishes again
has the same ones, whatever it is compared with by then."""


def folder(snapshot: UPath, name: str) -> UPath:
    """Folder of a publication; the first one has no name."""
    return snapshot / FOLDER / name if name else snapshot


def named(snapshot: UPath, first: Mapping[str, Any], manifest: Mapping[str, Any], quarantine: str) -> str:
    """Name of a publication: of the one that is there, or begun, where it is the same, else a new one.

    Args:
        snapshot: folder of the snapshot.
        first: manifest of its first publication.
        manifest: what is published now.
        quarantine: hash of the rows that are left out now.
    """
    key = _key(manifest, quarantine)
    if key == _key(first, first["files"].get("quarantine.parquet", "")):
        return ""
    same = [name for name in _every(snapshot) if name.endswith(f"-{key}")]
    return same[-1] if same else f"{now():%Y%m%dT%H%M%S%f}-{key}"


def complete(snapshot: UPath) -> list[str]:
    """Names of the publications that have a manifest, oldest first: the snapshot's own, which is empty, comes first."""
    return [name for name in ("", *_every(snapshot)) if (folder(snapshot, name) / "manifest.json").exists()]


def proven(shelf: RecipeStore, path: UPath) -> dict[str, Any] | None:
    """A manifest as the platform published it; None where there is none.

    One of an earlier ftcore has no signature: a gate's line or a plan's record has its hash. Before any was planned
    with, and any other is signed, it is taken with a warning.

    Raises:
        DataRejectedError: somebody else wrote it.
    """
    found: dict[str, Any] | None = read_json(path)
    if found is not None and (fault := unsigned(shelf, path)):
        if (path.parent / SIGNED).exists() or next(shelf.root.glob(f"snapshots/**/{SIGNED}"), None) is not None:
            raise DataRejectedError(
                f"{shelf.relative(path)} {fault}",
                hint=f"restore it from a backup, or ftcore run {shelf.name} --only data publishes anew",
            )
        log.warning("%s %s: it is taken as that of an earlier ftcore", shelf.relative(path), fault)
    return found


def vouched(shelf: RecipeStore, path: UPath) -> dict[str, Any] | None:
    """A manifest that was written by the platform; None of any other, which is published anew."""
    found: dict[str, Any] | None = read_json(path)
    return found if found and not unsigned(shelf, path) else None


def unsigned(shelf: RecipeStore, path: UPath) -> str:
    """Why nothing vouches for a manifest; empty where its signature does, or the ledger's or a record's hash of it."""
    if shelf.is_ours(path):
        return ""
    if (path.parent / SIGNED).exists():
        return "was changed, or was not written by the platform"
    digest = sha256(read_bytes(path) or b"")
    if any(line.get("records", {}).get("snapshot/manifest.json") == digest for line in shelf.ledger("gate")):
        return ""
    for record in shelf.root.glob("runs/*/plan/record.json"):
        if shelf.is_ours(record) and mapping(read_bytes(record)).get("inputs", {}).get("manifest") == digest:
            return ""
    return "is not signed by the platform"


def faults(shelf: RecipeStore, snapshot: UPath) -> Iterator[str]:
    """What of a snapshot's files is not as it was published, a sentence each."""
    known: set[str] = set()
    for name in ("", *_every(snapshot)):
        place = folder(snapshot, name)
        where = f"{FOLDER}/{name}/" if name else ""
        if name and not (place / SEAL).exists() and not (place / "manifest.json").exists():
            known |= _files(snapshot, place)  # begun by a run that did not get further: nobody reads it
            continue
        if not _sealed(place):
            yield f"{where}manifest.json does not match its seal"
            return
        if fault := unsigned(shelf, place / "manifest.json"):
            yield f"{where}manifest.json {fault}"
        files = (read_json(place / "manifest.json") or {})["files"]
        own = {one: value for one, value in files.items() if not name or not rows(one)}
        for one, expected in own.items():
            if not (place / one).exists():
                yield f"{where}{one} is gone"
            elif hash_file(place / one) != expected:
                yield f"{where}{one} does not match its hash"
        known |= {f"{where}{one}" for one in (*own, "manifest.json", SEAL, SIGNED)}
    yield from (f"{one} does not belong here" for one in sorted(_files(snapshot, snapshot) - known))


def rows(name: str) -> bool:
    """Whether a file of a snapshot holds its rows, which all publications share."""
    return name.split("/", maxsplit=1)[0].removesuffix(".parquet") in {"train", "validation", "test"}


def _sealed(place: UPath) -> bool:
    manifest, seal = read_bytes(place / "manifest.json"), read_bytes(place / SEAL)
    return manifest is not None and seal == sha256(manifest).encode()


def _files(snapshot: UPath, place: UPath) -> set[str]:
    found = (path.as_posix() for path in place.rglob("*") if path.is_file())
    return {path.removeprefix(snapshot.as_posix()).lstrip("/") for path in found}


def _every(snapshot: UPath) -> list[str]:
    place = snapshot / FOLDER
    return sorted(path.name for path in place.iterdir() if path.is_dir()) if place.exists() else []


def _key(manifest: Mapping[str, Any], quarantine: str) -> str:
    said = {name: manifest.get(name) for name in TOLD_APART_BY} | {"quarantine": quarantine}
    return sha256(canonical(json.loads(json.dumps(said, default=str))))[:8]
