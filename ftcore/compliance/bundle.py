"""What belongs to the evidence of a version, gathered from store and registry in the order of the chain.

Nothing here reads a recipe's file: what was promised is what the run kept of it, what was done its records.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from ftcore.compliance import links
from ftcore.data import erasures, publications, snapshot
from ftcore.errors import FtcoreError
from ftcore.registry import approvals, artefacts, declared, integrity, licenses, served, versions
from ftcore.reports import card
from ftcore.store import run_recipe
from ftcore.store.files import as_json, mapping, names_in, read_bytes, read_many
from ftcore.store.records import LOCK, Record
from ftcore.store.slots import HEAD, read
from ftcore.store.store import RUN_ID, hash_file
from ftcore.tracking import artefact_files, registered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upath import UPath

    from ftcore.data.erasures import Erasure
    from ftcore.registry.declared import Declared
    from ftcore.store.store import RecipeStore
    from ftcore.tracking.client import Tracking, Version

DATA, FINETUNE, MONITOR = (
    ("ingest", "prepare", "validate"),
    ("plan", "tune", "train", "export", "evaluate", "gate", "approve", "promote"),
    ("watch", "decide"),
)
"""Steps whose records are collected, in the order of the chain."""
NO_CHAIN = "nothing was written to the ledger since it is a chain"


class Place(Protocol):
    """Where one recipe's runs and versions are kept."""

    @property
    def shelf(self) -> RecipeStore:
        """Part of the store."""
        ...

    @property
    def tracking(self) -> Tracking:
        """Its registry."""
        ...


@dataclass(frozen=True)
class Gathered:
    """The files of a bundle, in order, and what there is to say of them."""

    files: dict[str, bytes] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    """Names of files that are not there."""
    missing: list[str] = field(default_factory=list)
    """What was there once and is not any more, a sentence each: an error."""
    unknown: list[str] = field(default_factory=list)
    """What earlier versions of ftcore did not write down, a sentence each."""
    broken: list[str] = field(default_factory=list)
    """What is not as it was recorded, a sentence each: an error."""

    acknowledged: list[str] = field(default_factory=list)
    """What is not as it was recorded, and somebody goes on all the same, a sentence each with who and why."""
    about: list[Any] = field(default_factory=list)
    """Version and runs whose lines of the ledger are part of the bundle."""
    keys: list[str] = field(default_factory=list)
    """Public keys that are trusted and signed lines of the ledger, in hex."""

    def put(self, name: str, data: bytes | None, never: str = "") -> bytes | None:
        """Add a file, or what there is to say where there is none.

        Args:
            name: in the bundle.
            data: its bytes; None where there is no such file.
            never: why it may never have been written; empty where it was.
        """
        if data is not None:
            self.files[name] = data
            return data
        self.absent.append(name)
        (self.unknown if never else self.missing).append(f"{name} is not there" + (f": {never}" if never else ""))
        return None


