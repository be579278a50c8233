"""The configuration of the local Airflow: one file, so that ``airflow`` on a terminal sees what the services see."""

from __future__ import annotations

import base64
import configparser
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ftcore.errors import FtcoreError

if TYPE_CHECKING:
    from ftcore.settings import Settings

USER = "admin"
USERS = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"
"""Airflow's own variable of who may log in; it goes before the file."""
PASSWORDS = "simple_auth_manager_passwords.json.generated"
_ANEW = "put a backup of it there, or move it away: ftcore up then makes new passwords"
_KEYS = (
    "put a backup of it there; or move it away: ftcore up then makes new keys, and what Airflow encrypted by the old "
    "one, such as passwords of connections, has to be entered anew"
)
PARALLELISM = 2
TOKEN_S = 24 * 3600
"""How long a task may be without an answer of Airflow's API server, in seconds."""


def airflow_home(settings: Settings) -> Path:
    """Folder of the local Airflow."""
    return settings.home.resolve() / "airflow"


def write(settings: Settings, port: int) -> Path:
    """Write ``airflow.cfg`` and the password file; returns the folder that ``AIRFLOW_HOME`` must name.

    Both hold secrets and may be read by nobody else. Secrets and the password survive a restart, so sessions do too.

    Raises:
        FtcoreError: one of them is there and cannot be read.
    """
    home = airflow_home(settings)
    home.mkdir(parents=True, exist_ok=True)
    (home / "plugins").mkdir(exist_ok=True)
    parser = configparser.ConfigParser(interpolation=None)
    for section, options in _options(settings, home, port).items():
        # Airflow reads % as the start of an interpolation
        parser[section] = {key: value.replace("%", "%%") for key, value in options.items()}
    with _private(home / "airflow.cfg") as file:
        parser.write(file)
    place = home / PASSWORDS
    kept = _passwords(place) if place.exists() else {}
    found = {name: kept.get(name) or secrets.token_urlsafe(12) for name in users(settings)}
    # Whom Airflow's own variable names, it lets in and makes a password for, which is kept as well.
    found |= {name: kept[name] for name in _named(os.environ.get(USERS, "")) if name in kept}
    if settings.airflow_password is not None:
        found[USER] = settings.airflow_password.get_secret_value()
    if found != kept:
        with _private(place) as file:
            json.dump(found, file)
    return home


def users(settings: Settings) -> dict[str, str]:
    """Roles of the people who may log in to the local Airflow, by name; there is always an ``admin``."""
    return _named(settings.airflow_users) | {USER: "admin"}


def _named(people: str) -> dict[str, str]:
    """Roles by name, of ``mira:op, jon:viewer``."""
    found = (one.strip().rpartition(":") for one in people.split(",") if one.strip())
    return {name: role for name, _, role in found}


def password(settings: Settings) -> str:
    """Password of Airflow's ``admin``.

    Raises:
        FtcoreError: the file is gone, cannot be read, or does not hold it.
    """
    place = airflow_home(settings) / PASSWORDS
    if not (found := _passwords(place).get(USER, "")):
        raise FtcoreError(f"{place} holds no password of {USER}", hint=_ANEW)
    return found


def _passwords(place: Path) -> dict[str, str]:
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        if all(isinstance(one, str) for one in found.values()):
            return dict(found)
    except (OSError, ValueError, AttributeError):
        pass
    # Not chained: what cannot be read may be a password all the same.
    raise FtcoreError(f"{place} is not the passwords of Airflow's people, as JSON by name", hint=_ANEW) from None


def database(settings: Settings) -> str:
    """URL of Airflow's database."""
    from ftcore.settings import sqlite_url  # here, since the settings import pydantic

    return sqlite_url(airflow_home(settings) / "airflow.db")


def _options(settings: Settings, home: Path, port: int) -> dict[str, dict[str, str]]:
    url = f"http://127.0.0.1:{port}"
    kept = _secrets(home)
    bundle = {
        "name": "recipes",
        "classpath": "ftcore_airflow.bundle.RecipeBundle",
        "kwargs": {"recipes": str(settings.recipes.resolve()), "refresh_interval": 5},
    }
    return {
        "core": {
            "executor": "LocalExecutor",
            "parallelism": str(PARALLELISM),
            "load_examples": "False",
            "dags_are_paused_at_creation": "False",
            "plugins_folder": str(home / "plugins"),
            "fernet_key": kept["fernet_key"],
            "execution_api_server_url": f"{url}/execution/",
            "simple_auth_manager_users": ",".join(f"{name}:{role}" for name, role in users(settings).items()),
            "simple_auth_manager_passwords_file": str(home / PASSWORDS),
        },
        "database": {"sql_alchemy_conn": database(settings)},
        "api": {"host": "127.0.0.1", "port": str(port), "base_url": url, "secret_key": kept["secret_key"]},
        "api_auth": {"jwt_secret": kept["jwt_secret"]},
        "dag_processor": {
            "dag_bundle_config_list": json.dumps([bundle]),
            "dag_bundle_storage_path": str(home / "bundles"),
            "bundle_refresh_check_interval": "5",
            "parsing_processes": "1",
            # A file changes with its recipe, and a changed file is parsed at once; the rest can wait.
            "min_file_process_interval": "300",
            "dag_processor_child_process_log_directory": str(home / "logs" / "dag_processor"),
        },
        "scheduler": {
            "scheduler_idle_sleep_time": "0.5",
            # What a scheduler that was killed has left behind is taken over by the next one within half a minute.
            "scheduler_health_check_threshold": "30",
            "orphaned_tasks_check_interval": "10",
            "task_instance_heartbeat_timeout": "120",
            "task_instance_heartbeat_timeout_detection_interval": "10",
        },
        # An API server that is away, or a machine that sleeps, costs a task a wait and not its life: a token that
        # lapsed cannot be renewed, and three heartbeats without an answer would end a training.
        "execution_api": {"jwt_expiration_time": str(TOKEN_S)},
        "workers": {
            "max_failed_heartbeats": str(TOKEN_S // 5),
            "execution_api_retries": "200",
            "execution_api_retry_wait_max": "8",
            "execution_api_timeout": "15",
        },
        "logging": {"base_log_folder": str(home / "logs"), "colored_console_log": "False"},
        "usage_data_collection": {"enabled": "False"},
    }


def _secrets(home: Path) -> dict[str, str]:
    """Keys that are kept; made where there is no file yet, and never where one is there that does not tell them."""
    old, place = configparser.ConfigParser(interpolation=None), home / "airflow.cfg"
    try:
        there = bool(old.read(place, encoding="utf-8"))
    except (configparser.Error, OSError, UnicodeDecodeError):
        raise FtcoreError(f"{place} is no configuration of Airflow's", hint=_KEYS) from None
    if there and not old.get("core", "fernet_key", fallback=""):
        raise FtcoreError(f"{place} does not hold the key of Airflow's connections, core.fernet_key", hint=_KEYS)
    return {
        "fernet_key": old.get("core", "fernet_key", fallback=base64.urlsafe_b64encode(os.urandom(32)).decode()),
        "secret_key": old.get("api", "secret_key", fallback=secrets.token_urlsafe(32)),
        "jwt_secret": old.get("api_auth", "jwt_secret", fallback=secrets.token_urlsafe(64)),
    }


@contextmanager
def _private(path: Path) -> Iterator[IO[str]]:
    """A file that its owner alone may read, there as a whole or as it was before."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yield file
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
