"""What a promoted version goes by stays as it is: the steps that led to it are not done again in their runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ftcore.errors import FtcoreError
from ftcore.registry import served
from ftcore.store.files import mapping, read_bytes

if TYPE_CHECKING:
    from ftcore.store.store import RecipeStore

DATA, FINETUNE = ("ingest", "prepare", "validate"), ("plan", "tune", "train", "export", "evaluate", "gate")
"""Steps whose records, files and artefacts a verdict seals, or is."""


def check(shelf: RecipeStore, run_id: str, step: str) -> None:
    """Refuse to do a step again in a run that led to a version which was promoted.

    Raises:
        FtcoreError: it did, and the step would write over what the version serves with or was judged by.
    """
    number = version_of(shelf, run_id, step)
    if number is not None:
        raise FtcoreError(
            f"{step} is not done again in run {run_id}: version {number} was promoted with what it left there",
            hint=f"start another run: ftcore run {shelf.name} --run NAME; if the run's files were changed, "
            "restore them from a backup",
        )


def version_of(shelf: RecipeStore, run_id: str, step: str) -> int | None:
    """The version that was promoted with what a step left in a run; None where there is none."""
    if step not in (*DATA, *FINETUNE):
        return None
    promised = {one.version for one in served.promises(shelf) if one}
    if not promised:
        return None
    verdicts = [line for line in shelf.ledger("gate") if line.get("candidate") in promised]
    there = (shelf.folder(run_id, step) / "record.json").exists()
    if step in DATA:
        made = (line["candidate"] for line in verdicts if there and _data_run(shelf, line) == run_id)
        return next(made, None)
    for line in verdicts:
        if line["run_id"] == run_id and (there or f"finetune/{step}" in line.get("records", ())):
            return int(line["candidate"])
    trained = _trained(shelf, run_id)
    return trained if there and trained in promised else None


def _data_run(shelf: RecipeStore, verdict: dict[str, Any]) -> str:
    """The run that published the snapshot that a version was trained on."""
    identity = str(verdict.get("facts", {}).get("ftcore.snapshot", ""))
    data = read_bytes(shelf.root / "snapshots" / identity / "manifest.json") if identity.isalnum() else None
    return str(mapping(data).get("run_id") or "")


def _trained(shelf: RecipeStore, run_id: str) -> int | None:
    """The version that a run trained; one that was promoted by hand may have no verdict."""
    try:
        record = shelf.record(run_id, "train")
    except (FtcoreError, ValidationError):
        return None
    number = record.figures.get("version") if record else None
    return number if isinstance(number, int) else None
