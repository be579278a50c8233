"""All evidence of a version in one folder: what it was trained on, how it was judged, and who agreed to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore import approvals, artefacts, attestation, card, erasures, publications, registry, snapshot, tracking_models
from ftcore.errors import FtcoreError
from ftcore.records import now
from ftcore.store import read_json, write_bytes

if TYPE_CHECKING:
    from upath import UPath

    from ftcore.erasures import Erasure
    from ftcore.promotion import Registrar
    from ftcore.tracking import Version

INDEX = "index.html"
DATA, FINETUNE = (
    ("ingest", "prepare", "validate"),
    ("plan", "tune", "train", "export", "evaluate", "gate", "approve", "promote"),
)
"""Steps whose records are collected, in the order of the chain."""


@dataclass(frozen=True)
class Bundle:
    """What was collected."""

    folder: Path
    signed: bool
    files: tuple[str, ...]
    missing: tuple[str, ...]
    """What is not in the store any more, or never was, a sentence each."""
    broken: tuple[str, ...]
    """Links between records that do not hold, a sentence each."""


def collect(registrar: Registrar, number: int, folder: Path, key: Path | None = None) -> Bundle:
    """Collect a version's evidence into an empty folder, with an index page, and sign it.

    Args:
        registrar: of the recipe.
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
    version = tracking_models.version(registrar.tracking, number)
    files, missing = dict[str, bytes](), list[str]()
    for name, data in _gather(registrar, version):
        if data is None:
            missing.append(f"{name} is not there")
        else:
            files[name] = data
    for name, data in files.items():
        write_bytes(folder / name, data)
    records = {_record_name(name): name for name in files if name.startswith("records/")}
    broken = [*attestation.broken_links(folder, records), *_replaced(registrar, version)]
    facts = {"recipe": registrar.recipe.name, "version": number, "collected_at": now().isoformat()}
    page = _page(registrar, version, files, [*missing, *broken], signed=key is not None)
    write_bytes(folder / INDEX, page.encode())
    predicate = {**facts, "snapshot": version.snapshot, "records": records, "missing": missing, "broken": broken}
    signed = attestation.seal(folder, [*files, INDEX], predicate, key)
    return Bundle(folder, signed, (*files, INDEX), tuple(missing), tuple(broken))


def _gather(registrar: Registrar, version: Version) -> Iterator[tuple[str, bytes | None]]:
    """Every file of the bundle with its bytes, in the order of the chain; None for what is not there."""
    shelf, run_id = registrar.shelf, version.tags.get("ftcore.run", "")
    place = snapshot.folder(shelf, version.snapshot) if version.snapshot else None
    for name in ("manifest.json", publications.SEAL, "suite/result.json"):
        yield f"snapshot/{name}", _bytes(place / name) if place else None
    recipe = registrar.recipe
    asked = {"approve": recipe.approval.required, "tune": recipe.search or recipe.train.folds}
    manifest = (read_json(place / "manifest.json") if place else None) or {}
    for chain, run, steps in (("data", manifest.get("run_id", ""), DATA), ("finetune", run_id, FINETUNE)):
        for step in steps:
            data = _bytes(shelf.folder(run, step) / "record.json") if run else None
            if data is not None or asked.get(step, True):
                yield f"records/{chain}/{step}.json", data
    for step, name in (("evaluate", "evaluation.json"), ("gate", "verdict.json")):
        yield name, _bytes(shelf.folder(run_id, step) / name) if run_id else None
    yield "environment.json", _json(_environment(registrar, version))
    yield "version.json", _json(registry.entry(version, tracking_models.model(registrar.tracking)))
    yield "approvals.json", _json([one.model_dump(mode="json") for one in approvals.read(version.tags)])
    about = (version.number, run_id)
    lines = [line for line in shelf.ledger() if {line.get("version"), line.get("candidate"), line["run_id"]} & {*about}]
    yield "ledger.json", _json(lines)
    if erased := _erased(registrar, version):
        yield attestation.ERASURES, _json([one.model_dump(mode="json") for one in erased])
    yield "card.md", card.card(registrar.recipe, shelf, version).encode()


def _erased(registrar: Registrar, version: Version) -> list[Erasure]:
    """What was erased on request from what is known of a version."""
    run = version.tags.get("ftcore.run", "")
    places = [f"runs/{run}/evaluate/{name}" for name in ("evaluation.json", "predictions.parquet")]
    return erasures.read(registrar.shelf, [*places, erasures.in_mlflow(version.run, "evaluation")])


def _replaced(registrar: Registrar, version: Version) -> list[str]:
    """Artefacts whose recorded hash is not that of the verdict, and was not changed by an erasure, a sentence each."""
    logged = tracking_models.hashes(tracking_models.run_tags(registrar.tracking, version.run))
    known = _erased(registrar, version)
    return [
        f"version.json was made from another artefact {name} than MLflow has now"
        for name, digest in artefacts.recorded(version).items()
        if logged.get(name, digest) != digest
        and not erasures.between(known, erasures.in_mlflow(version.run, name), digest, logged[name])
    ]


def _environment(registrar: Registrar, version: Version) -> dict[str, str]:
    """Packages, machine and commit that the version was trained with."""
    tags = tracking_models.run_tags(registrar.tracking, version.run)
    trained = registrar.shelf.record(version.tags.get("ftcore.run") or "none", "train")
    known = {key.removeprefix("env."): value for key, value in tags.items() if key.startswith("env.")}
    recorded = {**trained.versions, "git_commit": trained.git_commit} if trained else {}
    return dict(sorted({**recorded, **known}.items()))


def _page(registrar: Registrar, version: Version, files: dict[str, bytes], faults: list[str], *, signed: bool) -> str:
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(card.TEMPLATES), autoescape=True)
    known = card.facts(registrar.recipe, registrar.shelf, version)
    entry, ledger = (json.loads(files[name]) for name in ("version.json", "ledger.json"))
    template = environment.get_template("evidence.html.jinja")
    erased = _erased(registrar, version)
    shown = {"entry": entry, "files": list(files), "faults": faults, "ledger": ledger, "erased": erased}
    return template.render(**known, **shown, signed=signed)


def _record_name(file: str) -> str:
    return file.removeprefix("records/").removesuffix(".json")


def _bytes(path: UPath) -> bytes | None:
    try:
        return bytes(path.read_bytes())
    except FileNotFoundError:
        return None


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
