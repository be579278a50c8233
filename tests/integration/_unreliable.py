"""A way to a server that breaks at a chosen request: refused, swallowed in silence, or done with its answer lost."""

from __future__ import annotations

import http.client
import threading
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
        self.over = threading.Event()
        self._count = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def is_broken(self) -> bool:
        """Count a request; whether it comes too late."""
        with self._count:
            self.requests += 1
            return self.after is not None and self.requests > self.after

    def close(self) -> None:
        """Let go of every request that waits, and listen no more."""
        self.over.set()
        self._http.shutdown()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        way = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                way.asked.append(f"{self.command} {self.path}")
                broken = way.is_broken()
                if broken and way.how == "refused":
                    way._http.socket.close()  # from now on nobody listens
                    self.close_connection = True
                    return
                answer = None if broken and way.how == "silent" else self._pass_on(body)
                if broken or answer is None:
                    way.over.wait()
                    self.close_connection = True
                    return
                self._answer(*answer)

            def _pass_on(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
                there = http.client.HTTPConnection(way.server, timeout=60)
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

        return Handler


@contextmanager
def way_to(server: str, after: int | None = None, how: Break = "refused") -> Iterator[Way]:
    """A way that breaks after some requests; None never does."""
    way = Way(server)
    way.after, way.how = after, how
    try:
        yield way
    finally:
        way.close()
