"""Start and stop Airflow and MLflow on this machine.

Airflow runs as three processes: API server, scheduler with LocalExecutor, DAG processor. There is no triggerer: since
Airflow 3.3 a task that waits for a person needs none, and no DAG here defers. All ports are loopback and free ones.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError, MissingExtraError
from ftcore.local import airflow_config, processes

if TYPE_CHECKING:
    from ftcore.local.airflow_api import AirflowApi
    from ftcore.settings import Settings

POOLS = {"FTCORE_GPU_POOL": ("gpu", 1)}
"""Pools made at the start: the variable that may name it otherwise, its name, its slots."""
Progress = Callable[[str], None]


class ServiceError(FtcoreError):
    """A service did not come up; the message holds the end of its log."""


@dataclass(frozen=True)
class Running:
    """What runs, as kept in ``HOME/services.json``."""

    mark: str
    """Told apart from any other ``up`` by this."""
    airflow_url: str
    mlflow_url: str
    pids: dict[str, int] = field(default_factory=dict)
    """Process ids by the service's name."""
    user: str = airflow_config.USER

    def api(self, settings: Settings) -> AirflowApi:
        """Client of the running Airflow, logged in."""
        from ftcore.local.airflow_api import AirflowApi

        return AirflowApi(self.airflow_url, self.user, airflow_config.password(settings))


def up(settings: Settings, *, deadline_s: float = 180, progress: Progress = lambda _: None) -> Running:
    """Start what is not running yet and wait until it is healthy; twice in a row gives the same.

    Raises:
        ServiceError: a service ended or was not healthy in time; everything is stopped again.
        MissingExtraError: Airflow is not installed.
    """
    with _lock(settings):
        if (found := running(settings)) is not None:
            return found
        _require("apache-airflow-core")
        _stop(settings, grace_s=5)  # half a set, left by a crash
        state = Running(secrets.token_hex(8), _free_url(), _free_url())
        try:
            _start(settings, state, deadline_s, progress)
        except BaseException:
            _stop(settings, grace_s=5)
            raise
    return running(settings) or state


def down(settings: Settings, grace_s: float = 10) -> int:
    """Stop everything that ``up`` started, from whichever process; returns the number of processes there were."""
    with _lock(settings):
        return _stop(settings, grace_s)


def running(settings: Settings) -> Running | None:
    """What runs now; None unless every service is alive."""
    state = _load(settings)
    if state is None or not state.pids or not all(processes.is_alive(pid, state.mark) for pid in state.pids.values()):
        return None
    return state


def environment(settings: Settings, state: Running) -> dict[str, str]:
    """What the services, and the steps that they start, find in their environment."""
    home = settings.home.resolve()
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "AIRFLOW_HOME": str(airflow_config.airflow_home(settings)),
        "FTCORE_HOME": str(home),
        "FTCORE_RECIPES": str(settings.recipes.resolve()),
        "FTCORE_EXPECTATIONS": str(settings.expectations.resolve()),
        "FTCORE_TRACKING_URI": settings.tracking_uri or state.mlflow_url,
        # A file location and not the server's proxy: so ``ftcore run`` without a server reads the same experiments.
        "FTCORE_ARTIFACTS": settings.artifacts or (home / "mlflow" / "artifacts").as_uri(),
        "PYTHONUNBUFFERED": "1",
        processes.MARK: state.mark,
        "SPT_NOENV": "1",  # keeps setproctitle from writing a title over the environment, the mark with it
    }
    threads = {"OMP_NUM_THREADS": str(settings.threads)} if settings.threads else {}
    store = {"FTCORE_STORE": settings.store} if settings.store else {}
    # Without compiled files each step would compile all it imports, again and again: 28 s instead of 10 for peft.
    left_out = {"PYTHONDONTWRITEBYTECODE", "FTCORE_AIRFLOW_PASSWORD"}  # the password: no step has business with it
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**inherited, **quiet, **threads, **store, **own}


def commands(settings: Settings, state: Running) -> dict[str, list[str]]:
    """The services' commands by name, in the order of their start."""
    from ftcore.settings import sqlite_url  # here, since the settings import pydantic

    mlflow = settings.home.resolve() / "mlflow"
    airflow = [sys.executable, "-m", "airflow"]
    server = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", _port(state.mlflow_url)]
    return {
        "airflow-api-server": [*airflow, "api-server"],
        "airflow-scheduler": [*airflow, "scheduler", "--skip-serve-logs"],
        "airflow-dag-processor": [*airflow, "dag-processor"],
        "mlflow": [
            *server,
            "--workers=1",
            f"--backend-store-uri={sqlite_url(mlflow / 'mlflow.db')}",
            f"--artifacts-destination={mlflow / 'artifacts'}",
        ],
    }


