"""What Airflow starts for a step in these tests: it hands the step to the process that has its imports done.

Each step of the whole ring is started as anywhere else, the first time. Run as a file, with the standard library alone.
"""

import os
import signal
import socket
import sys

SOCKET, COLD = sys.argv[1], sys.argv[2]
WORDS = sys.argv[3:]


def main() -> None:
    """Be the step: its output, its signals, its exit code."""
    if os.path.basename(WORDS[2]) == COLD and _is_first():  # noqa: PTH119 - pathlib takes as long as all the rest
        os.execv(sys.executable, [sys.executable, "-m", "ftcore", *WORDS])  # noqa: S606
    there = socket.socket(socket.AF_UNIX)
    there.connect(SOCKET)
    signal.signal(signal.SIGTERM, lambda *_: there.send(b"T"))
    variables = [f"{name}={value}" for name, value in os.environ.items()]
    said = "\0".join([os.getcwd(), str(len(WORDS)), *WORDS, *variables])  # noqa: PTH109
    data = said.encode(errors="surrogateescape")
    socket.send_fds(there, [len(data).to_bytes(4, "big")], [1, 2])
    there.sendall(data)
    code = int(there.recv(16) or b"-9")  # killed with the server
    if code < 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _is_first() -> bool:
    try:
        os.close(os.open(f"{SOCKET}-{WORDS[1]}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


main()
