"""What of a recipe's store may go: snapshots that nothing needs any more, and the rows that old runs left."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot, watermarks
from ftcore.store.records import now
from ftcore.tracking.client import Tracking

if TYPE_CHECKING:
    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore


def needed(shelf: RecipeStore, tracking: Tracking) -> dict[str, str]:
    """Why snapshots stay whatever their age, by id.

    Raises:
        TransientError: MLflow does not answer.
    """
    because = dict.fromkeys(watermarks.held(shelf), "an incremental source carries rows over from it")
    because |= {
        version.snapshot: f"version {version.number} was trained on it"
        for version in tracking.versions()
        if version.snapshot
    }
    current = snapshot.current(shelf)
    return because | ({current: "it is current"} if current else {})


def prune(
    shelf: RecipeStore, settings: Settings, keep: int, older_than_days: float = 0, *, dry_run: bool
) -> dict[str, Any]:
    """Delete snapshots that nothing needs; waits for a validation or training that is at work on this machine.

    Args:
        shelf: the recipe's part of the store.
        settings: tell where the registry is.
        keep: how many of the newest stay.
        older_than_days: younger ones stay, too.
        dry_run: only say which would go.

    Returns:
        ``deleted``, ids, oldest first, and ``kept``, why the others that are old enough stay, by id.

    Raises:
        TransientError: MLflow does not answer, so nobody knows what its versions need; nothing is deleted.
        BusyError: a step is still at work after the lock's time.
    """
    before: datetime = now() - timedelta(days=older_than_days)
    with ExitStack() as held:
        for step in ("validate", "train"):
            held.enter_context(shelf.lock(step, settings.lock_timeout_s))
        used = needed(shelf, Tracking(settings, shelf.name))
        would_go = set(snapshot.prune(shelf, keep, before=before, dry_run=True))
        gone = snapshot.prune(shelf, keep, used, before=before, dry_run=dry_run)
    return {"deleted": gone, "kept": {one: why for one, why in used.items() if one in would_go}, "dry_run": dry_run}


def prune_runs(shelf: RecipeStore, older_than_days: float, *, dry_run: bool) -> dict[str, Any]:
    """Delete the rows that old runs left, which may be personal data: all Parquet files below ``runs/``.

    Records, verdicts, reports and every other evidence stay, and so do the rows of a run that wrote any of them later.

    Returns:
        ``runs``, how many files of each go, by run id, and ``size_bytes``, how much they take.
    """
    before = now() - timedelta(days=older_than_days)
    counts: dict[str, int] = {}
    size_bytes = 0
    folder = shelf.root / "runs"
    for run in sorted(folder.iterdir(), key=lambda run: run.name) if folder.exists() else []:
        files = [file for file in run.rglob("*.parquet") if file.is_file()]
        if not files or max(file.fs.modified(file.path) for file in files) >= before:
            continue
        counts[run.name] = len(files)
        size_bytes += sum(file.stat().st_size for file in files)
        for file in [] if dry_run else files:
            file.unlink()
    return {"runs": counts, "size_bytes": size_bytes, "dry_run": dry_run}