def log_file(settings: Settings, name: str) -> Path:
    """Log of a service."""
    return settings.home.resolve() / "logs" / f"{name}.log"


def _start(settings: Settings, state: Running, deadline_s: float, progress: Progress) -> None:
    deadline = time.monotonic() + deadline_s
    airflow_config.write(settings, int(_port(state.airflow_url)))
    (settings.home.resolve() / "mlflow").mkdir(parents=True, exist_ok=True)
    _save(settings, state)
    env = environment(settings, state)
    all_commands = commands(settings, state)
    _launch(settings, state, {"mlflow": all_commands.pop("mlflow")}, env)
    _migrate(settings, env, deadline, progress)
    progress("starting Airflow and MLflow")
    _launch(settings, state, all_commands, env)
    _await_health(settings, state, deadline, progress)
    with state.api(settings) as api:
        for variable, (name, slots) in POOLS.items():
            api.make_pool(os.environ.get(variable, name), slots)


def _launch(settings: Settings, state: Running, wanted: dict[str, list[str]], env: dict[str, str]) -> None:
    for name, command in wanted.items():
        state.pids[name] = processes.start(command, log_file(settings, name), env)
        _save(settings, state)


def _migrate(settings: Settings, env: dict[str, str], deadline: float, progress: Progress) -> None:
    """Make or upgrade Airflow's database, once for each version of Airflow."""
    home = airflow_config.airflow_home(settings)
    done, version = home / ".migrated", metadata.version("apache-airflow-core")
    if done.exists() and done.read_text(encoding="utf-8") == version and (home / "airflow.db").exists():
        return
    progress("making Airflow's database, once")
    log = log_file(settings, "airflow-migrate")
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    with log.open("ab") as out:
        try:
            subprocess.run(command, env=env, stdout=out, stderr=out, timeout=deadline - time.monotonic(), check=True)
        except subprocess.SubprocessError as error:
            raise ServiceError(f"{error}:\n{processes.tail(log)}", hint=f"the whole log: {log}") from error
    done.write_text(version, encoding="utf-8")


def _await_health(settings: Settings, state: Running, deadline: float, progress: Progress) -> None:
    from ftcore.local.airflow_api import is_airflow_healthy, is_mlflow_healthy

    missing = {"Airflow": (is_airflow_healthy, state.airflow_url), "MLflow": (is_mlflow_healthy, state.mlflow_url)}
    while missing:
        for name, pid in state.pids.items():
            if not processes.is_alive(pid, state.mark):
                log = log_file(settings, name)
                raise ServiceError(f"{name} ended:\n{processes.tail(log)}", hint=f"the whole log: {log}")
        for service in [service for service, (is_healthy, url) in missing.items() if is_healthy(url)]:
            del missing[service]
            progress(f"{service} is up")
        if missing and time.monotonic() > deadline:
            ends = "\n".join(f"--- {name}\n{processes.tail(log_file(settings, name), 10)}" for name in state.pids)
            raise ServiceError(f"{', '.join(missing)} did not come up in time:\n{ends}")
        time.sleep(0.3)


def _stop(settings: Settings, grace_s: float) -> int:
    state = _load(settings)
    if state is None:
        return 0
    ended = processes.end(state.mark, list(state.pids.values()), grace_s)
    _state_file(settings).unlink(missing_ok=True)
    return ended


@contextmanager
def _lock(settings: Settings) -> Iterator[None]:
    from filelock import FileLock

    settings.home.mkdir(parents=True, exist_ok=True)
    with FileLock(settings.home.resolve() / "services.lock"):
        yield


def _state_file(settings: Settings) -> Path:
    return settings.home.resolve() / "services.json"


def _load(settings: Settings) -> Running | None:
    try:
        values: dict[str, Any] = json.loads(_state_file(settings).read_text(encoding="utf-8"))
        return Running(**values)
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _save(settings: Settings, state: Running) -> None:
    draft = _state_file(settings).with_suffix(".draft")
    draft.write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")
    draft.replace(_state_file(settings))


def _require(package: str) -> None:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise MissingExtraError(f"{package} is not installed", hint="uv pip install 'ftcore[airflow]'") from error


def _free_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def _port(url: str) -> str:
    return url.rpartition(":")[2]
