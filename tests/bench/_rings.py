"""Homes in which rings of every shape were turned, each also restored from its backup and copied to another path.

Two trainings are the ground of all: one that was promoted, and one that drift asked for. What was decided about the
second tells the shapes apart, so that a shape costs a copy of a folder.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ftcore import pipeline, settings
from ftcore.compliance import attestation, backup, evidence, forget, links, restore
from ftcore.recipe import reading as recipe
from ftcore.registry import doctor, integrity, served
from ftcore.registry.approvals import Answer
from ftcore.registry.intents import HEAD_TAG
from ftcore.registry.promotion import ModelRegistry
from ftcore.serving import scoring
from ftcore.serving.model import serving
from ftcore.store import adoption, store
from ftcore.store.files import write_json
from ftcore.store.records import now
from ftcore.tracking import places, registered
from tests.bench._tiny import sentence, write_product

NAME = "tiny"
NEWER = {"n", "before", "crowned", "records", "artefacts", "facts", "decided_at"}
"""Figures that lines of the ledger have since it is a chain."""
SECRET = {"FTCORE_PSEUDONYM_KEY": "bench"}


@dataclass(frozen=True)
class Home:
    """One machine's FTCORE_HOME and recipes, side by side in a folder."""

    folder: Path
    older: Path | None = None
    """The same home as it was after the first promotion."""

    @property
    def home(self) -> Path:
        """Its FTCORE_HOME."""
        return self.folder / "home"

    @property
    def path(self) -> Path:
        """File of the recipe."""
        return self.folder / "recipes" / f"{NAME}.yaml"

    @property
    def database(self) -> Path:
        """MLflow's."""
        return self.home / "mlflow" / "mlflow.db"

    @property
    def signs(self) -> bool:
        """Whether it has the platform's private key, so that its evidence is signed."""
        return (self.home / "keys" / "platform.pem").exists()

    @property
    def bundles(self) -> list[Path]:
        """Folders of evidence that were handed out."""
        return sorted((self.folder / "evidence").glob("*"))

    @property
    def registrar(self) -> ModelRegistry:
        """Its recipe with store and registry."""
        conf = settings.load()
        return ModelRegistry.of(recipe.read(self.path), store.shelf(conf, NAME), conf)

    @contextmanager
    def entered(self) -> Iterator[ModelRegistry]:
        """Be on this machine."""
        before = dict(os.environ)
        for name in [name for name in os.environ if name.startswith("FTCORE_")]:
            del os.environ[name]
        os.environ |= SECRET | {"FTCORE_HOME": str(self.home), "FTCORE_RECIPES": str(self.path.parent)}
        os.environ |= {"FTCORE_THREADS": "1", "FTCORE_PATIENCE_S": "0", "HF_HUB_OFFLINE": "1"}
        try:
            yield self.registrar
        finally:
            os.environ.clear()
            os.environ |= before

    def copied(self, folder: Path) -> Home:
        """The same at another path, with MLflow's database told of it."""
        shutil.copytree(self.folder, folder)
        there = Home(folder, self._older(folder))
        _relocate(self, there.home, there.database)
        return there

    def restored(self, folder: Path, *, private_keys: bool) -> Home:
        """Its backup, restored at another path."""
        there = Home(folder, self._older(folder))
        archive = folder.with_name(f"{folder.name}.backup")
        with self.entered():
            made = backup.make(settings.load(), archive, private_keys=private_keys)
            trust = frozenset({str(made["signed_by"])})
        for name in ("recipes", "evidence"):
            if (self.folder / name).is_dir():
                shutil.copytree(self.folder / name, folder / name)
        with there.entered():
            done = restore.restore(settings.load(), archive, trust)
        archive.unlink()
        assert done["ledger"] == [], done
        return there

    def _older(self, folder: Path) -> Path | None:
        """The older state, as it would be at another path."""
        if self.older is None:
            return None
        there = folder.with_name(f"{folder.name}.older")
        if not there.exists():
            shutil.copytree(self.older, there)
            _relocate(self, folder / "home", there / "home" / "mlflow" / "mlflow.db")
        return there


def _relocate(of: Home, home: Path, database: Path) -> None:
    move = places.Move(of.home / "mlflow/artifacts", home / "mlflow/artifacts", of.home / "store", home / "store")
    places.relocate(database, move, dry_run=False)


