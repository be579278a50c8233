"""Ports of the local services: those that a setting fixes, else free ones that are kept, so that links live."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from ftcore.errors import FtcoreError
from ftcore.local import processes

if TYPE_CHECKING:
    from ftcore.settings import Settings

FREE = range(20_000, 32_000)
"""Where a port is looked for: below those that Linux gives to outgoing connections."""
RELEASE_S = 2.0
"""How long a process that was ended may hold its port, in seconds."""
_TRIES = 200


class PortTakenError(FtcoreError):
    """Another program listens on a port that a setting asks for."""


def urls(settings: Settings, progress: Callable[[str], None]) -> dict[str, str]:
    """Addresses of ``airflow`` and ``mlflow``, each with its port; kept for the next time.

    Raises:
        PortTakenError: a port that a setting asks for is taken.
    """
    kept, fixed = _kept(settings), {"airflow": settings.airflow_port, "mlflow": settings.mlflow_port}
    chosen = {name: wanted for name, wanted in fixed.items() if wanted}
    if len(set(chosen.values())) < len(chosen):
        raise PortTakenError(f"Airflow and MLflow are both to listen on port {fixed['airflow']}", hint="choose two")
    for name, wanted in chosen.items():
        check(wanted, f"FTCORE_{name.upper()}_PORT asks for it")
    for name in fixed.keys() - chosen.keys():
        chosen[name] = _free(kept.get(name), name, set(chosen.values()), progress)
    file = settings.home.resolve() / "ports.json"
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(chosen) + "\n", encoding="utf-8")
    draft.replace(file)
    return {name: f"http://127.0.0.1:{port}" for name, port in chosen.items()}


def check(port: int, why: str) -> None:
    """Make sure that nobody listens on a port of loopback.

    Raises:
        PortTakenError: somebody does.
    """
    if not processes.wait(lambda: is_free(port), RELEASE_S):
        hint = "end the program that listens there, or choose another port"
        raise PortTakenError(f"port {port} is taken by another program; {why}", hint=hint)


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the services do: old connections do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free(kept: int | None, name: str, taken: set[int], progress: Callable[[str], None]) -> int:
    if kept and kept not in taken and is_free(kept):
        return kept
    found = next(
        (port for port in (secrets.choice(FREE) for _ in range(_TRIES)) if port not in taken and is_free(port)), 0
    )
    if not found:
        raise PortTakenError("no free port was found", hint=f"name one: FTCORE_{name.upper()}_PORT")
    if kept:
        who = "the other service" if kept in taken else "another program"
        progress(f"port {kept} is taken by {who}: {name} moves to {found}, and old links to it no longer work")
    return found


def _kept(settings: Settings) -> dict[str, int]:
    try:
        found = json.loads((settings.home.resolve() / "ports.json").read_text(encoding="utf-8"))
        return {name: port for name, port in found.items() if type(port) is int and 0 < port < 2**16}
    except (OSError, ValueError, AttributeError):
        return {}
