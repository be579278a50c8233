"""The train step as a process of its own, stopped by a signal and killed: what Airflow sees, and what MLflow keeps."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Product

TRAIN = {
    "epochs": 30,
    "max_length_tokens": 32,
    "batch_size": 8,
    "evaluations_per_epoch": 1,
    "precision": "fp32",
    "patience": 100,
}


@pytest.mark.timeout(400)
def test_sigterm_is_tried_again_kill_9_loses_an_interval_and_the_curve_is_whole(product: Product, tiny: Path) -> None:
    product.change(base=str(tiny / "model"), method={"kind": "lora", "rank": 2}, train=TRAIN)
    product.publish(range(160))
    product.run("plan")
    checkpoints = product.context("train").scratch / "checkpoints"
    seen = 0
    for number, (told, code) in enumerate([(signal.SIGTERM, 75), (signal.SIGKILL, -9)]):
        with (product.path.parent / f"log-{number}").open("w+") as log:
            command = [sys.executable, "-m", "ftcore", "step", "train", str(product.path), "--run", "r1"]
            process = subprocess.Popen(command, stderr=log, stdout=subprocess.DEVNULL)
            deadline = time.monotonic() + 150
            while _newest(checkpoints) <= seen and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.02)
            process.send_signal(told)
            assert process.wait(60) == code, _text(log)
            if told == signal.SIGTERM:
                assert "it goes on from the checkpoint" in _text(log)
        seen = _newest(checkpoints)
    record = product.run("train")
    assert record.figures["resumed"] == 1
    found = product.tracking.client.get_metric_history(record.figures["mlflow_run"], "loss")
    assert [m.step for m in found] == list(range(1, record.figures["steps"] + 1)), "each step once"
    assert [version.number for version in product.tracking.versions()] == [1]
    assert not checkpoints.exists(), "they are let go once the version is registered"


def _newest(folder: Path) -> int:
    return max((int(seal.parent.name.removeprefix("checkpoint-")) for seal in folder.glob("*/seal.json")), default=0)


def _text(log) -> str:  # type: ignore[no-untyped-def]
    log.seek(0)
    return str(log.read())
