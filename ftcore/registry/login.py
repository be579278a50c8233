"""Who decides at a terminal: whoever Airflow says they are, or the user of this machine, which is no login.

``FTCORE_HOME/login.json``, readable by its owner alone, keeps the token that Airflow gave; ``FTCORE_AIRFLOW_TOKEN`` is
for scripts. Airflow is asked who the token belongs to each time it is used to decide.
"""

from __future__ import annotations

import getpass
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError, MissingExtraError, TransientError
from ftcore.store.files import mapping, read_bytes
from ftcore.store.records import now

if TYPE_CHECKING:
    import httpx

    from ftcore.settings import Settings

FILE = "login.json"
HERE = "os:"
"""Start of a name that nobody logged in under."""
NO_LOGIN = "there is no login; an approval needs one; a typed name is not enough"
HINT = "ftcore login asks Airflow for a token"


@dataclass(frozen=True)
class Person:
    """Who decides."""

    name: str
    witness: dict[str, Any] = field(default_factory=dict)
    """What Airflow said of the token; empty for a user of this machine, whose decisions are no approvals."""

    @property
    def logged_in(self) -> bool:
        """Whether Airflow vouches for the name."""
        return bool(self.witness)


def log_in(settings: Settings, user: str, password: str) -> Person:
    """Ask Airflow for a token and keep it; returns whom it belongs to.

    Raises:
        FtcoreError: Airflow does not take the password, or its address is not known.
        TransientError: Airflow does not answer.
    """
    base = address(settings)
    answer = _send("POST", base, "/auth/token", json={"username": user, "password": password})
    if answer.is_error:
        raise FtcoreError(f"Airflow at {base} does not log {user} in: {answer.status_code}")
    token = str(_answered(answer, base)["access_token"])
    person = _asked(base, token)
    expires = _claims(token).get("exp")
    until = datetime.fromtimestamp(int(expires), UTC).isoformat() if expires else ""
    path = settings.home / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{FILE}.{os.getpid()}.tmp")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"user": person.name, "token": token, "expires_at": until}, file)
    draft.replace(path)
    return person


def log_out(settings: Settings) -> bool:
    """Forget the token; False where there is none."""
    there = (settings.home / FILE).exists()
    (settings.home / FILE).unlink(missing_ok=True)
    return there


def whoever(settings: Settings) -> Person:
    """Who decides here: whoever is logged in, else the user of this machine.

    Raises:
        FtcoreError: the login has ended.
        TransientError: Airflow does not answer.
    """
    token, base = _token(settings)
    return _asked(base, token) if token else Person(here())


def here() -> str:
    """The user of this machine, as the ledger names somebody who did not log in."""
    return f"{HERE}{_os_user()}"


def logged_in(settings: Settings) -> Person:
    """Who is logged in, as Airflow says.

    Raises:
        FtcoreError: nobody is, or the login has ended.
        TransientError: Airflow does not answer.
    """
    person = whoever(settings)
    if not person.logged_in:
        raise FtcoreError(NO_LOGIN, hint=HINT)
    return person


def ask(settings: Settings, method: str, path: str, body: dict[str, Any]) -> int:
    """Airflow's status for a request of whoever is logged in.

    Raises:
        FtcoreError: nobody is, or the login has ended.
        TransientError: Airflow does not answer.
    """
    token, base = _token(settings)
    return _send(method, base, path, json=body, headers={"Authorization": f"Bearer {token}"}).status_code


def address(settings: Settings) -> str:
    """Where Airflow is: ``FTCORE_AIRFLOW_URL``, or the one that ``ftcore up`` started.

    Raises:
        FtcoreError: neither is there.
    """
    path = settings.home / "services.json"
    running = mapping(read_bytes(path)) if path.exists() else {}
    if url := settings.airflow_url or running.get("airflow_url"):
        return str(url).rstrip("/")
    raise FtcoreError("the address of Airflow is not known", hint="set FTCORE_AIRFLOW_URL, or start it: ftcore up")


def _token(settings: Settings) -> tuple[str, str]:
    if given := settings.airflow_token:
        return given.get_secret_value(), address(settings)
    path: Path = settings.home / FILE
    kept = mapping(read_bytes(path)) if path.exists() else {}
    if kept and path.stat().st_mode & 0o077:
        raise FtcoreError(f"{path} can be read by others, so the login is void", hint=HINT)
    if kept and _has_ended(str(kept.get("expires_at") or "")):
        raise FtcoreError(f"the login of {kept.get('user')} ended at {kept['expires_at']}", hint=HINT)
    # No file beside the settings names the server that vouches for people; `ftcore up` may take another port.
    return str(kept.get("token") or "") if kept else "", address(settings) if kept else ""


def _has_ended(at: str) -> bool:
    """Whether a time has passed; one that cannot be read has."""
    try:
        return bool(at) and datetime.fromisoformat(at) < now()
    except (ValueError, TypeError):
        return True


def _asked(base: str, token: str) -> Person:
    """Whom Airflow says that a token belongs to."""
    answer = _send("GET", base, "/ui/auth/me", headers={"Authorization": f"Bearer {token}"})
    if answer.status_code in (401, 403):
        raise FtcoreError(f"Airflow at {base} refuses the token", hint=HINT)
    if answer.is_error:
        raise TransientError(f"Airflow at {base} answers {answer.status_code}")
    found = _answered(answer, base)
    witness = {"by": "login", "airflow": base, "user": {"id": str(found["id"]), "name": str(found["username"])}}
    return Person(str(found["username"]), witness | {"asked_at": now().isoformat()})


def _send(method: str, base: str, path: str, **request: Any) -> httpx.Response:
    try:
        import httpx
    except ImportError as error:
        raise MissingExtraError("httpx is not installed", hint="pip install 'ftcore[airflow]'") from error
    try:
        return httpx.request(method, f"{base}{path}", timeout=30, **request)
    except httpx.HTTPError as error:
        hint = "start it, or decide as the user of this machine, which is no approval: ftcore logout"
        raise TransientError(f"Airflow at {base} does not answer: {error}", hint=hint) from error
    except httpx.InvalidURL as error:
        raise FtcoreError(f"{base} is no address of Airflow", hint="set FTCORE_AIRFLOW_URL") from error


def _answered(answer: httpx.Response, base: str) -> dict[str, Any]:
    """What Airflow answers; a proxy before it, or another program at its address, answers pages."""
    found = mapping(answer.content)
    if not {"access_token"} <= found.keys() and not {"id", "username"} <= found.keys():
        raise FtcoreError(f"{base} does not answer as Airflow does", hint="correct FTCORE_AIRFLOW_URL")
    return found


def _claims(token: str) -> dict[str, Any]:
    """What a token says of itself; Airflow, not this, decides whether it holds."""
    import base64

    try:
        part = token.split(".")[1]
        return mapping(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, IndexError):
        return {}


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
