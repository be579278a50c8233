"""Files that MLflow keeps for a run, as they are now, no cache believed. Beside ``tracking.py`` the door to MLflow."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftcore.tracking.client import Tracking
from ftcore.tracking.server import plainly

NOTE, COMPILED = "registered_model_meta", "__pycache__"
"""What MLflow leaves in an artefact folder on this machine that it loads a model from: a note, and compiled code where
the model was saved with ``CODE`` beside it. Neither belongs to what was promoted."""
CODE = "tracking_pyfunc.py"
"""The model as code, which an earlier ftcore left beside the weights."""

LONGEST = 250
"""Characters of an artefact's name."""


@plainly
def size(tracking: Tracking, run: str, artefact: str) -> str:
    """Files and bytes of an artefact folder as ``FILES/BYTES``, by MLflow's listing alone.

    Returns:
        Empty where there is no file; ``FILES/?`` where the store does not tell sizes.

    Raises:
        TransientError: MLflow does not answer.
    """
    files, known, folders = 0, 0, [artefact] if _is_name(artefact) else []
    told = True
    stored = tracking.stored(run)
    while folders:
        listed = {one.path.rpartition("/")[2]: one for one in stored.list_artifacts(folders.pop())}
        for name, one in listed.items():
            if name == NOTE or (name == COMPILED and CODE in listed):
                continue
            if one.is_dir:
                folders.append(one.path)
                continue
            files += 1
            told = told and one.file_size is not None
            known += one.file_size or 0
    return f"{files}/{known if told else '?'}" if files else ""


def _is_name(artefact: str) -> bool:
    """Whether an artefact can have this name; whoever writes tags may name any, such as one outside of its run."""
    parts = artefact.split("/")
    return artefact.isprintable() and len(artefact) <= LONGEST and not {"", ".", ".."} & set(parts)


def without_mlflows_own(folder: Path) -> Path:
    """Take away what MLflow leaves in an artefact folder on this machine when it loads a model from there."""
    for path in sorted(folder.rglob("*"), reverse=True):
        compiled = path.name == COMPILED and (path.parent / CODE).exists()
        if (path.name == NOTE or compiled) and not path.is_symlink():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


@contextmanager
def fresh(tracking: Tracking, run: str, artefact: str) -> Iterator[Path | None]:
    """A copy of an artefact folder that nobody else reads, gone when the ``with`` ends; None where there is none.

    Raises:
        TransientError: MLflow does not answer.
    """
    place = tracking.settings.cache
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=".fresh-") as folder:
        with tracking.translate_errors():
            stored = tracking.stored(run)
            there = _is_name(artefact) and any(stored.list_artifacts(artefact))
            got = without_mlflows_own(Path(stored.download_artifacts(artefact, folder))) if there else None
        yield got
