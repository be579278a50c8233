"""How long the pages inside Airflow take with 50 models of 200 versions each, on a real MLflow server."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import yaml

from ftcore import settings
from ftcore.store import chain, store
from ftcore.store.files import as_json
from tests.bench._measure import Result, machine, side

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore

MODELS, VERSIONS, TIMES = 50, 200, 5
START_MS = 1_760_000_000_000
RECIPE = {
    "description": "A model that nobody trained.",
    "task": {"kind": "classification", "labels": ["negative", "positive"]},
    "base": "package://nowhere/model",
    "sources": [{"kind": "files", "path": "rows.csv"}],
    "method": {"kind": "lora"},
    "exports": [{"kind": "onnx"}],
    "gates": [{"kind": "threshold", "minimum": 0.5}],
}
PAGES = {
    "models": "/ftcore/",
    "model": "/ftcore/models/model_07",
    "version": "/ftcore/models/model_07/versions/150",
    "compare": "/ftcore/models/model_07/compare?before=148&after=150",
    "history": "/ftcore/models/model_07/history",
    "action": "/ftcore/models/model_07/actions/rollback",
    "ledger": "/ftcore/ledger?step=gate",
}
STARTS_S = 180
"""MLflow's server takes 5 s to start, and half a minute on a machine that is busy."""
ESTIMATE = {"value": 0.86, "low": 0.84, "high": 0.88, "rows": 1200}


def run() -> Result:
    """Seconds of the slowest page, median of five; the baseline asks MLflow for the versions of each model in turn."""
    with tempfile.TemporaryDirectory() as folder:
        (warming_s, firsts, taken, baseline), peak = side(_pages, folder)
    note = (
        f"every model's versions asked for in turn; median of {TIMES} visits: {_said(taken)}; each page's first visit, "
        f"after the {warming_s:.2f} s of warming up when Airflow's server starts: {_said(firsts)}"
    )
    ours, rows = max(taken.values()), MODELS * VERSIONS
    return Result("page_load", "s, at most 1", ours, baseline, ours / baseline, rows, peak, machine(), note)


def _said(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())


def _pages(folder: str) -> tuple[float, dict[str, float], dict[str, float], float]:
    """Seconds of warming up, of each page's first visit, of each page, and of the baseline."""
    home = Path(folder)
    _environment(home)
    logging.disable(logging.INFO)
    _fill(home)
    with _Server(home) as url:
        os.environ["FTCORE_TRACKING_URI"] = url
        client = _client()
        warming_s = _warm()
        firsts = {name: _time(client, path) for name, path in PAGES.items()}
        taken = {name: statistics.median(_time(client, path) for _ in range(TIMES)) for name, path in PAGES.items()}
        return warming_s, firsts, taken, _one_by_one(url)


def _warm() -> float:
    """Seconds of what the pages do in a thread of their own when Airflow's server starts."""
    from ftcore_airflow.pages import app

    clock = time.perf_counter()
    app.warm()
    return time.perf_counter() - clock


def _time(client: TestClient, path: str) -> float:
    clock = time.perf_counter()
    answer = client.get(path)
    taken = time.perf_counter() - clock
    assert answer.status_code == 200, answer.text
    assert "model_0" in answer.text, (path, answer.text[-3000:])
    assert "does not answer" not in answer.text, (path, answer.text[-3000:])
    return taken


def _client() -> TestClient:
    """The pages with a user who may see everything: what Airflow's own checks cost is Airflow's."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from ftcore_airflow.pages import access, app

    pages, outer = app.create_app(), FastAPI()
    admin = SimpleAuthManagerUser(username="bench", role="admin")
    pages.dependency_overrides |= {get_user: lambda: admin, access.permitted: lambda recipe: recipe}
    access.readable = lambda _user, recipes: list(recipes)
    access.rights = lambda _user, _recipe: access.Rights(*[True] * 4)
    access.exportable = lambda _user, recipes: list(recipes)
    access.questions = lambda _recipes: {}
    access.run_url = lambda _recipe, _run, _verb="finetune": ""
    outer.mount("/ftcore", pages)
    return TestClient(outer)


def _one_by_one(url: str) -> float:
    from mlflow import MlflowClient

    client = MlflowClient(url)
    clock = time.perf_counter()
    for number in range(MODELS):
        client.search_model_versions(f"name = 'model_{number:02}'")
    return time.perf_counter() - clock


def _environment(home: Path) -> None:
    os.environ |= {
        "AIRFLOW_HOME": str(home / "airflow"),
        "FTCORE_HOME": str(home),
        "FTCORE_RECIPES": str(home / "recipes"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    os.environ.pop("FTCORE_TRACKING_URI", None)


def _fill(home: Path) -> None:
    """Recipes, ledgers and evaluations as files; versions straight into MLflow's database, or it takes ten minutes."""
    from ftcore.registry import versions

    conf = settings.load()
    (home / "recipes").mkdir(parents=True)
    versions.models(conf)  # makes the database
    names = [f"model_{number:02}" for number in range(MODELS)]
    for name in names:
        (home / "recipes" / f"{name}.yaml").write_text(yaml.safe_dump({"name": name} | RECIPE), encoding="utf-8")
        _fill_store(conf, name)
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as database, database:
        _fill_registry(database, names)


