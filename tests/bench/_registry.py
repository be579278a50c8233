"""A real MLflow server and a recipe with versions that cost nothing: what the registry's benchmarks stand on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftcore import settings
from ftcore.recipe import reading
from ftcore.registry.judgement import record_verdict
from ftcore.registry.promotion import ModelRegistry
from ftcore.registry.verdict import Rule, Verdict
from ftcore.store import store
from ftcore.store.records import Record, now

RECIPE = """\
name: bench
task: {kind: classification, labels: [negative, positive]}
base: package://nowhere/model
sources: [{kind: feedback}]
method: {kind: lora}
exports: [{kind: onnx}]
gates: [{kind: threshold, minimum: 0.5}]
"""
UP_S = 60.0


@contextmanager
def registry(folder: Path) -> Iterator[ModelRegistry]:
    """Start MLflow, point this process's settings to it, and give the registrar of an empty recipe."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    path = folder / "recipes" / "bench.yaml"
    path.parent.mkdir()
    path.write_text(RECIPE, encoding="utf-8")
    artefacts = (folder / "artifacts").as_uri()
    mine = {"FTCORE_HOME": str(folder / "home"), "FTCORE_RECIPES": str(path.parent)}
    before = dict(os.environ)
    os.environ |= mine | {"FTCORE_TRACKING_URI": url, "FTCORE_ARTIFACTS": artefacts, "MLFLOW_DISABLE_TELEMETRY": "true"}
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers=1"]
    words += [
        f"--backend-store-uri=sqlite:///{folder / 'mlflow.db'}",
        f"--artifacts-destination={folder / 'artifacts'}",
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "mlflow.log").open("wb") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        _wait(f"{url}/health", server)
        conf = settings.load()
        shelf = store.shelf(conf, "bench")
        shelf.write_layout()
        yield ModelRegistry.of(reading.read(path), shelf, conf)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        os.environ.clear()
        os.environ |= before


def judged(registrar: ModelRegistry, number: int, graph: bytes = b"graph") -> str:
    """Register version ``number`` with what serves, and leave the record of a gate that it passed; returns its run."""
    tracking, run_id = registrar.tracking, f"run-{number}"
    run = tracking.open_run(run_id, {})
    made = tracking.settings.home / "made"
    made.mkdir(parents=True, exist_ok=True)
    (made / "model.onnx").write_bytes(graph)
    tracking.log_folder(run, made, "onnx-int8")
    version = tracking.register(run_id, run, "onnx-int8", {})
    rule = Rule(gate="threshold", passed=True, reason="0.9 reaches 0.8")
    verdict = Verdict(passed=True, rules=(rule,), candidate=version.number, champion=number - 1 or None)
    path = registrar.shelf.folder(run_id, "gate") / "verdict.json"
    store.write_json(path, verdict.to_json())
    record_verdict(registrar, run_id, verdict, store.hash_file(path))
    figures = verdict.to_json()
    record = Record(step="gate", recipe="bench", run_id=run_id, fingerprint="", started_at=now(), figures=figures)
    registrar.shelf.write_record(record)
    return run_id


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + UP_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own server on loopback
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("MLflow did not come up")
