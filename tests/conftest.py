"""What the tests share: a product of its own for each test, one MLflow database and one tiny model for all of them."""

from __future__ import annotations

import gc
import os
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import yaml

from ftcore import pipeline, settings
from ftcore.context import Context
from ftcore.data import snapshot, split
from ftcore.recipe import reading as recipes
from ftcore.registry import served
from ftcore.registry.approvals import Answer
from ftcore.registry.judgement import record_verdict
from ftcore.registry.promotion import ModelRegistry
from ftcore.registry.verdict import Rule, Verdict
from ftcore.store import run_recipe, store
from ftcore.store.records import Record, now
from ftcore.tracking.client import CHAMPION, Tracking, Version

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.recipe.model import Recipe
    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore

pytest_plugins = ["tests._suite"]
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# The same examples each time, however slow the machine is: a test that fails now and then teaches nobody.
hypothesis.settings.register_profile("ftcore", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("ftcore")
ASSETS = settings.load().cache.resolve() / "assets"
"""Read before any test has a home of its own."""
LABELS = ("negative", "positive")
WORDS = [
    "a",
    "the",
    "film",
    "plot",
    "is",
    "was",
    "good",
    "great",
    "bad",
    "awful",
    "dull",
    "bright",
    "story",
    "end",
    "number",
]


VOUCHED = {"by": "airflow", "task_id": "approve"}
"""Airflow's record of an answer, as far as it matters here."""


@dataclass(frozen=True)
class Product:
    """A recipe with its store and its registry, for one test."""

    name: str
    path: Path

    @property
    def recipe(self) -> Recipe:
        return recipes.read(self.path)

    @property
    def settings(self) -> Settings:
        return settings.load()

    @property
    def shelf(self) -> RecipeStore:
        return store.shelf(self.settings, self.name)

    @property
    def tracking(self) -> Tracking:
        return Tracking(self.settings, self.name)

    @property
    def registrar(self) -> ModelRegistry:
        return ModelRegistry(self.recipe, self.shelf, self.tracking)

    def judge(self, number: int, champion: int | None = None, *, passed: bool = True, run_id: str = "r1") -> None:
        """Leave a gate's verdict on a version: its file, its record, the ledger's line and the tags."""
        rule = Rule(gate="threshold", passed=passed, reason="0.9 reaches 0.8")
        verdict = Verdict(passed=passed, rules=(rule,), candidate=number, champion=champion)
        path = self.shelf.folder(run_id, "gate") / "verdict.json"
        store.write_json(path, verdict.to_json())
        record_verdict(self.registrar, run_id, verdict, store.hash_file(path))
        made = {"step": "gate", "recipe": self.name, "run_id": run_id, "fingerprint": "", "started_at": now()}
        self.shelf.write_record(Record.model_validate(made | {"figures": verdict.to_json()}))

    def approve(self, number: int, *people: str, run_id: str = "r1", started_by: Sequence[str] = ()) -> None:
        """Leave approvals on a version, each as the step ``approve`` does with Airflow's record of it."""
        for person in people:
            told = {"person": person, "decision": "approve", "run_id": run_id, "started_by": tuple(started_by)}
            answer = Answer.model_validate(told | {"at": now(), "witness": VOUCHED})
            self.registrar.answer(self.tracking.version(number), answer)

    def document(self) -> dict[str, Any]:
        return yaml.safe_load(self.path.read_text(encoding="utf-8"))

    def change(self, **keys: object) -> None:
        """Change top-level keys of the recipe, as if it had been so when the runs that there are began."""
        self.edit(**keys)
        for kept in (Path(self.shelf.root.path) / "runs").glob("*/recipe.json"):
            kept.unlink()

    def edit(self, **keys: object) -> None:
        """Change top-level keys in the recipe's file; runs that have begun go on with what they kept."""
        self.path.write_text(yaml.safe_dump(self.document() | keys, sort_keys=False), encoding="utf-8")

    def declare(self, version: Version, run_id: str = "r1", **keys: object) -> None:
        """Change keys of the recipe, and make it the one that a version's run went by."""
        self.edit(**keys)
        kept = run_recipe.begin(self.shelf, run_id, self.recipe, self.path.read_text(encoding="utf-8"))
        self.tracking.tag(version, {run_recipe.TAG.removeprefix("ftcore."): kept.sha256})

    def context(self, step: str, run_id: str = "r1", **params: str) -> Context:
        return Context(self.recipe, self.path, run_id, step, params, self.shelf, self.settings)

    def run(self, step: str, run_id: str = "r1", *, again: bool = False, **params: str) -> Record:
        return pipeline.run_step(step, self.path, run_id, params, again=again)

    def write_rows(self, texts: Sequence[tuple[str | None, str | None]], name: str = "rows.csv") -> Path:
        """Write texts and labels where the recipe looks for them."""
        import csv

        path = self.path.parent / name
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *texts])
        return path

    def rows(self, numbers: Sequence[int]) -> pa.Table:
        """Rows as ``prepare`` leaves them; a number gives the same row each time."""
        import pyarrow as pa

        keys = split.load(self.shelf).of([None] * len(numbers), [sentence(number) for number in numbers])
        shares = self.recipe.prepare
        made = [
            {
                "row_id": snapshot.row_id("test", str(number)),
                "text": sentence(number),
                "label": LABELS[number % 2],
                "source": "test",
                "split_key": key,
                "split": split.assign_split(key, shares),
            }
            for number, key in zip(numbers, keys, strict=True)
        ]
        return pa.Table.from_pylist(made, schema=snapshot.schema(split=True))

    def side(self, text: str, group: str | None = None) -> str:
        """The split that a raw row is drawn to."""
        return split.assign_split(split.load(self.shelf).of([group], [text])[0], self.recipe.prepare)

    def publish(self, numbers: Sequence[int]) -> str:
        """Publish a snapshot without a validation; returns its id."""
        return self.publish_table(self.rows(numbers))

    def publish_table(self, rows: pa.Table) -> str:
        """Publish a snapshot of these rows without a validation; returns its id."""
        self.shelf.write_layout()  # as a run's first step does
        quarantine = snapshot.schema().append(rows.schema.field("split").with_name("reason")).empty_table()
        return snapshot.publish(self.shelf, lambda: [rows], quarantine, {"rows": rows.num_rows})

    def register(self, run_id: str, identity: str = "", folders: Sequence[Path] = ()) -> Version:
        """Register a version, which becomes candidate, with folders as its artefacts."""
        self.shelf.write_layout()
        run = self.tracking.open_run(run_id, {})
        for folder in folders:
            self.tracking.log_folder(run, folder, folder.name)
        artefact = folders[0].name if folders else "model"
        return self.tracking.register(run_id, run, artefact, {"ftcore.snapshot": identity})

    def crown(self, run_id: str, identity: str = "", folders: Sequence[Path] = ()) -> Version:
        """Register a version and make it champion, with the ledger's line."""
        version = self.register(run_id, identity, folders)
        self.tracking.set_alias(CHAMPION, version)
        self.promise(version)
        return version

    def promise(self, version: Version, run_id: str = "") -> None:
        """Write the ledger's line that makes a version champion, with the hashes that it has now."""
        figures = served.facts(self.shelf, self.tracking, version) | {"version": version.number, "by": "test"}
        name = run_id or f"crown-{version.number}-{secrets.token_hex(4)}"
        self.shelf.add_to_ledger("promote", name, "promoted", f"version {version.number} is champion", **figures)


