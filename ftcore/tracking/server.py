"""How MLflow's server is reached, and what is said when it is away.

A server that refuses a request is asked ``TRIES`` times within half a minute. One that accepts it and says nothing is
given ``ANSWER_S`` seconds each time, so that nothing waits for more than 100 seconds; MLflow's own variables
``MLFLOW_HTTP_REQUEST_TIMEOUT`` and ``MLFLOW_HTTP_REQUEST_MAX_RETRIES`` change that. A step goes on
asking for as long as its patience lasts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import unquote

from ftcore.errors import AwayError, FtcoreError
from ftcore.store import patience
from ftcore.tracking import mlflow_login

if TYPE_CHECKING:
    from mlflow import MlflowClient

TRIES, ANSWER_S = 3, 30
MAKING = frozenset({"create_run", "create_model_version"})
"""Requests that make another thing each time."""
LOG_IN = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or ask for the permission"
F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")
T = TypeVar("T")


def connected(uri: str, home: Path) -> MlflowClient:
    """Client of a server, or of a SQLite file, whose folder is made; ``home`` keeps the local server's login."""
    mlflow_login.use(home, uri)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(TRIES - 1))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(ANSWER_S))
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow import MlflowClient

    # Otherwise it tells of every table that it makes and of every version that it waits for.
    logging.getLogger("mlflow.store").setLevel(logging.WARNING)
    if uri.startswith("sqlite:///"):
        Path(unquote(uri.removeprefix("sqlite:///").partition("?")[0])).parent.mkdir(parents=True, exist_ok=True)
    return patient(MlflowClient(uri, registry_uri=uri), uri)  # else another registry of this process would count


def patient(there: T, uri: str) -> T:
    """A client, or a store of artefacts, each of whose calls waits for a server that is away."""
    return cast("T", _Patient(there, uri))


def shown(uri: str) -> str:
    """The server's address for messages, records and links: without user, password and query."""
    if uri.startswith(("sqlite:", "file:", "/")):
        return uri  # a path, which may hold an @
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2].partition('?')[0]}"


def run_page(uri: str, experiment: str, run: str) -> str:
    """Address of a run in MLflow's own pages; empty where no server shows any."""
    return f"{shown(uri).rstrip('/')}/#/experiments/{experiment}/runs/{run}" if uri.startswith("http") else ""


def once(make: Callable[[], R], uri: str) -> R:
    """Look for something and make it where it is missing: of a request whose answer was lost nobody knows what it did.

    Args:
        make: looks first; the request that makes is not repeated by itself.
        uri: of the server.
    """
    return patience.ask(make, _is_away, f"MLflow at {shown(uri)}", partial(_said, uri=uri))


class _Patient:
    """Passes every call on, again and again while the server is away, except those that would make a second thing."""

    def __init__(self, there: Any, uri: str) -> None:
        self._there, self._uri = there, uri

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._there, name)
        if name in MAKING:
            return partial(_unrepeated, found)
        return partial(self._ask, found) if callable(found) else found

    def _ask(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        who, words = f"MLflow at {shown(self._uri)}", partial(_said, uri=self._uri)
        return patience.ask(partial(call, *args, **options), _is_away, who, words)


def _unrepeated(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Make one request of it: MLflow's own client would send it again where the answer is late."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        return call(*args, **options)
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def translate_errors(uri: str) -> Iterator[None]:
    """Turn MLflow's many ways of saying that the server is away into one error that is retried."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        yield
    except (RequestException, ConnectionError, MlflowException) as error:
        if _is_away(error):
            away = f"MLflow at {shown(uri)} does not answer"
            raise AwayError(away, hint="start it, or correct FTCORE_TRACKING_URI", waited=True) from _cause(error, uri)
        refused = any(f"error code {code}" in str(error) for code in (401, 403))
        said = f"MLflow at {shown(uri)}: {_said(error, uri)}"
        raise FtcoreError(said, hint=LOG_IN if refused else "") from _cause(error, uri)


def plainly(call: F) -> F:
    """The same function, whose errors of MLflow are ours: see ``translate_errors``.

    Its first argument tells the server's address: the settings, or what has them.
    """

    @wraps(call)
    def asked(first: Any, *args: Any, **options: Any) -> Any:
        with translate_errors(getattr(first, "settings", first).mlflow_uri):
            return call(first, *args, **options)

    return cast("F", asked)


def _said(error: object, uri: str) -> str:
    return str(error).replace(uri.rstrip("/"), shown(uri))


def _cause(error: Exception, uri: str) -> Exception | None:
    """What a traceback may show: MLflow's own errors repeat the address with its password."""
    return error if shown(uri) == uri else None


def _is_away(error: BaseException) -> bool:
    """Whether a second try may succeed: refused, silent, broken off on the way, or too busy."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import ChunkedEncodingError, HTTPError, Timeout
    from requests.exceptions import ConnectionError as RefusedError

    if isinstance(error, MlflowException):
        if error.error_code in {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}:
            return True
        # MLflow wraps what the request raised: it keeps it as the context, or of several downloads as text.
        told = any(words in str(error) for words in ("Max retries exceeded", "timed out", "Connection aborted"))
        return told or (error.__context__ is not None and _is_away(error.__context__))
    if isinstance(error, HTTPError):
        return error.response is not None and error.response.status_code in {429, 502, 503, 504}
    return isinstance(error, RefusedError | Timeout | ChunkedEncodingError | ConnectionError)
