"""The bytes that are evaluated, judged and promoted are those that train and export recorded, whatever MLflow says."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftcore.data import snapshot
from ftcore.errors import ChangedArtefactError, DataRejectedError
from ftcore.registry import recorded
from ftcore.steps import evaluate, export, gate
from ftcore.store import store
from ftcore.store.records import LINK, Record, now
from ftcore.tracking import registered
from ftcore.tracking.client import HASH_TAG, SIZE_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Product

ARTEFACTS = ("model", "onnx-int8", "onnx-fp32")


@pytest.fixture
def exported(product: Product, tiny: Path) -> Product:
    """A version with what train and export leave: artefacts, tags and signed records."""
    product.change(evaluate={"resamples": 100, "perturbed_rows": 0}, prepare={"near_duplicates": None})
    product.change(gates=[{"kind": "threshold", "minimum": 0.0}])
    identity = product.publish(range(300))
    version = product.register("r1", identity, [tiny / name for name in ARTEFACTS])
    made = {name: store.hash_folder(tiny / name) for name in ARTEFACTS}
    leave(product, "train", recorded.inputs({"model": made["model"]}), snapshot=identity, mlflow_run=version.run)
    sizes = dict.fromkeys(("onnx-int8", "onnx-fp32", "torch"), 1000)
    leave(product, "export", {"model": made["model"], **recorded.inputs(made)}, size_bytes=sizes)
    return product


def leave(product: Product, step: str, inputs: dict[str, str], **figures: object) -> None:
    made = {"step": step, "recipe": product.name, "run_id": "r1", "fingerprint": "", "started_at": now()}
    made |= {"inputs": inputs, "paths": figures.pop("paths", {}), "figures": {"version": 1, **figures}}
    product.shelf.write_record(Record.model_validate(made))


@contextmanager
def exchanged(product: Product, artefact: str, *, data: bool = True, tags: bool = True) -> Iterator[None]:
    """Exchange a version's weights, and the two tags that MLflow keeps of them, for as long as the block lasts."""
    version = product.tracking.version(1)
    with product.tracking.translate_errors():
        place = Path(product.tracking.stored(version.run).artifact_dir) / artefact
    (file,) = (*place.glob("*.onnx"), *place.glob("*.safetensors"))
    kept, before = file.read_bytes(), registered.run_tags(product.tracking, version.run)
    forged = bytearray(kept)
    forged[-1] ^= 1
    file.write_bytes(forged)
    digest, size = store.hash_folder(place), store.size_of(place)
    if not data:
        file.write_bytes(kept)
    if tags:
        product.tracking.log(version.run, tags={f"{HASH_TAG}{artefact}": digest, f"{SIZE_TAG}{artefact}": size})
    shutil.rmtree(product.settings.cache, ignore_errors=True)
    try:
        yield
    finally:
        file.write_bytes(kept)
        names = (f"{HASH_TAG}{artefact}", f"{SIZE_TAG}{artefact}")
        product.tracking.log(version.run, tags={name: before[name] for name in names})
        shutil.rmtree(product.settings.cache, ignore_errors=True)


def test_weights_that_nobody_evaluated_are_never_judged(exported: Product) -> None:
    with exchanged(exported, "model"), pytest.raises(ChangedArtefactError, match="model"):
        export.run(exported.context("export"))
    for artefact in ARTEFACTS:
        with exchanged(exported, artefact), pytest.raises(ChangedArtefactError, match=artefact):
            evaluate.run(exported.context("evaluate"))
    outcome = evaluate.run(exported.context("evaluate"))
    hashes = {name.removeprefix(recorded.ARTEFACT): value for name, value in outcome.inputs.items()}
    leave(exported, "evaluate", outcome.inputs, paths=outcome.paths, **outcome.figures)
    for data, tags in ((True, True), (True, False), (False, True)):
        for artefact in ARTEFACTS:
            swap = exchanged(exported, artefact, data=data, tags=tags)
            with swap, pytest.raises(ChangedArtefactError, match=f"not what was evaluated.*'{artefact}'"):
                gate.run(exported.context("gate"))
    assert exported.shelf.ledger("gate") == []
    gate.run(exported.context("gate"))
    (line,) = exported.shelf.ledger("gate")
    assert line["artefacts"] == {name: hashes[name] for name in (*ARTEFACTS, "evaluation")}


@pytest.mark.parametrize("key", ["run", "snapshot"])
def test_a_version_that_mlflow_describes_otherwise_is_not_the_candidate(exported: Product, key: str) -> None:
    exported.tracking.tag(exported.tracking.version(1), {key: "r0"})
    for step in (export, evaluate):
        with pytest.raises(ChangedArtefactError, match=f"the {key} of version 1"):
            step.run(exported.context("export"))


def test_exports_of_an_earlier_training_are_not_evaluated(exported: Product) -> None:
    train = exported.shelf.record("r1", "train")
    assert train is not None
    exported.shelf.write_record(train.model_copy(update={"inputs": recorded.inputs({"model": "0" * 64})}))
    with pytest.raises(ChangedArtefactError, match="export again"):
        evaluate.run(exported.context("evaluate"))


def test_another_manifest_than_the_one_that_was_planned_with_is_not_judged_by(exported: Product) -> None:
    """Also one that the platform signed, such as a later one of the same rows."""
    identity = exported.tracking.version(1).snapshot
    path = snapshot.folder(exported.shelf, identity) / "manifest.json"
    leave(exported, "plan", {"manifest": store.hash_file(path)}, snapshot=identity)
    leave(exported, "train", {f"{LINK}plan": ""}, snapshot=identity)
    data = path.read_bytes() + b" "
    path.write_bytes(data)
    exported.shelf.sign(path, data)
    with pytest.raises(DataRejectedError, match="is not what plan read in run r1"):
        evaluate.run(exported.context("evaluate"))