def sentence(number: int) -> str:
    """A text that no other number has."""
    return f"{WORDS[number % 13]} {WORDS[(number // 13) % 13]} film number {number}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is marked ``gpu`` where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="there is no CUDA device"))


def pytest_collection_finish() -> None:
    """See ``_settle``."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _settle() -> Iterator[None]:
    """What the tests of a file have imported stays, so that Python need not look through it in search of garbage.

    Two million objects of torch, MLflow and the like take half a second each time, and a training asks for that twice.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def mlflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one MLflow database for all tests: making one takes two seconds, and each product has its own names.

    This process does not wait for the disk at each commit: tests kill processes, they do not cut the power.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def connected(connection: Any, _: object) -> None:
        if type(connection).__module__.startswith("sqlite3"):
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", connected)
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty FTCORE_HOME, and an empty folder of recipes beside it."""
    for name in [name for name in os.environ if name.startswith("FTCORE_")]:
        monkeypatch.delenv(name)
    home, folder = tmp_path / "home", tmp_path / "recipes"
    folder.mkdir()
    monkeypatch.setenv("FTCORE_HOME", str(home))
    monkeypatch.setenv("FTCORE_RECIPES", str(folder))
    monkeypatch.setenv("FTCORE_LOCK_TIMEOUT_S", "0.2")
    monkeypatch.setenv("FTCORE_PATIENCE_S", "0")
    monkeypatch.setenv("FTCORE_THREADS", "1")
    return home


@pytest.fixture
def new_product(
    home: Path, mlflow_home: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Callable[[], Product]:
    """Makes products whose recipes read ``rows.csv`` beside them.

    Splits are drawn by a recipe's name, so it depends on the test alone, not on what ran before it.
    """
    test, numbers = zlib.crc32(request.node.nodeid.encode()), count()
    monkeypatch.setenv("FTCORE_TRACKING_URI", f"sqlite:///{mlflow_home / 'mlflow.db'}")
    monkeypatch.setenv("FTCORE_ARTIFACTS", (mlflow_home / "artifacts").as_uri())

    def make() -> Product:
        name = f"product_{test:08x}_{next(numbers)}"
        product = Product(name, home.parent / "recipes" / f"{name}.yaml")
        product.path.write_text(yaml.safe_dump(document(name), sort_keys=False), encoding="utf-8")
        return product

    return make


@pytest.fixture
def product(new_product: Callable[[], Product]) -> Product:
    """A product that no other test has."""
    return new_product()


@pytest.fixture
def minimal() -> dict[str, Any]:
    """The shortest recipe there is."""
    return document("minimal")


def document(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "task": {"kind": "classification", "labels": list(LABELS)},
        "base": "package://nowhere/model",
        "sources": [{"kind": "files", "path": "rows.csv"}],
        "validation": {"min_rows": 10},
        "method": {"kind": "lora"},
        "exports": [{"kind": "onnx"}],
        "gates": [{"kind": "threshold", "minimum": 0.5}],
    }


@pytest.fixture
def assets(home: Path) -> Path:
    """The demo's data in the cache of this test's home."""
    if not list(ASSETS.glob("vaderSentiment-*.tar.gz")):
        pytest.fail(f"the demo's data is not in {ASSETS}: make setup")
    (home / "cache").mkdir(parents=True)
    (home / "cache" / "assets").symlink_to(ASSETS, target_is_directory=True)
    return ASSETS


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A BERT of one layer that nobody trained: ``model`` and, by our own exporter, ``onnx-int8`` and ``onnx-fp32``."""
    from ftcore.export.exporters import onnx
    from tests.models import classifier

    folder = tmp_path_factory.mktemp("tiny")
    model, tokenizer = classifier(folder / "model", WORDS)
    onnx.Onnx().export(model, tokenizer, folder)
    card = {"task": {"kind": "classification", "labels": list(LABELS)}, "max_length_tokens": 32}
    for name in ("model", "onnx-int8", "onnx-fp32"):
        store.write_json(folder / name / "ftcore.json", card)
    yield folder
    shutil.rmtree(folder)
