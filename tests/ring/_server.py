"""A process that has imported what steps need, and is forked for each: else most of a ring would be imports."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from contextlib import suppress

from tests import warm  # noqa: F401 - it imports what steps need
from tests.ring import _decided


def serve(path: str) -> None:
    """Start a step for each client, until the process that started this one has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(16)
        server.settimeout(1)
        while os.getppid() == parent:
            with suppress(TimeoutError):
                client, _ = server.accept()
                if not os.fork():
                    server.close()
                    _attend(client)
                client.close()


def _attend(client: socket.socket) -> None:
    """Start a step, pass the client's signals on to it, and tell how it ended; it ends with its client."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    client.settimeout(None)
    head, files, _, _ = socket.recv_fds(client, 4, 2)
    data = b""
    while len(data) < int.from_bytes(head, "big"):
        data += client.recv(65536)
    folder, count, *rest = data.decode(errors="surrogateescape").split("\0")
    pid = os.fork()
    if not pid:
        client.close()
        _step(folder, files, rest[: int(count)], rest[int(count) :])
    ended = os.pidfd_open(pid)
    while ended not in (ready := select.select([client, ended], [], [])[0]):
        if client in ready:
            os.kill(pid, signal.SIGTERM if client.recv(1) else signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(OSError):
        client.send(str(code).encode())
    os._exit(0)


def _step(folder: str, files: list[int], words: list[str], environment: list[str]) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ |= dict(entry.split("=", 1) for entry in environment)
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
    code = 1
    try:
        code = _decided.run(words) if _decided.is_played(words) else _ftcore(words)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _ftcore(words: list[str]) -> int:
    from ftcore.cli import main

    sys.argv = ["ftcore", *words]
    try:
        main()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
