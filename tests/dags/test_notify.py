"""Who is told of a failure, and what: over a real web server and a real SMTP conversation on this machine."""

from __future__ import annotations

import json
import logging
import socketserver
import threading
from collections.abc import Iterator
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from ftcore.errors import DataRejectedError
from ftcore_airflow.notify import FailureNotifier, message
from ftcore_airflow.operator import ErrorTail
from ftcore_airflow.retry import failure

ROW = "a whole sentence that somebody wrote to us"


def context(exception: object) -> Any:
    ti = SimpleNamespace(
        dag_id="data__r",
        task_id="validate",
        run_id="manual__1",
        try_number=1,
        log_url="http://localhost:8080/dags/data__r/runs/manual__1/tasks/validate",
        rendered_map_index=None,
    )
    return {"ti": ti, "exception": exception}


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, dict[str, str]]]]:
    """What a web server was sent: path, authorisation, body."""
    got: list[tuple[str, str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append((self.path, self.headers["Authorization"], body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        known = {"conn_type": "http", "host": "http://127.0.0.1", "port": server.server_port, "password": "t0ken"}
        monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps(known | {"extra": {"endpoint": "/services/s3cret"}}))
        yield got
        server.shutdown()


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Messages that an SMTP server took."""
    got: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                verb = line.split()[0].upper().rstrip(b":")
                if verb == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines: list[bytes] = []
                    while (text := self.rfile.readline()) != b".\r\n":
                        lines.append(text)
                    got.append(b"".join(lines).decode())
                self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 fine\r\n")
                if verb == b"QUIT":
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        extra = {"to": "ops@example.org", "from_email": "ftcore@example.org", "disable_ssl": True, "disable_tls": True}
        known = {"conn_type": "smtp", "host": "127.0.0.1", "port": server.server_address[1], "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_MAIL", json.dumps(known))
        yield got
        server.shutdown()


def rejected() -> Exception:
    """What the operator raises after ``validate`` printed that the data is rejected."""
    error = DataRejectedError(
        "the data of r is rejected", [f"reason {n}" for n in range(14)], "store/r/page.html", "mend"
    )
    words = ErrorTail()
    for line in ("10:00:00 read 3 rows", *f"error: {error}".splitlines(), f"  and '{ROW}'"):
        words.add(line)
    return failure("validate", 3, words.said)


def test_rejected_data_is_told_with_ten_failures_the_report_and_the_hint_and_no_row() -> None:
    subject, text = message(context(rejected()))
    assert subject == "data__r: validate failed"
    assert text.startswith("validate ended with exit code 3: the data of r is rejected\n  - reason 0\n")
    assert "  - reason 9\n  … and 4 more\n  report: store/r/page.html\n  hint: mend\n" in text
    assert text.endswith(
        "run manual__1, attempt 1\nlog http://localhost:8080/dags/data__r/runs/manual__1/tasks/validate"
    )
    assert ROW not in text


def test_no_secret_is_told() -> None:
    _, text = message(context("postgresql://me:pass@host/db does not answer: s3://b/x?X-Amz-Signature=abc"))
    assert "pass" not in text
    assert "abc" not in text


def test_every_connection_is_told_though_one_is_missing_and_no_address_is_logged(
    webhook: list[Any], mailbox: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FTCORE_NOTIFY", "nobody, hook, mail")
    with caplog.at_level(logging.DEBUG):
        FailureNotifier().notify(context(rejected()))
    ((path, token, body),) = webhook
    assert (path, token) == ("/services/s3cret", "Bearer t0ken")
    assert body["text"].startswith("data__r: validate failed\nvalidate ended with exit code 3")
    (mail,) = (message_from_string(text) for text in mailbox)
    assert (mail["Subject"], mail["To"], mail["From"]) == (
        "data__r: validate failed",
        "ops@example.org",
        "ftcore@example.org",
    )
    (page,) = (part.get_payload(decode=True).decode() for part in mail.walk() if part.get_content_type() == "text/html")
    assert "report: store/r/page.html" in page
    assert "s3cret" not in caplog.text
    assert "t0ken" not in caplog.text


def test_without_a_connection_the_failure_is_a_line_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FTCORE_NOTIFY", raising=False)
    said: list[str] = []
    log = SimpleNamespace(error=lambda text, *values: said.append(text % values))
    monkeypatch.setattr(FailureNotifier, "log", log)
    FailureNotifier().notify(context(rejected()))
    assert said[0].startswith("data__r: validate failed\n")
