"""Checkpoints that are whole: sealed by a list of their files' hashes, tied to what they were trained on, pruned."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ftcore.errors import TrainingError
from ftcore.store.store import write_json

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

SEAL = "seal.json"
"""Written last: a checkpoint without it is half of one."""
PREFIX = "checkpoint-"
LEAST_FREE = 2**20
"""Bytes below which a disk is full."""


def found(folder: Path) -> list[Path]:
    """All checkpoints in a folder, the newest last, whole or not."""
    named = [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()]
    return sorted(named, key=lambda path: int(path.name.removeprefix(PREFIX)))


def seal(checkpoint: Path, identity: str) -> None:
    """Note the hash of every file, and what the checkpoint belongs to."""
    files = {
        path.relative_to(checkpoint).as_posix(): _digest(path)
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name != SEAL
    }
    write_json(checkpoint / SEAL, {"identity": identity, "files": files})


def prune(folder: Path, best: str | None, keep: int = 2) -> None:
    """Delete all but the newest ``keep`` sealed checkpoints and the best one, and what was left half written."""
    sealed = [path for path in found(folder) if (path / SEAL).is_file()]
    kept = {path.name for path in sealed[-keep:]} | {Path(best).name if best else ""}
    for path in found(folder):
        if path.name not in kept:
            shutil.rmtree(path)


def last(folder: Path, identity: str) -> Path | None:
    """The newest checkpoint that is whole; None where there is none. Damaged ones are said and passed over.

    Raises:
        TrainingError: the checkpoints belong to another recipe, base model or snapshot.
    """
    for path in reversed(found(folder)):
        try:
            sealed = json.loads((path / SEAL).read_text(encoding="utf-8"))
            damaged = [name for name, digest in sealed["files"].items() if _digest(path / name) != digest]
        except FileNotFoundError as error:
            log.warning("%s is incomplete, it has no %s: passed over", path.name, Path(str(error.filename)).name)
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read (%s): passed over", path.name, error)
            continue
        if damaged:
            log.warning("%s is damaged (%s): passed over", path.name, ", ".join(damaged))
            continue
        if sealed["identity"] != identity:
            raise TrainingError(
                f"{path} was made with another recipe, base model or snapshot",
                hint=f"start a new run, or delete {folder}",
            )
        return path
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(folder: Path, checkpoint: Path) -> Iterator[None]:
    """Turn a failed write into one clear error; what was half written goes, the checkpoints before it stay.

    Raises:
        TrainingError: the disk is full, or cannot be written.
    """
    try:
        yield
    except Exception as error:
        if not _is_about_writing(error):
            raise
        full = shutil.disk_usage(folder).free < LEAST_FREE  # torch tells where it stood, not why
        shutil.rmtree(checkpoint, ignore_errors=True)
        before = [path.name for path in found(folder)]
        kept = f"{before[-1]} is kept, and the run goes on from it when it is run again" if before else "there is none"
        raise TrainingError(
            f"{checkpoint.name} could not be written: {'the disk is full' if full else error}",
            hint=f"make room in {folder}; {kept}",
        ) from error


def _is_about_writing(error: Exception) -> bool:
    """OSError from Python, and what torch and safetensors make of one."""
    words = ("PytorchStreamWriter failed", "I/O error", "os error", "file write failed", "unexpected pos")
    return isinstance(error, OSError) or any(word in str(error) for word in words)
