"""How many registries are inconsistent after promotions that were killed at random instants, before and after doctor.

The step ``promote`` runs in a process of its own against a real MLflow server and is ended by ``kill -9``. A registry
is consistent when the aliases, the version's tags and the ledger say the same, and nothing is left half done. After
each kill the step is run again, as Airflow does, and must end in the promotion.

The process is forked from this one, which has promoted before: so it begins its work at once, and every kill falls into
the promotion and none into seconds of imports.
"""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import random
import signal
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from ftcore import pipeline
from ftcore.registry import doctor, intents, versions
from ftcore.registry.promotion import ModelRegistry
from tests.bench._measure import Result, machine
from tests.bench._registry import judged
from tests.bench._registry import registry as started

KILLS = 100
LONGEST_S = 120.0


def run() -> Result:
    """Kill ``KILLS`` promotions; ours is the number that is inconsistent after doctor, the baseline before it."""
    logging.getLogger("ftcore").setLevel(logging.ERROR)
    chosen, clock = random.Random(7), time.perf_counter()
    before, after, killed, ended = 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as registrar:
        path = Path(folder) / "recipes" / "bench.yaml"
        pipeline.run_step("promote", path, judged(registrar, 1))
        whole_s = _promote(path, judged(registrar, 2), LONGEST_S)
        for number in itertools.count(3):
            run_id = judged(registrar, number)
            if (ended_s := _promote(path, run_id, chosen.uniform(0, whole_s))) >= 0:
                ended, whole_s = ended + 1, ended_s  # it was faster than the kill
            else:
                killed += 1
                before += not _is_consistent(registrar, number)
                doctor.mend(registrar)
                after += not _is_consistent(registrar, number)
            pipeline.run_step("promote", path, run_id)
            assert _is_consistent(registrar, number)
            assert versions.crowned(registrar.shelf) == number, "the step that is run again ends in the promotion"
            if killed == KILLS:
                break
    seconds = time.perf_counter() - clock
    note = (
        f"without doctor; one promotion takes {whole_s:.2f} s, {ended} more were faster than their kill, "
        f"and all of this took {seconds:.0f} s"
    )
    unit = "inconsistent registries, less is better"
    return Result("promote_kills", unit, after, before, after / max(before, 1), KILLS, 0, machine(), note)


def _promote(path: Path, run_id: str, kill_after_s: float) -> float:
    """Run the step in a process; returns how long it took, or a negative number where it was killed on the way."""
    forks = multiprocessing.get_context("fork")
    mine, its = forks.Pipe(duplex=False)
    process = forks.Process(target=_child, args=(its, path, run_id))
    process.start()
    its.close()
    mine.recv()
    clock = time.perf_counter()
    process.join(kill_after_s)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), "it fails by itself"
    return time.perf_counter() - clock if process.exitcode == 0 else -1.0


def _child(ready: Connection, path: Path, run_id: str) -> None:
    ready.send(True)
    pipeline.run_step("promote", path, run_id)


def _is_consistent(registrar: ModelRegistry, number: int) -> bool:
    """Whether all say that version ``number`` was promoted after the one before, or all that it was not."""
    aliases = versions.book(registrar.tracking).model.aliases
    tags = registrar.tracking.version(number).tags
    line = registrar.shelf.line("promote", f"run-{number}")
    told = {
        line is not None and line["decision"] == "promoted",
        aliases.get("champion") == number,
        aliases.get("previous") == number - 1 if number > 2 else aliases.get("champion") == number,
        "ftcore.promoted_at" in tags,
    }
    return len(told) == 1 and not list(intents.pending(registrar.shelf))
