"""The programs that the local services are: their commands, and what they find in their environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ftcore.local import airflow_config, processes
from ftcore.tracking import mlflow_login

if TYPE_CHECKING:
    from ftcore.local.running import Running
    from ftcore.settings import Settings

API, SCHEDULER, PROCESSOR, MLFLOW = "airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "mlflow"
"""Names of the services."""
DATABASE, SQLITE_S = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", 5
"""Variable that names Airflow's database; how long SQLite waits for a lock by itself."""
NOT_FOR_STEPS = frozenset(
    {
        "PYTHONDONTWRITEBYTECODE",  # without compiled files each step would compile all it imports: 28 s instead of 10
        "FTCORE_AIRFLOW_PASSWORD",
        "MLFLOW_AUTH_ADMIN_USERNAME",
        "MLFLOW_AUTH_ADMIN_PASSWORD",
    }
)


def elsewhere(settings: Settings) -> str:
    """Address of an MLflow that is none of ours; empty where the local one is used, by whatever name."""
    uri, kept = settings.tracking_uri.rstrip("/"), mlflow_login.read(settings.home)
    return "" if kept is not None and uri == kept.url else settings.tracking_uri


def commands(settings: Settings, state: Running) -> dict[str, list[str]]:
    """The services' commands by name, in the order of their start; MLflow is one unless a setting names another."""
    airflow = [sys.executable, "-m", "airflow"]
    wanted = {
        API: [*airflow, "api-server"],
        SCHEDULER: [*airflow, "scheduler", "--skip-serve-logs"],
        PROCESSOR: [*airflow, "dag-processor"],
    }
    return wanted if elsewhere(settings) else {MLFLOW: _mlflow(settings, state), **wanted}


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
        "FTCORE_TRACKING_URI": state.mlflow_url,
        # A file location and not the server's proxy: so ``ftcore run`` without a server reads the same experiments.
        "FTCORE_ARTIFACTS": settings.artifacts or (home / "mlflow" / "artifacts").as_uri(),
        "PYTHONUNBUFFERED": "1",
        processes.MARK: state.mark,
        "SPT_NOENV": "1",  # keeps setproctitle from writing a title over the environment, the mark with it
    }
    login = {} if elsewhere(settings) else mlflow_login.kept(settings.home, state.mlflow_url).environment()
    threads = {"OMP_NUM_THREADS": str(settings.threads)} if settings.threads else {}
    store = {"FTCORE_STORE": settings.store} if settings.store else {}
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_FOR_STEPS}
    return {**inherited, **quiet, **threads, **store, **login, **own}


def waiting(settings: Settings) -> dict[str, str]:
    """What scheduler and DAG processor need to outlive a database that is locked: SQLite's own 5 s would end them.

    Not the API server: it waits for a lock in the loop in which the lock's holder would let go.
    """
    if DATABASE in os.environ:
        return {}
    url = airflow_config.database(settings)
    return {DATABASE: f"{url}?timeout={max(SQLITE_S, settings.patience_s):g}"}


def server_environment(settings: Settings, state: Running) -> dict[str, str]:
    """What MLflow's server needs besides: where its users are kept, and the key that signs its forms."""
    login = mlflow_login.kept(settings.home, state.mlflow_url)
    file = str(mlflow_login.file(settings.home))
    return {"MLFLOW_AUTH_CONFIG_PATH": file, "MLFLOW_FLASK_SERVER_SECRET_KEY": login.secret_key}


def _mlflow(settings: Settings, state: Running) -> list[str]:
    from ftcore.settings import sqlite_url  # here, since the settings import pydantic

    folder = settings.home.resolve() / "mlflow"
    port = state.mlflow_url.rpartition(":")[2]
    return [
        *(sys.executable, "-m", "mlflow", "server", "--app-name=basic-auth", "--workers=1"),
        *("--host", "127.0.0.1", "--port", port),
        f"--backend-store-uri={sqlite_url(folder / 'mlflow.db')}",
        f"--artifacts-destination={(folder / 'artifacts').as_uri()}",  # a path that holds % or # is read as a URL
    ]
