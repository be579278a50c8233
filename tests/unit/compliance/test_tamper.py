"""Whatever somebody else changes of what evidence claims is found; a ring that nobody touched has nothing.

``make bench ONLY=tamper`` turns real rings of every shape, and makes two hundred changes.
"""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftcore.compliance import bundle
from ftcore.recipe.canonical import sha256
from ftcore.store import store
from ftcore.store.records import LINK, Record, now
from tests.bench._tampering import SURFACES, Change, Ring, outcome, tampered

if TYPE_CHECKING:
    from conftest import Product

CHANGES = 15
SEED = 20261128


@pytest.fixture
def ring(product: Product, tmp_path: Path, mlflow_home: Path) -> Ring:
    """A ring that was turned, its version promoted with an approval."""
    _leave(product, tmp_path)
    return Ring.of(product.registrar, 1, mlflow_home / "mlflow.db", tmp_path)


def _leave(product: Product, tmp_path: Path) -> None:
    """Records as the steps leave them, an artefact, a verdict, an approval, and a promotion by its step."""
    product.change(approval={"required": 1}, exports=[{"kind": "onnx", "precisions": ["int8"]}])
    folder = tmp_path / "onnx-int8"
    folder.mkdir()
    (folder / "model.onnx").write_text("graph")
    identity = product.publish(range(30))
    manifest = product.shelf.root / "snapshots" / identity / "manifest.json"
    store.write_json(manifest, json.loads(manifest.read_text()) | {"run_id": "d1"})
    store.write_bytes(manifest.with_name("manifest.sha256"), sha256(manifest.read_bytes()).encode())
    product.shelf.sign(manifest, manifest.read_bytes())
    store.write_json(manifest.with_name("suite") / "result.json", {"success": True})
    _records(product, "d1", bundle.DATA)
    product.declare(product.register("r1", identity, [folder]))
    store.write_json(product.shelf.folder("r1", "evaluate") / "evaluation.json", {"metrics": {}})
    _records(product, "r1", ("plan", "train", "export", "evaluate"))
    product.judge(1)
    product.approve(1, "mira")
    product.run("approve")
    assert product.run("promote").proceed


def _records(product: Product, run_id: str, steps: tuple[str, ...]) -> None:
    links: dict[str, str] = {}
    for step in steps:
        made = {"step": step, "recipe": product.name, "run_id": run_id, "fingerprint": "", "started_at": now()}
        product.shelf.write_record(Record.model_validate(made | {"inputs": links}))
        path = product.shelf.folder(run_id, step) / "record.json"
        links = links | {f"{LINK}{step}": store.hash_file(path)}


def test_whatever_is_changed_is_found(ring: Ring) -> None:
    """Of the changes that evidence's claims depend on, all; the first thing that is said names it."""
    assert ring.found() == []
    missed, unnamed, found = [], [], 0
    for one in range(CHANGES):
        draw = random.Random(SEED + one)
        with tampered(ring, draw, SURFACES[one % len(SURFACES)]) as change:
            seen, claims, said = outcome(ring, change)
        found += seen
        if claims and not seen:
            missed.append(change.what)
        elif seen and not any(name in said[0] for name in change.names):
            unnamed.append(f"{change.what}: {said[0][:160]}")
    assert ring.found() == [], "all was put back"
    assert (missed, unnamed) == ([], [])
    assert found >= CHANGES / 2


THINGS = {
    "a folder": lambda path: path.mkdir(),
    "a link to nowhere": lambda path: path.symlink_to(path.with_name("nowhere")),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link through a file": lambda path: path.symlink_to(path.parent / "record.json" / "x"),
}


def test_something_else_in_the_place_of_a_file_is_found_and_stops_nothing(ring: Ring) -> None:
    files = sorted(path for path in ring.store.rglob("*.json") if "cache" not in path.parts)
    of_each_name = {path.name.partition("--")[0]: path for path in files}.values()
    for one, path in enumerate(of_each_name):
        how, kept = sorted(THINGS)[one % len(THINGS)], path.read_bytes()
        path.unlink()
        THINGS[how](path)
        seen, claims, said = outcome(ring, Change("store", how, ()))
        assert seen or not claims, f"{how} in the place of {path}: {said}"
        if path.is_symlink():
            path.unlink()
        else:
            path.rmdir()
        path.write_bytes(kept)
    assert ring.found() == []


@pytest.mark.parametrize("column", ["source", "storage_location"])
def test_what_mlflows_own_loaders_load_is_what_was_judged(ring: Ring, column: str) -> None:
    """``models:/NAME@champion`` goes by the version's source alone."""
    here = ring.artefacts
    for place in (here.with_name("eve"), here / "eve", here.parent, f"{here}/onnx-int8/../eve"):
        with closing(sqlite3.connect(ring.database)) as database:
            names = (Path(place).as_uri(), ring.registrar.recipe.name)
            database.execute(f"update model_versions set {column} = ? where name = ?", names)  # noqa: S608
            database.commit()
        assert f"the source of version 1 in MLflow is {Path(place).as_uri()}" in ring.found()[0]


@pytest.mark.parametrize("how", ["gone", "changed", "swapped"])
def test_the_rows_that_it_was_trained_on_are_those_of_the_manifest(ring: Ring, how: str) -> None:
    one, other = sorted((ring.store / "snapshots").rglob("part-*.parquet"))[:2]
    mine = one.read_bytes()
    if how == "gone":
        one.unlink()
    else:
        one.write_bytes(other.read_bytes() if how == "swapped" else mine + b" ")
    (told,) = ring.found()
    assert told.startswith(
        f"snapshot/{one.parent.name}/{one.name} {'is not there' if how == 'gone' else 'was changed'}"
    )
    one.write_bytes(mine)
    assert ring.found() == []


@pytest.mark.parametrize("how", ["emptied", "gone"])
def test_the_recipe_that_a_run_went_by_is_the_one_that_was_judged(ring: Ring, how: str) -> None:
    path = store.local(ring.registrar.shelf.folder("r1", "recipe.json"))
    assert path is not None
    if how == "emptied":
        path.write_text("{}")
        told = "runs/r1/recipe.json was changed"
    else:
        path.unlink()
        told = "runs/r1/recipe.json is missing"
    assert any(told in one for one in ring.found())
