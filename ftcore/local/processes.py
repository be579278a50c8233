"""Long-running processes that can be found again and ended to the last one.

Every process started here carries a mark in its environment, and its children inherit it. A process id alone says
little: it may have been given to somebody else, and a child that made a session of its own has left the group.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

MARK = "FTCORE_SERVICES"
"""Environment variable that names the ``up`` which a process belongs to."""
STEP = "FTCORE_STEP"
"""Environment variable of the processes of a step, which may have something to save before they end."""
LOOKS = 5
"""How often to look again for the environment of a program: in its first moment the system shows none."""
_STARTED: dict[int, tuple[subprocess.Popen[bytes], str]] = {}
"""Processes that this one started, and so has to wait for once they have ended, with their marks."""


def start(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
    """Start a process in a session of its own, its output appended to ``log``; returns its process id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            start_new_session=True,
        )
    _STARTED[process.pid] = (process, environment.get(MARK, ""))
    return process.pid


def is_alive(pid: int, mark: str) -> bool:
    """Whether the process runs and is ours."""
    _reap(pid)
    if pid in _STARTED:
        return _STARTED[pid][1] == mark
    if sys.platform == "linux":
        return _mark_of(pid) == mark
    with suppress(OSError):  # pragma: no cover - no /proc to look into
        os.kill(pid, 0)
        return True
    return False


def everyone(mark: str, pids: Sequence[int]) -> set[int]:
    """Ids of all live processes that carry the mark, whoever their parent is; without ``/proc`` those of ``pids``."""
    if sys.platform == "linux":
        found = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())  # noqa: PTH208 - 5x Path.iterdir
        return {pid for pid in found if pid != os.getpid() and _mark_of(pid) == mark}
    return {pid for pid in pids if is_alive(pid, mark)}  # pragma: no cover


def strays(mark: str, pids: Collection[int]) -> set[int]:
    """Processes with the mark that none of ``pids`` started: what services that died have left behind."""
    if sys.platform != "linux":  # pragma: no cover
        return set()
    return {pid for pid in everyone(mark, ()) if not _descends(pid, pids)}


def tree(pid: int) -> set[int]:
    """A process and all that it started, directly or not; without ``/proc`` the process alone."""
    if sys.platform != "linux":  # pragma: no cover
        return {pid}
    found = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())  # noqa: PTH208 - 5x Path.iterdir
    return {one for one in found if _descends(one, (pid,))}


def steps(mark: str) -> set[int]:
    """Processes of running steps."""
    return {pid for pid in everyone(mark, ()) if _variable(pid, STEP) is not None}


def drain(busy: Callable[[], set[int]], over: Callable[[], bool], grace_s: float) -> bool:
    """Ask steps to end, each once, and wait for it; whoever comes later is asked as well.

    Args:
        busy: the steps that still run.
        over: whether nobody is left who could start another.
        grace_s: how long to wait.

    Returns:
        False when the time is up.
    """
    asked: set[int] = set()

    def done() -> bool:
        running = busy()
        _signal(running - asked, signal.SIGTERM)
        asked.update(running)
        return not running and over()

    return wait(done, grace_s)


def end(mark: str, pids: Sequence[int], grace_s: float) -> int:
    """Ask every process to end, insist after ``grace_s``; returns how many there were."""
    return end_all(lambda: everyone(mark, pids), grace_s)


def end_all(find: Callable[[], set[int]], grace_s: float) -> int:
    """Ask the processes that ``find`` gives to end, insist after ``grace_s``; returns how many there were."""
    first = find()
    if first:
        _signal(first, signal.SIGTERM)
        _signal(first, signal.SIGCONT)  # one that is stopped would not hear it
        wait(lambda: not find(), grace_s, every_s=0.1)
    kill_all(find)
    return len(first)


def inner(pids: Collection[int]) -> set[int]:
    """Those of the processes whose parent is one of them: what an orphan still works on."""
    return {pid for pid in pids if _parent(pid) in pids}


def kill_all(find: Callable[[], set[int]]) -> None:
    """End the processes that ``find`` gives, at once and without a word."""
    deadline = time.monotonic() + 5
    # Again and again: what is killed may have started another a moment before.
    while (left := find()) and time.monotonic() < deadline:
        _signal(left, signal.SIGKILL)
        time.sleep(0.05)
    for pid in list(_STARTED):
        _reap(pid)


def ask(pid: int) -> None:
    """Ask one process to end."""
    _signal({pid}, signal.SIGTERM)


def wait(until: Callable[[], bool], deadline_s: float, every_s: float = 0.2) -> bool:
    """Poll until something is true; returns False when the time is up."""
    deadline = time.monotonic() + deadline_s
    while not until():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every_s)
    return True


def tail(log: Path, lines: int = 30) -> str:
    """The end of a log file."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64_000))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            if sys.platform == "linux":
                os.kill(pid, number)
            else:  # pragma: no cover - only the first of each group is known
                os.killpg(pid, number)


def _mark_of(pid: int) -> str | None:
    """The mark of a live process; a zombie has no environment any more, so it counts as gone."""
    return _variable(pid, MARK)


def _parent(pid: int) -> int:
    """Id of a process's parent; 0 where it has ended."""
    try:
        return int(
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
        )
    except (OSError, ValueError, IndexError):
        return 0


def _descends(pid: int, ancestors: Collection[int]) -> bool:
    """Whether a process is one of ``ancestors`` or was started by one of them."""
    while pid > 1 and pid not in ancestors:
        pid = _parent(pid)
    return pid in ancestors


def _variable(pid: int, name: str) -> str | None:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        for _ in range(LOOKS):
            if environment or not _has_memory(pid):
                break
            time.sleep(0.001)
            environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    for entry in environment.split(b"\0"):
        if entry.startswith(name.encode() + b"="):
            return entry.decode(errors="replace").partition("=")[2]
    return None


def _has_memory(pid: int) -> bool:
    """Whether it is a program that runs: neither a zombie nor a part of the kernel, which have no environment."""
    return b"VmSize:" in Path(f"/proc/{pid}/status").read_bytes()


def _reap(pid: int) -> None:
    if pid in _STARTED and _STARTED[pid][0].poll() is not None:
        del _STARTED[pid]
