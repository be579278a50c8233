"""Credentials: they come from the environment, and go nowhere else."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from ftcore.errors import MissingExtraError

_LOGIN = re.compile(r"://[^/\s@'\"]*:[^/\s@'\"]*@")
_SIGNED = re.compile(
    r"([?&](?:x-(?:amz|goog)-[\w-]+|sig|signature|token|access_token|api_?key|key|password|secret)=)[^&\s'\"]+",
    re.IGNORECASE,
)


def holds_secret(value: Any) -> bool:
    """Whether any text inside looks like a URL with a password or a signature."""
    if isinstance(value, str):
        return bool(_LOGIN.search(value) or (_SIGNED.search(value) and "://" in value))
    if isinstance(value, dict):
        return any(holds_secret(inner) for inner in value.values())
    return isinstance(value, list | tuple) and any(holds_secret(inner) for inner in value)


def scrub(text: object, secrets: Iterable[str] = ()) -> str:
    """Text fit for a log: ``***`` in place of passwords and signatures in URLs, and of the given secrets."""
    said = str(text)
    for secret in sorted((s for s in secrets if s), key=len, reverse=True):
        said = said.replace(secret, "***").replace(unquote(secret), "***")
    return _SIGNED.sub(r"\1***", _LOGIN.sub("://***@", said))


def connection(name: str) -> str:
    """The URL of a named connection: ``FTCORE_CONNECTION_NAME``, else Airflow's ``AIRFLOW_CONN_NAME``.

    Raises:
        MissingExtraError: neither is set.
    """
    for variable in (f"FTCORE_CONNECTION_{name.upper()}", f"AIRFLOW_CONN_{name.upper()}"):
        if url := os.environ.get(variable, "").strip():
            return url
    raise MissingExtraError(
        f"there is no connection {name!r}",
        hint=f"set FTCORE_CONNECTION_{name.upper()} (or AIRFLOW_CONN_{name.upper()}) to its URL in the environment",
    )
