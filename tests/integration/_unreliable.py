"""A way to a server that breaks at a chosen request: refused, swallowed in silence, or done with its answer lost."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Break = Literal["refused", "silent", "lost"]


class Way:
    """Passes requests on to a server until ``after`` of them were made; then it breaks, for good."""

    def __init__(self, server: str) -> None:
        """Listen on a free port of loopback."""
        self.server = urlsplit(server).netloc
        self.requests = 0
        self.asked: list[str] = []
        self.after: int | None = None
        self.how: Break = "refused"
        self.outages: list[tuple[bytes, float]] = []
        self.away_until = 0.0
        self.over = threading.Event()
        self._count = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"way": self}))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def is_broken(self) -> bool:
        """Count a request; whether it comes too late."""
        with self._count:
            self.requests += 1
            return self.after is not None and self.requests > self.after

    def is_away(self, request: bytes) -> tuple[bool, bool]:
        """Whether a request gets no answer, and whether it is done all the same: the one that an outage begins with.

        ``outages`` are, in their order, what a request holds with which each begins, and its seconds.
        """
        with self._count:
            if time.monotonic() < self.away_until:
                return True, False
            if self.outages and self.outages[0][0] in request:
                self.away_until = time.monotonic() + self.outages.pop(0)[1]
                return True, True
            return False, True

    def close(self) -> None:
        """Let go of every request that waits, and listen no more."""
        self.over.set()
        self._http.shutdown()
        self._http.server_close()


class Handler(BaseHTTPRequestHandler):
    """Passes one request on, or not."""

    protocol_version = "HTTP/1.1"
    way: Way

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.way.asked.append(f"{self.command} {self.path}")
        if self._is_in_an_outage(body):
            return
        broken = self.way.is_broken()
        if broken and self.way.how == "refused":
            self.way._http.socket.close()  # from now on nobody listens
            self.close_connection = True
            return
        answer = None if broken and self.way.how == "silent" else self._pass_on(body)
        if broken or answer is None:
            self.way.over.wait()
            self.close_connection = True
            return
        self._answer(*answer)

    def _is_in_an_outage(self, body: bytes) -> bool:
        away, done = self.way.is_away(self.raw_requestline + body)
        if away and done:
            self._pass_on(body)
        self.close_connection = self.close_connection or away
        return away

    def _pass_on(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        there = http.client.HTTPConnection(self.way.server, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in {"host", "connection"}}
        there.request(self.command, self.path, body or None, headers)
        answer = there.getresponse()
        data = answer.read()
        there.close()
        return answer, data

    def _answer(self, answer: http.client.HTTPResponse, data: bytes) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "content-length", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self._headers_buffer.append(b"\r\n" + data)  # one packet: two wait for an acknowledgement between them
        self.flush_headers()


@contextmanager
def way_to(server: str, after: int | None = None, how: Break = "refused") -> Iterator[Way]:
    """A way that breaks after some requests; None never does."""
    way = Way(server)
    way.after, way.how = after, how
    try:
        yield way
    finally:
        way.close()
