"""Who may log in to the local Airflow."""

from __future__ import annotations

import configparser
import json
import stat
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from ftcore import settings
from ftcore.errors import FtcoreError
from ftcore.local import airflow_config

if TYPE_CHECKING:
    from pathlib import Path


def _written(monkeypatch: pytest.MonkeyPatch, users: str) -> tuple[str, dict[str, str], Path]:
    monkeypatch.setenv("FTCORE_AIRFLOW_USERS", users)
    home = airflow_config.write(settings.load(), 8080)
    parser = configparser.ConfigParser()
    parser.read(home / "airflow.cfg")
    passwords = home / airflow_config.PASSWORDS
    return parser["core"]["simple_auth_manager_users"], json.loads(passwords.read_text()), passwords


def test_people_have_their_roles_and_keep_their_passwords(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users, first, _ = _written(monkeypatch, "")
    assert (users, list(first)) == ("admin:admin", ["admin"])
    users, second, file = _written(monkeypatch, " mira:op, jon.b@x.org:viewer ,")
    assert users == "mira:op,jon.b@x.org:viewer,admin:admin"
    assert second["admin"] == first["admin"]
    assert len(set(second.values())) == 3
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    monkeypatch.setenv("FTCORE_AIRFLOW_PASSWORD", "given %")
    _, third, _ = _written(monkeypatch, "mira:user")
    assert third == {"mira": second["mira"], "admin": "given %"}, "who is gone has no password any more"


def test_people_whom_airflows_own_variable_names_keep_their_passwords(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first, file = _written(monkeypatch, "")
    file.write_text(json.dumps(first | {"ada": "made by Airflow", "gone": "too"}))
    monkeypatch.setenv(airflow_config.USERS, "admin:admin,ada:op")
    _, second, _ = _written(monkeypatch, "")
    assert second == first | {"ada": "made by Airflow"}


@pytest.mark.parametrize("name", ["airflow.cfg", airflow_config.PASSWORDS])
@pytest.mark.parametrize(
    "kept", [b"", b"[]", b"7", b"{", b"[core]\nx", b"[core]\n[core]\n", b"\xff\xfe", b'{"admin": 1}']
)
def test_a_file_of_secrets_that_cannot_be_read_is_told_and_left(home: Path, name: str, kept: bytes) -> None:
    folder = airflow_config.write(settings.load(), 8080)
    (folder / name).write_bytes(kept)
    with pytest.raises(FtcoreError, match=name) as error:
        airflow_config.write(settings.load(), 8080)
    assert "backup" in error.value.hint
    assert (folder / name).read_bytes() == kept
    (folder / name).unlink()
    airflow_config.write(settings.load(), 8080)
    assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert not list(folder.glob("*.draft"))


def test_a_password_that_nobody_kept_is_told(home: Path) -> None:
    folder = airflow_config.write(settings.load(), 8080)
    for kept in ("{}", "[]", None):
        (folder / airflow_config.PASSWORDS).write_text(kept) if kept else (folder / airflow_config.PASSWORDS).unlink()
        with pytest.raises(FtcoreError, match="password"):
            airflow_config.password(settings.load())


@pytest.mark.parametrize("users", ["mira", "mira:boss", "mira:op;jon:op", "a b:op", "mira:op:team", "[core]\nx:op"])
def test_other_users_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch, users: str) -> None:
    monkeypatch.setenv("FTCORE_AIRFLOW_USERS", users)
    with pytest.raises(ValidationError, match="airflow_users"):
        settings.load()
