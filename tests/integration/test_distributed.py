"""Two processes that talk over gloo train the same model as one, and one that vanishes costs minutes only."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from ftcore.data import snapshot
from ftcore.errors import TransientError
from ftcore.registry import served
from tests.conftest import Product

TRAIN = {
    "epochs": 2,
    "max_length_tokens": 32,
    "batch_size": 16,
    "evaluations_per_epoch": 1,
    "precision": "fp32",
    "learning_rate": 0.01,
}


@pytest.fixture
def ready(product: Product, tiny: Path, tmp_path: Path) -> Callable[..., Product]:
    """A product that is planned, whose base model is tiny and has no dropout: chance differs between processes."""
    calm = tmp_path / "calm"
    shutil.copytree(tiny / "model", calm)
    config = json.loads((calm / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (calm / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def make(**train: Any) -> Product:
        product.change(base=str(calm), method={"kind": "lora", "rank": 2, "dropout": 0.0}, train={**TRAIN, **train})
        if not product.tracking.versions():
            # Whole batches only: an odd one at the end would be filled up, so that each process has as many.
            splits = product.rows(range(300))["split"].to_pylist()
            last = next(n for n in range(200, 300) if splits[:n].count("train") % 16 == 0)
            product.publish(range(last))
            product.run("plan")
        return product

    return make


def curve(product: Product, run: str) -> dict[int, float]:
    return {m.step: m.value for m in product.tracking.client.get_metric_history(run, "loss")}


def weights(product: Product, run: str) -> dict[str, Any]:
    """What the registered model of a run holds."""
    from safetensors.torch import load_file

    version = next(one for one in product.tracking.versions() if one.tags["ftcore.run"] == run)
    return load_file(served.folder(product.tracking, version, "model") / "model.safetensors")


def test_two_processes_make_the_model_of_one(ready: Callable[..., Product]) -> None:
    import torch

    alone = ready().run("train")
    product = ready(distributed={"processes": 2})
    product.run("plan", "r2", train="always")
    together = product.run("train", "r2")
    assert together.figures["strategy"] == "ddp"
    one, two = weights(product, "r1"), weights(product, "r2")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4)
    assert together.figures["steps"] == alone.figures["steps"]
    expected = curve(product, alone.figures["mlflow_run"])
    assert curve(product, together.figures["mlflow_run"]) == pytest.approx(expected, abs=2e-4)
    assert together.figures["validation_loss"] == pytest.approx(alone.figures["validation_loss"], abs=2e-4)
    assert [version.number for version in product.tracking.versions()] == [2, 1]


def test_two_processes_have_the_loss_of_one_with_several_heads(ready: Callable[..., Product]) -> None:
    """A batch leaves the heads of other parts without a gradient, and processes share batches of one part."""
    product = ready()
    labels = {"kind": "classification", "labels": ["negative", "positive"]}
    parts = {"kind": {**labels, "sources": ["files:a"]}, "size": {"kind": "pair", "sources": ["files:b"], "weight": 2}}
    named = [{"kind": "files", "path": "rows.csv", "name": name} for name in "ab"]
    gates = [{"kind": "threshold", "minimum": 0}]
    product.change(task={"kind": "multitask", "parts": parts}, sources=named, exports=[], gates=gates)
    rows = product.rows(range(200)).to_pylist()
    for number, row in enumerate(rows):
        row.update({"source": "files:a"} if number % 3 else {"source": "files:b", "label": str(number % 5 / 5)})
    table = pa.Table.from_pylist(rows, schema=snapshot.schema(split=True))
    quarantine = snapshot.schema().append(pa.field("reason", pa.string())).empty_table()
    snapshot.publish(product.shelf, lambda: [table], quarantine, {"rows": table.num_rows})
    figures, curves = [], []
    for run_id, processes in (("r3", 1), ("r4", 2)):
        product.change(train={**product.document()["train"], "distributed": {"processes": processes}})
        product.run("plan", run_id, train="always")
        figures.append(product.run("train", run_id).figures)
        curves.append(curve(product, figures[-1]["mlflow_run"]))
    assert curves[0] == pytest.approx(curves[1], abs=2e-4)
    assert figures[0]["validation_loss"] == pytest.approx(figures[1]["validation_loss"], abs=2e-4)


def test_a_process_that_vanishes_is_tried_again_and_goes_on(ready: Callable[..., Product], tmp_path: Path) -> None:
    """And the model is whole, though each process had a part of it."""
    from safetensors.torch import load_file

    product = ready(distributed={"processes": 2, "strategy": "fsdp2"}, epochs=16)
    checkpoints = product.context("train").scratch / "checkpoints"
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 200
        while not list(checkpoints.glob("checkpoint-*/seal.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # others come and go meanwhile
                if "ftcore.training.processes" in child.cmdline() and child.environ().get("RANK") == "1":
                    os.kill(child.pid, signal.SIGKILL)
                    killed.append(child.pid)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(TransientError, match="a training process vanished"):
        product.run("train")
    killer.join()
    assert len(killed) == 1
    product.change(train={**product.document()["train"]})
    record = product.run("train")
    assert record.figures["resumed"] == 1
    steps = curve(product, record.figures["mlflow_run"])
    assert sorted(steps) == list(range(1, record.figures["steps"] + 1)), "no step is missing from the curve"
    shapes = {name: one.shape for name, one in load_file(tmp_path / "calm" / "model.safetensors").items()}
    assert {name: one.shape for name, one in weights(product, "r1").items()} == shapes
