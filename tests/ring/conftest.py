"""One Airflow for all tests of this folder, which run in one process; each test has a recipe of its own name.

A test asks for ``airflow`` and finds it running, whatever the test before it did to it.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ftcore import settings
from ftcore.local import processes, services
from tests.conftest import ASSETS

PEOPLE = "mira:op, jon:op, olga:op, zoe:op, vera:viewer"
COLD = "small.yaml"
"""The recipe whose steps are started as anywhere else, the first time."""


@pytest.fixture(scope="session")
def told() -> Iterator[tuple[int, list[str]]]:
    """Port of a webhook, and what it was told of tasks that failed."""
    got: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, got
        server.shutdown()


@pytest.fixture(scope="session")
def variables(told: tuple[int, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of the one Airflow; it ends with the last test."""
    if not list(ASSETS.glob("*.tar.gz")):
        pytest.fail(f"the demo's data is not in {ASSETS}: make setup")
    folder = tmp_path_factory.mktemp("ring")
    (folder / "home" / "cache").mkdir(parents=True)
    (folder / "home" / "cache" / "assets").symlink_to(ASSETS, target_is_directory=True)
    (folder / "recipes").mkdir()
    client = [sys.executable, "-IS", str(Path(__file__).with_name("_client.py")), str(folder / "steps"), COLD]
    hook = {"conn_type": "http", "host": "http://127.0.0.1", "port": told[0]}
    wanted = {
        "FTCORE_HOME": str(folder / "home"),
        "FTCORE_RECIPES": str(folder / "recipes"),
        "FTCORE_AIRFLOW_USERS": PEOPLE,
        "FTCORE_STEP_COMMAND": shlex.join(client),
        "FTCORE_SHARD_BYTES": "3000",
        "FTCORE_NOTIFY": "hook",
        "AIRFLOW_CONN_HOOK": json.dumps(hook),
    }
    with (folder / "steps.log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "tests.ring._server", str(folder / "steps")], stderr=log)
    try:
        yield wanted
    finally:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in wanted.items():
                patch.setenv(name, value)
            services.down(settings.load())
        server.kill()
        server.wait()


@pytest.fixture
def home(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """FTCORE_HOME of the one Airflow, with a folder of recipes beside it."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    home = Path(variables["FTCORE_HOME"])
    assert processes.wait((home.parent / "steps").exists, 120), (home.parent / "steps.log").read_text()
    return home


@pytest.fixture
def airflow(home: Path) -> Iterator[services.Running]:
    """Airflow and MLflow; what a test leaves running is stopped after it."""
    conf = settings.load()
    yield services.up(conf)
    if (state := services.running(conf)) is None:
        return
    with state.api(conf) as api:
        for dag in api.dags():
            api.pause(dag["dag_id"])
        for run in [run for one in ("queued", "running") for run in api.dag_runs(state=one)]:
            api._call("PATCH", f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}", json={"state": "failed"})
        assert processes.wait(lambda: not processes.steps(state.mark), 60), "a step goes on"