@dataclass(frozen=True)
class Gatherer:
    """Gathers the evidence of one version."""

    place: Place
    version: Version
    found: Gathered = field(default_factory=Gathered)

    @cached_property
    def recipe(self) -> Declared:
        """What the version's run declared."""
        return declared.of_version(self.place.shelf, self.version.tags)

    @property
    def run_id(self) -> str:
        """The run that made the version; empty where its tag is no run's id."""
        return run if RUN_ID.match(run := self.version.tags.get("ftcore.run", "")) else ""

    @property
    def _old(self) -> str:
        """Why less was written down of a version that an earlier ftcore made; empty for any other."""
        return "" if self.version.tags.get(run_recipe.TAG) else "the version was made by an earlier version of ftcore"

    def gather(self) -> Gathered:
        """Everything, from the data to the decision about the version.

        Raises:
            TransientError: MLflow does not answer.
        """
        manifest = self._snapshot()
        self._chain("data", str(manifest.get("run_id", "")), DATA)
        self._request()
        self._chain("finetune", self.run_id, FINETUNE)
        self._training()
        for step, name in (("evaluate", "evaluation.json"), ("gate", "verdict.json")):
            self.found.put(name, self._step_file(step, name))
        self._registry()
        self._ledger()
        try:
            self.found.put("card.md", card.card(self.place.shelf, self.version).encode())
        except FtcoreError as error:
            self.found.put("card.md", None)
            self.found.broken.append(f"card.md cannot be made: {str(error).splitlines()[0]}")
        return self.found

    def _snapshot(self) -> dict[str, Any]:
        shelf, identity = self.place.shelf, self.version.snapshot
        place = snapshot.folder(shelf, identity) if identity.isalnum() else None
        data = self.found.put(links.MANIFEST, read_bytes(place / "manifest.json") if place else None)
        manifest = self._mapping(links.MANIFEST, data)
        files = self._part(links.MANIFEST, manifest, "files")
        for name in (publications.SEAL, "suite/result.json", "suite/whole.json", "report.html"):
            listed = name == publications.SEAL or name in files
            if place and (listed or name == "suite/result.json"):
                self.found.put(f"snapshot/{name}", read_bytes(place / name))
        self._rows(place, files)
        for key, name in links.PAGES.items():
            if path := manifest.get(key):
                self.found.put(name, self._of_the_store(path))
        if manifest:
            reasons = {name: manifest.get(name) for name in ("run_id", "quarantined", "quarantine_reasons")}
            self.found.put("quarantine.json", as_json(reasons))
        return manifest

    def _rows(self, place: UPath | None, files: Mapping[str, Any]) -> None:
        """Check that the rows are there, and up to a size that they are those of the manifest; they are not copied."""
        left = artefacts.READ_BYTES
        there = {name: place / name for name in sorted(files) if publications.rows(name)} if place else {}
        for name, path in there.items():
            if not path.is_file():
                self.found.missing.append(f"snapshot/{name} is not there")
            elif (left := left - path.stat().st_size) > 0 and hash_file(path) != files[name]:
                self.found.broken.append(f"snapshot/{name} was changed: its hash is not the one in the manifest")

    def _chain(self, chain: str, run: str, steps: tuple[str, ...]) -> None:
        """The recipe that a chain's run went by, and the records of its steps."""
        if run and not RUN_ID.match(run):
            self._tell(f"{run!r}, the run of the chain {chain}, is no run's id")
            run = ""
        if not run:
            self.found.put(links.recipe_file(chain), None, self._old)
        else:
            self._recipe(chain, run, steps)
        for step in steps:
            data = read_bytes(self.place.shelf.folder(run, step) / "record.json") if run else None
            if data is not None or self._asked(step):
                self.found.put(f"records/{chain}/{step}.json", data)
                self._about(f"records/{chain}/{step}.json", data)

    def _recipe(self, chain: str, run: str, steps: tuple[str, ...]) -> None:
        name = links.recipe_file(chain)
        if chain == "finetune":
            kept, never = self.recipe.kept, "" if self.recipe.lost else self.recipe.unknown
        else:
            records = [one for step in steps if (one := self._record(step, run))]
            wanted = next((one.inputs[run_recipe.INPUT] for one in records if run_recipe.INPUT in one.inputs), "")
            kept = self._kept(run, wanted)
            never = f"run {run} was made by an earlier version of ftcore" if records and not wanted else self._old
        self.found.put(name, kept.data if kept else None, never)

    def _asked(self, step: str) -> bool:
        """Whether a step must have left a record; of a recipe that is not known nobody can tell."""
        tags = self.version.tags
        if step == "approve":
            return tags.get("ftcore.verdict") in ("passed", "asks") and bool(self.recipe.of("approval.required", 0))
        if step == "tune":
            return bool(self.recipe.of("search") or self.recipe.of("train.folds"))
        return step != "promote" or tags.get("ftcore.promoted_by") == "the loop"

    def _about(self, name: str, data: bytes | None) -> None:
        """Check that a record is about this version: a run that began anew made another one."""
        number = self._part(name, self._mapping(name, data), "figures").get("version")
        if isinstance(number, int) and number != self.version.number:
            self.found.broken.append(f"{name} is about version {number}: the run was begun anew after this version")

    def _request(self) -> None:
        """The look of monitoring that asked for this training, where one did."""
        plan = self._record("plan")
        run = str((plan.figures.get("answers") if plan else None) or "")
        if not run:
            return
        self._chain("monitor", run, MONITOR)
        watched = self._record("watch", run)
        for kind in ("html", "json"):
            path = watched.paths.get(kind) if watched else None
            if path or not watched:
                self.found.put(f"drift/drift.{kind}", self._of_the_store(path) if path else None)

    def _training(self) -> None:
        """What it was trained with: packages, machine, licences, electricity."""
        trained, old = self._record("train"), self._old
        self.found.put("environment.lock", self._step_file("train", LOCK), old)
        tags = registered.run_tags(self.place.tracking, self.version.run)
        known = {key.removeprefix("env."): value for key, value in tags.items() if key.startswith("env.")}
        recorded = {**trained.versions, "git_commit": trained.git_commit} if trained else {}
        self.found.put("environment.json", as_json(dict(sorted({**recorded, **known}.items()))))
        figures = trained.figures if trained else {}
        self.found.put("licenses.json", as_json(licenses.told(self.recipe, figures.get("base_license"))))
        used = {name: figures[name] for name in ENERGY if name in figures}
        self.found.put("energy.json", as_json(used) if "energy_assumptions" in used else None, old)

    def _registry(self) -> None:
        tracking, version = self.place.tracking, self.version
        entry = versions.entry(version, registered.model(tracking), self.place.shelf.ledger())
        recorded = served.judged(self.place.shelf, version)
        gone = [name for name in recorded if not artefact_files.size(tracking, version.run, name)]
        self.found.missing.extend(f"the artefact {name!r} is not in MLflow" for name in gone)
        needs = tuple(name for name in recorded if name not in gone)
        checked = artefacts.check(tracking, version, needs, self.place.shelf)
        found = (fault for fault in (*checked.serving, *checked.others) if not fault.startswith("has lost"))
        self.found.broken.extend(f"version {version.number} {fault}" for fault in found)
        entry["artefacts"] = {name: digest for name, digest in entry["artefacts"].items() if name not in gone}
        self.found.put("version.json", as_json(entry))
        answers = [one.model_dump(mode="json") for one in approvals.given(self.place.shelf, version)]
        self.found.put("approvals.json", as_json(answers))

    def _ledger(self) -> None:
        shelf, plan = self.place.shelf, self._record("plan")
        about = {self.version.number, self.run_id, (plan.figures.get("answers") if plan else None) or self.run_id}
        self.found.about.extend(sorted(about, key=str))
        self.found.put(links.LEDGER, as_json([line for line in shelf.ledger() if links.concerns(line, about)]))
        slots = read_many(shelf.chain.slots, [name for name in names_in(shelf.chain.slots) if name != HEAD])
        chain = b"".join(slots[name] for name in sorted(slots) if read(slots[name], shelf.name))
        self.found.put(links.CHAIN, chain or None, self._old or NO_CHAIN)
        for one in integrity.check(shelf, self.place.tracking, [self.version.number]):
            (self.found.acknowledged if one.acknowledged else self.found.broken).append(f"the ledger, {one}")
        signers = {slot.key for data in slots.values() if (slot := read(data, shelf.name))}
        self.found.keys.extend(sorted(signers & shelf.chain.ring.trusted()))
        if erased := erased_of(self.place, self.version):
            self.found.put(links.ERASURES, as_json([one.model_dump(mode="json") for one in erased]))

    def _record(self, step: str, run: str = "") -> Record | None:
        """A record of a run; None where there is none, or none that can be read, which is told."""
        run = run or self.run_id
        try:
            return self.place.shelf.record(run, step) if run else None
        except (FtcoreError, ValidationError):
            self._tell(f"the record of {step} in run {run} cannot be read")
            return None

    def _kept(self, run: str, wanted: str) -> run_recipe.RunRecipe | None:
        try:
            return run_recipe.of(self.place.shelf, run, wanted) if wanted else None
        except FtcoreError:
            self._tell(f"the recipe of run {run} cannot be read")
            return None

    def _mapping(self, name: str, data: bytes | None) -> dict[str, Any]:
        """A JSON object; an empty one where there is none, which is told."""
        try:
            found = json.loads(data) if data is not None else {}
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self._tell(f"{name} is no JSON object")
            return {}
        return found

    def _part(self, name: str, document: dict[str, Any], key: str) -> dict[str, Any]:
        """A mapping within a file; an empty one where something else stands there, which is told."""
        found = document.get(key, {})
        if not isinstance(found, dict):
            self._tell(f"{name}: its {key} are no JSON object")
            return {}
        return found

    def _of_the_store(self, path: str) -> bytes | None:
        """A file that a record names; none outside of the recipe's part of the store."""
        if not isinstance(path, str) or path.startswith("/") or "://" in path or ".." in path.split("/"):
            self._tell(f"a record names {path!r}, which is no file of this recipe's")
            return None
        try:
            return read_bytes(self.place.shelf.root / path)
        except (OSError, ValueError) as error:
            self._tell(f"{path!r}, which a record names, cannot be read: {error}")
            return None

    def _tell(self, what: str) -> None:
        if what not in self.found.broken:
            self.found.broken.append(what)

    def _step_file(self, step: str, name: str) -> bytes | None:
        return read_bytes(self.place.shelf.folder(self.run_id, step) / name) if self.run_id else None


ENERGY = ("energy_kwh", "co2e_g", "cost", "worked_s", "worker", "peak_memory_bytes", "energy_assumptions", "attempts")
"""Figures of the training about what it used."""


def erased_of(place: Place, version: Version) -> list[Erasure]:
    """What was erased on request from what is known of a version."""
    run = version.tags.get("ftcore.run", "")
    try:
        plan = place.shelf.record(run, "plan") if run else None
    except (FtcoreError, ValidationError):  # told where the records are gathered
        plan = None
    watch = f"runs/{plan.figures['answers']}/watch" if plan and plan.figures.get("answers") else ""
    places = [f"runs/{run}/evaluate/{name}" for name in ("evaluation.json", "predictions.parquet")]
    places += [f"{watch}/drift.{kind}" for kind in ("html", "json")] if watch else []
    folder = place.shelf.root / "snapshots" / version.snapshot if version.snapshot.isalnum() else None
    manifest = mapping(read_bytes(folder / "manifest.json") if folder else None)
    places += [str(manifest[name]) for name in links.PAGES if name in manifest]
    return erasures.read(place.shelf, [*places, erasures.in_mlflow(version.run, "evaluation")])