def shapes(folder: Path) -> dict[str, tuple[Home, int]]:
    """Turn a ring and make every shape of it; returns by name the home, and the version whose evidence is asked for."""
    base = Home(folder / "base")
    write_product(base.folder)
    _turn(base)
    made = {}
    for name, (shape, number) in SHAPES.items():
        home = base.copied(folder / name)
        with home.entered() as registrar:
            shape(home, registrar)
        made[name] = (home, number)
    return made


def everywhere(made: dict[str, tuple[Home, int]]) -> dict[str, tuple[Home, int]]:
    """Every shape as it is, restored from its backup, and copied to another path."""
    found = dict(made)
    for place, (name, (home, number)) in enumerate(made.items()):
        for how, there in (
            ("restored", home.restored(home.folder.with_name(f"{name}-restored"), private_keys=place % 2 == 0)),
            ("relocated", home.copied(home.folder.with_name(f"{name}-relocated"))),
        ):
            found[f"{name}, {how}"] = (there, number)
    return found


def _turn(base: Home) -> None:
    """Two trainings: the first is promoted, drift asks for the second, and nobody has answered about that."""
    document = yaml.safe_load(base.path.read_text(encoding="utf-8")) | {
        "train": {"epochs": 1, "max_length_tokens": 32, "batch_size": 16, "precision": "fp32"},
        "prepare": {"near_duplicates": None},
        "exports": [{"kind": "onnx", "precisions": ["int8"]}],
        "evaluate": {"resamples": 100, "perturbed_rows": 5},
        "approval": {"required": 1},
        "watch": {
            "detectors": [{"kind": "value_drift", "column": "score", "threshold": 1e-9}],
            "min_rows": 30,
            "min_feedback": 0,
        },
    }
    _write(base, document)
    with base.entered():
        _run("r1", base, ("data", "finetune"))
        promote(base, "r1", 1, "mira")
    shutil.copytree(base.folder, base.folder.with_name("base.older"))
    object.__setattr__(base, "older", base.folder.with_name("base.older"))
    asked = base.folder / "asked.jsonl"
    longer = [{"text": f"{sentence(n)} {'the story was bright and the plot was good ' * 3}"} for n in range(60)]
    asked.write_text("\n".join(map(json.dumps, longer)), encoding="utf-8")
    with base.entered() as registrar:
        scoring.score(registrar.recipe, registrar.shelf, settings.load(), asked)
        _run("m1", base, ("monitor",))
        rows = base.path.with_name("rows.csv")
        rows.write_text(rows.read_text(encoding="utf-8") + "the end was bright 7001,positive\n", encoding="utf-8")
        _run("r2", base, ("data", "finetune"))
        assert registrar.tracking.version(2).tags["ftcore.verdict"] == "passed"


def _write(home: Home, document: dict[str, Any]) -> None:
    home.path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def _run(run_id: str, home: Home, chains: tuple[str, ...]) -> None:
    pipeline.run(home.path, run_id, chains, {"train": "always"})


def promote(home: Home, run_id: str, number: int, *people: str) -> None:
    """Let people approve a version as in Airflow, and go on with its run until it is champion."""
    registrar = home.registrar
    for person in people:
        witness = {"by": "airflow", "task_id": "approve"}
        told = {"person": person, "decision": "approve", "run_id": run_id, "at": now(), "witness": witness}
        assert not registrar.answer(registrar.tracking.version(number), Answer.model_validate(told))
    for step in ("approve", "promote"):
        record = pipeline.run_step(step, home.path, run_id, {"train": "always"})
        assert record.proceed, record.reason


def _again(home: Home, required: int, *people: str) -> None:
    """A third training by a recipe with another number of approvals, promoted."""
    document = yaml.safe_load(home.path.read_text(encoding="utf-8"))
    _write(home, document | {"approval": {"required": required}})
    _run("r3", home, ("finetune",))
    if home.registrar.tracking.alias("champion").number != 3:  # type: ignore[union-attr]
        promote(home, "r3", 3, *people)


def _rolled_back(home: Home, registrar: ModelRegistry) -> None:
    promote(home, "r2", 2, "noor")
    registrar.rollback("noor", "it is slower than the one before", serving(registrar.recipe))


