"""Which locks of a recipe are held, by which process, and since when. A lock whose holder died is free."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from ftcore.store.store import RecipeStore


@dataclass(frozen=True)
class Held:
    """A lock that is held."""

    file: str
    """Name of its file."""
    what: str
    """What it locks, such as a step."""
    process: str
    """Number of the process, or ``unknown``."""

    @property
    def run_id(self) -> str:
        """The run that the process works on, by its command line; empty where it does not tell."""
        with suppress(OSError):
            words = Path(f"/proc/{self.process}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            return words[words.index("--run") + 1] if "--run" in words[:-1] else ""
        return ""

    @property
    def age_s(self) -> float:
        """Seconds since the process was started; 0 where nobody knows."""
        with suppress(OSError, ValueError, IndexError):
            ticks = float(Path(f"/proc/{self.process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19])
            uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
            return max(0.0, uptime - ticks / os.sysconf("SC_CLK_TCK"))
        return 0.0


def held(shelf: RecipeStore) -> Iterator[Held]:
    """The locks of a recipe that are held, by name."""
    for path in sorted(shelf.locks.glob(f"{shelf.name}.*.lock")):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
            lock.release()
        except Timeout:
            yield Held(path.name, path.name.removeprefix(f"{shelf.name}.").removesuffix(".lock"), _holder(path))


def _holder(path: Path) -> str:
    """Who holds a lock, by Linux's table of locks."""
    with suppress(OSError):
        inode = str(path.stat().st_ino)
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()
            if "FLOCK" in words and words[-3].endswith(f":{inode}"):
                return words[-4]
    return "unknown"
