"""Credentials: they come from the environment, and go nowhere else."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote, urlencode

from ftcore.errors import ConfigurationError

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

    Either is a URL or, in Airflow's other form, a JSON object of ``conn_type``, ``host``, ``login``, ``password``,
    ``port``, ``schema`` and ``extra``.

    Raises:
        ConfigurationError: neither is set, or the JSON cannot be read.
    """
    for variable in (f"FTCORE_CONNECTION_{name.upper()}", f"AIRFLOW_CONN_{name.upper()}"):
        if url := os.environ.get(variable, "").strip():
            return _url_of(url, variable) if url.startswith("{") else url
    raise ConfigurationError(
        f"there is no connection {name!r}",
        hint=f"set FTCORE_CONNECTION_{name.upper()} (or AIRFLOW_CONN_{name.upper()}) to its URL in the environment",
    )


def _url_of(text: str, variable: str) -> str:
    """The URL that says what a connection in JSON says, by Airflow's own rules; ``extra`` becomes the query."""
    try:
        given = json.loads(text)
        extra = given.get("extra") or {}
        options = json.loads(extra) if isinstance(extra, str) else dict(extra)
        kind, port = given["conn_type"].lower().replace("_", "-"), int(given.get("port") or 0)
        user, word, host, path = (str(given.get(key) or "") for key in ("login", "password", "host", "schema"))
    except (ValueError, KeyError, TypeError, AttributeError):
        # Not chained and nothing quoted: whatever is wrong, a password stands beside it.
        said = f"{variable} holds JSON that is no connection"
        raise ConfigurationError(said, hint='write {"conn_type": "postgres", "host": …} or a URL') from None
    if kind == "sqlite":  # a file, which Airflow's own hook takes from the host
        return f"sqlite:///{host or path}"
    login = f"{quote(user, safe='')}{':' + quote(word, safe='') if word else ''}@" if user or word else ""
    place = f"{login}{quote(host, safe='[:]')}{f':{port}' if port else ''}"
    query = urlencode({key: value for key, value in options.items() if isinstance(value, str | int | float)})
    return f"{kind}://{place}{'/' + quote(path, safe='/') if path else ''}{'?' + query if query else ''}"