def _forgotten(home: Home, registrar: ModelRegistry) -> None:
    promote(home, "r2", 2, "noor")
    for key in (sentence(3), sentence(11)):
        done = forget.forget(
            registrar.recipe, registrar.shelf, settings.load(), forget.ErasureRequest(key, in_text=True)
        )
        assert done["snapshots"], "somebody is forgotten of whom there are rows"


def _adopted(home: Home, registrar: ModelRegistry) -> None:
    """A store that an ftcore without a chain left, and that this one went on with."""
    promote(home, "r2", 2, "noor")
    shelf = registrar.shelf
    for path in Path(shelf.chain.folder.path).glob("*.json"):
        line = json.loads(path.read_text(encoding="utf-8"))
        write_json(path, {key: value for key, value in line.items() if key not in NEWER})
    for path in Path(shelf.root.path).rglob("*.sig.json"):
        path.unlink()
    shutil.rmtree(Path(shelf.chain.slots.path))
    shelf.chain.witness.unlink()
    registered.tag_model(registrar.tracking, {HEAD_TAG: None})
    adoption.by_person(shelf.chain, "noor", "the platform is updated")
    registrar.hold("noor", "while the platform is updated")
    registrar.release("noor")
    doctor.mend(registrar, serving(registrar.recipe))


def _handed_out(home: Home, registrar: ModelRegistry) -> None:
    """Evidence of both versions, signed, and one folder as an earlier ftcore wrote it."""
    promote(home, "r2", 2, "noor")
    key = registrar.shelf.chain.ring.private
    for number in (1, 2):
        evidence.collect(registrar, number, home.folder / "evidence" / str(number), key)
    old = evidence.collect(registrar, 2, home.folder / "evidence" / "older", key).folder
    statement = json.loads((old / attestation.STATEMENT).read_text(encoding="utf-8"))
    v2, links.V2 = links.V2, links.V1
    try:
        attestation.seal(old, [one["name"] for one in statement["subject"]], statement["predicate"], key)
    finally:
        links.V2 = v2


SHAPES: dict[str, tuple[Callable[[Home, ModelRegistry], object], int]] = {
    "promoted": (lambda home, registrar: promote(home, "r2", 2, "noor"), 2),
    "waiting": (lambda home, registrar: None, 2),
    "rejected": (lambda home, registrar: registrar.reject(2, "noor", "it is too long"), 2),
    "rolled back": (_rolled_back, 2),
    "held": (lambda home, registrar: registrar.hold("noor", "the quarter ends"), 2),
    "forgotten": (_forgotten, 2),
    "approved by two": (lambda home, registrar: _again(home, 2, "noor", "mira"), 3),
    "unattended": (lambda home, registrar: _again(home, 0), 3),
    "adopted": (_adopted, 2),
    "handed out": (_handed_out, 1),
}


def alarms(home: Home) -> list[str]:
    """What doctor, evidence, verify and promotion say against a ring that nobody touched."""
    with home.entered() as registrar:
        key = registrar.shelf.chain.ring.private
        public = key.with_name(f"{key.name}.pub")
        found = [f"doctor: {one.what}" for one in doctor.examine(registrar, serving(registrar.recipe)) if one.fault]
        model = registered.model(registrar.tracking)
        for version in registrar.tracking.versions():
            place = home.folder / "look" / str(version.number)
            made = evidence.collect(registrar, version.number, place, key if key.exists() else None)
            found += [f"evidence: {one}" for one in (*made.broken, *made.missing)]
            proof = attestation.examine(place, public if made.signed else None)
            found += [
                f"verify: {one}" for one in (*proof.faults, *(one for one in proof.gaps if one not in made.unknown))
            ]
            against = integrity.against(registrar.shelf, version, model)
            found += [f"promotion: {one}" for one in against if "judge it again" not in one]
            registrar.fit_to_serve(version, serving(registrar.recipe))
        champion = served.champion(registrar.shelf, registrar.tracking)
        assert champion is not None
        served.folder(registrar.tracking, champion, serving(registrar.recipe)[0])
        for folder in home.bundles:
            proof = attestation.examine(folder, public)
            found += [f"verify: {one}" for one in (*proof.faults, *proof.gaps)]
        shutil.rmtree(home.folder / "look")
    return found
