"""One run of one of the three DAGs: what each step said, and what it left to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftcore.pipeline import RING
from ftcore_airflow.pages import reading, reports

if TYPE_CHECKING:
    from ftcore.store.store import RecipeStore


@dataclass(frozen=True)
class Step:
    """What one step left."""

    name: str
    word: str
    look: str
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """The steps of a run, in order, and what there is to see."""

    run_id: str
    verb: str
    steps: Sequence[Step]
    version: int | None
    reports: Sequence[str]


def run(shelf: RecipeStore, run_id: str) -> Run:
    """A run of the store.

    Raises:
        FtcoreError: the run id could leave the store.
    """
    verb = run_id.partition("-")[0]
    names = RING.get(verb) or tuple(step for steps in RING.values() for step in steps)
    steps = [_step(shelf, run_id, name) for name in names]
    done = {step.name: step.record for step in steps if step.record}
    version = (done.get("train", {}).get("figures") or {}).get("version")
    there = {step.name for step in steps if step.word in ("done", "stopped")}
    left = [kind for kind, (step, _) in reports.KINDS.items() if step in there and reports.find(shelf, kind, run_id)]
    return Run(run_id, verb, steps, version if isinstance(version, int) else None, left)


def _step(shelf: RecipeStore, run_id: str, name: str) -> Step:
    shelf.folder(run_id, name)  # refuses a bad id, whatever is there
    try:
        record = reading.record(shelf, run_id, name)
    except reading.UnreadableError as error:
        return Step(name, "unreadable", "bad", {"reason": str(error)})
    if record is None:
        return Step(name, "not yet", "calm", {})
    return Step(name, "done", "good", record) if record.get("proceed", True) else Step(name, "stopped", "wait", record)
