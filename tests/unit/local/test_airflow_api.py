"""The client of Airflow against a server that fails for a moment."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from ftcore.local.airflow_api import AirflowApi, AirflowApiError, AirflowAwayError

LATE_S = 0.6


class Moody(BaseHTTPRequestHandler):
    """Fails once at each request, as a server does whose database is locked."""

    asked: list[str]

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = f"{self.command} {self.path}"
        self.asked.append(key)
        logged_in = self.path == "/auth/token"
        status = 500 if self.asked.count(key) < 2 else 200 if logged_in or "Authorization" in self.headers else 401
        data = json.dumps({"access_token": "t"} if logged_in else {"dag_run_id": "r"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PATCH = do_POST = _answer  # noqa: N815 - names of the standard library

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(handler: type[Moody]) -> Iterator[str]:
    """Serve until the block ends; gives the address."""
    Moody.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def url() -> Iterator[str]:
    with serving(Moody) as address:
        yield address


def test_what_may_be_asked_twice_is_asked_again_and_nothing_else(url: str) -> None:
    with AirflowApi(url, "admin", "secret") as api:
        api.pause("data__r")
        assert api.dag_run("data__r", "r") == {"dag_run_id": "r"}
        api.make_pool("gpu", 1)
        with pytest.raises(AirflowApiError, match="500"):
            api.trigger("data__r")
    assert Moody.asked.count("POST /auth/token") == 2
    assert Moody.asked.count("POST /api/v2/pools") == 2
    assert Moody.asked.count("PATCH /api/v2/dags/data__r") == 3, "failed, asked for a login, done"
    assert Moody.asked.count("POST /api/v2/dags/data__r/dagRuns") == 1


class Late(Moody):
    """Answers each request once too late."""

    def _answer(self) -> None:
        key = f"{self.command} {self.path}"
        if self.asked.count(key) == 0:
            time.sleep(LATE_S)
        self.asked.append(key)
        with suppress(OSError):  # nobody waits for it any more
            super()._answer()

    do_GET = do_PATCH = do_POST = _answer  # noqa: N815 - names of the standard library


@pytest.fixture
def late() -> Iterator[str]:
    with serving(Late) as address:
        yield address


def test_an_answer_that_is_late_is_asked_for_again_where_that_does_no_harm(
    late: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AirflowApi(late, "admin", "secret") as api:
        api._client.timeout = httpx.Timeout(LATE_S / 3)
        api.make_pool("gpu", 1)
        assert api.dag_run("data__r", "r") == {"dag_run_id": "r"}
        with pytest.raises(AirflowAwayError, match=r"does not answer POST .*ReadTimeout"):
            api.trigger("data__r")
        assert sum(one.endswith("/dagRuns") for one in Late.asked) <= 1, "a run may have been started"
    monkeypatch.setattr("ftcore.local.airflow_api.PATIENCE_S", 0.1)
    with (
        AirflowApi("http://127.0.0.1:9", "admin", "x") as gone,
        pytest.raises(AirflowAwayError, match="does not answer"),
    ):
        gone.pause("data__r")
