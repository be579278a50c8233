"""A real S3 store for tests and benches: a SeaweedFS of this machine, in a process group of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEY, SECRET, BUCKET = "AKIAINTEGRATION", "hunter2-of-the-integration-test", "data"
SERVERS = ("s3.port", "master.port", "filer.port", "volume.port", "admin.port")
PORTS = (*SERVERS, *(f"{name}.grpc" for name in SERVERS), "s3.port.iceberg", "s3.port.lance")


@dataclass(frozen=True)
class Store:
    """A store that runs."""

    endpoint: str
    group: int
    """Process group of the server."""

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach it."""
        login = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1", **login}

    def tell(self, number: int) -> None:
        """Send a signal to the server and all it started."""
        os.killpg(self.group, number)


def program() -> str | None:
    """Path of the server's program; None where it is not installed."""
    return shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


@contextmanager
def serving(folder: Path) -> Iterator[Store]:
    """Serve the bucket ``data`` from a folder until the block ends.

    Raises:
        RuntimeError: the server ended by itself, or did not come up within 30 s.
    """
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    command = [program() or "weed", "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-bucket={BUCKET}", "-webdav=false", "-admin.ui=false", *(f"-{n}={p}" for n, p in ports.items())]
    secrets = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    with folder.with_suffix(".log").open("wb") as log:
        server = subprocess.Popen(
            command, env=os.environ | secrets, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        store = Store(f"http://127.0.0.1:{ports['s3.port']}", server.pid)
        try:
            _wait(store.endpoint, server)
            yield store
        finally:
            store.tell(signal.SIGTERM)
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                store.tell(signal.SIGKILL)
                server.wait(5)


def _wait(endpoint: str, server: subprocess.Popen[bytes]) -> None:
    import s3fs

    until = time.monotonic() + 30
    options = {"key": KEY, "secret": SECRET, "endpoint_url": endpoint}
    while server.poll() is None and time.monotonic() < until:
        try:
            if s3fs.S3FileSystem(**options, skip_instance_cache=True).exists(BUCKET):
                return
        except OSError:
            pass
        time.sleep(0.3)
    raise RuntimeError("the S3 server did not come up")


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports
