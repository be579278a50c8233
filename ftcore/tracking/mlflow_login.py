"""Login of the local MLflow: one file under ``HOME/mlflow``, in the form in which MLflow's own ``basic-auth`` reads it.

It may be read by nobody else. What is in it goes to the server and to the steps through their environment.
"""

from __future__ import annotations

import configparser
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

USER = "admin"
_OURS = "ftcore"
"""Section of the file that MLflow does not read."""


@dataclass(frozen=True)
class Login:
    """How to get into the local MLflow."""

    username: str
    password: str
    secret_key: str
    """Signs the forms of MLflow's own pages."""
    url: str
    """The server that it is for; no other is shown it."""

    def environment(self) -> dict[str, str]:
        """MLflow's own variables for its clients."""
        return {"MLFLOW_TRACKING_USERNAME": self.username, "MLFLOW_TRACKING_PASSWORD": self.password}


def file(home: Path) -> Path:
    """Where the login is kept."""
    return home.resolve() / "mlflow" / "login.ini"


def read(home: Path) -> Login | None:
    """The login that is kept; None where there is none."""
    parser = configparser.ConfigParser()
    try:
        parser.read(file(home), encoding="utf-8")
        mlflow, ours = parser["mlflow"], parser[_OURS]
        return Login(mlflow["admin_username"], mlflow["admin_password"], ours["secret_key"], ours["url"])
    except (configparser.Error, KeyError, OSError, UnicodeDecodeError):
        return None


def write(home: Path, url: str) -> Login:
    """Keep a login for a server; the password and the key are made once and survive a restart."""
    from ftcore.settings import sqlite_url  # here, since the settings import pydantic

    before = read(home)
    users = file(home).with_name("users.db")
    if before is None and users.exists():  # its password is lost, and MLflow would believe no other
        users.replace(users.with_suffix(".lost"))
    password = before.password if before else secrets.token_urlsafe(18)
    key = before.secret_key if before else secrets.token_urlsafe(32)
    parser = configparser.ConfigParser(interpolation=None)
    parser["mlflow"] = {
        "default_permission": "READ",  # for accounts that the admin makes for other people
        "database_uri": sqlite_url(users).replace("%", "%%"),  # MLflow reads % as the start of an interpolation
        "admin_username": USER,
        "admin_password": password,
        "auth_cache_ttl_seconds": "3600",  # checking a password costs 50 ms, at each request
    }
    parser[_OURS] = {"secret_key": key, "url": url}
    file(home).parent.mkdir(parents=True, exist_ok=True)
    draft = file(home).with_suffix(".draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        parser.write(out)
    draft.replace(file(home))
    return Login(USER, password, key, url)


def kept(home: Path, url: str) -> Login:
    """The login of a server, made where there is none yet."""
    found = read(home)
    return found if found and found.url == url else write(home, url)


def use(home: Path, url: str) -> None:
    """Let MLflow's client in this process log in, where ``url`` is the local server."""
    if url.startswith("http") and (login := read(home)) is not None and login.url == url.rstrip("/"):
        os.environ.update(login.environment())