def _fill_store(conf: Settings, name: str) -> None:
    shelf = store.shelf(conf, name)
    shelf.chain.ring.make()
    lines = []
    for version in range(1, VERSIONS + 1):
        run_id = f"finetune-{version}"
        for kind, decision in (("plan", "train"), ("gate", "passed"), ("promote", "promoted")):
            line = {"at": f"2026-01-01T00:{version // 60:02}:{version % 60:02}+00:00", "kind": kind, "run_id": run_id}
            lines.append(line | {"decision": decision, "reason": "as it was", "candidate": version})
        roles = {role: {"onnx-int8": {"test": {"accuracy": ESTIMATE}}} for role in ("candidate", "champion")}
        figures = {"candidate": version, "champion": version - 1 or None, "served": "onnx-int8", "metrics": roles}
        figures |= {"labels": ["negative", "positive"]}
        evaluation = Path(str(shelf.folder(run_id, "evaluate"))) / "evaluation.json"
        evaluation.parent.mkdir(parents=True)
        evaluation.write_text(json.dumps(figures), encoding="utf-8")
    _chain(shelf, lines)
    if name == "model_07":
        for version in (148, 150):
            _predictions(shelf, f"finetune-{version}")


def _chain(shelf: RecipeStore, lines: list[dict[str, object]]) -> None:
    """A ledger as the platform writes it, without waiting for the disk at each line."""
    ledger = Path(str(shelf.root)) / "ledger"
    (ledger / chain.FOLDER).mkdir(parents=True)
    before = ""
    for n, line in enumerate(lines, 1):
        file = f"{line['kind']}--{line['run_id']}.json"
        slot = chain.Slot(shelf.name, file, {**line, "n": n, "before": before}).sign(shelf.chain.ring)
        before = slot.hash
        (ledger / file).write_bytes(as_json(slot.line))
        (ledger / chain.FOLDER / chain.number(n)).write_bytes(slot.data)


def _predictions(shelf: RecipeStore, run_id: str) -> None:
    import pyarrow as pa

    numbers = [str(number) for number in range(1200)]
    scores = pa.array([[0.8, 0.2]] * len(numbers), pa.list_(pa.float32()))
    text = {"row_id": numbers, "text": ["a text of some length " * 20] * len(numbers), "input_sha256": numbers}
    same = {"label": ["negative", "positive"] * 600, "source": ["test"] * 1200, "dataset": ["test"] * 1200}
    table = pa.table({**text, **same, "candidate.onnx-int8": scores})
    store.write_table(shelf.folder(run_id, "evaluate") / "predictions.parquet", table)


def _fill_registry(database: sqlite3.Connection, names: list[str]) -> None:
    experiment = database.execute("SELECT experiment_id FROM experiments LIMIT 1").fetchone()[0]
    for name in names:
        _insert(database, "registered_models", {"name": name, "creation_time": START_MS, "last_updated_time": START_MS})
        for alias, version in (("champion", VERSIONS - 1), ("candidate", VERSIONS), ("previous", VERSIONS - 2)):
            _insert(database, "registered_model_aliases", {"name": name, "alias": alias, "version": version})
        for version in range(1, VERSIONS + 1):
            run, at = f"{name}{version:024d}"[-32:], START_MS + version
            _insert(
                database,
                "runs",
                {"run_uuid": run, "experiment_id": experiment, "status": "FINISHED", "lifecycle_stage": "active"}
                | {"start_time": at, "end_time": at, "artifact_uri": "file:///nowhere", "name": run}
                | {
                    "source_type": "LOCAL",
                    "source_name": "",
                    "entry_point_name": "",
                    "user_id": "",
                    "source_version": "",
                },
            )
            for key, value in (("base", "package://nowhere/model"), ("method.rank", "16"), ("train.epochs", "1")):
                _insert(database, "params", {"key": key, "value": value, "run_uuid": run})
            about = {"name": name, "version": version, "creation_time": at, "last_updated_time": at, "run_id": run}
            _insert(
                database,
                "model_versions",
                about
                | {"current_stage": "None", "status": "READY", "source": "file:///nowhere", "storage_location": ""},
            )
            tags = {
                "run": f"finetune-{version}",
                "verdict": "passed",
                "verdict.reason": "it was good",
                "snapshot": "0f",
            }
            for key, value in tags.items():
                tag = {"name": name, "version": version, "key": f"ftcore.{key}", "value": value}
                _insert(database, "model_version_tags", tag)


def _insert(database: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))  # noqa: S608 - our own words


class _Server:
    """An MLflow server on the database below ``home``."""

    def __init__(self, home: Path) -> None:
        self._uri = f"sqlite:///{home / 'mlflow' / 'mlflow.db'}"

    def __enter__(self) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        words = ["server", "--backend-store-uri", self._uri, "--port", port, "--workers", "1"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + STARTS_S
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{url}/health", timeout=1)
            except httpx.HTTPError:
                time.sleep(0.2)
            else:
                return url
        raise TimeoutError("MLflow did not come up")

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # nothing of it is kept, and it takes its time to end politely
        self._process.wait(timeout=20)
