"""Turn the whole ring under a real Airflow: history, champion, drift, retraining, a better champion."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.context import Context
from ftcore.demo import traffic
from ftcore.errors import FtcoreError
from ftcore.local import processes, programs, services
from ftcore.recipe import reading as recipes
from ftcore.store import store

if TYPE_CHECKING:
    from ftcore.local.airflow_api import AirflowApi
    from ftcore.settings import Settings

DEADLINE_S = 1800.0
"""Longest that one DAG run may take."""
SHOWN = {"success": "✔", "skipped": "■", "failed": "✘", "upstream_failed": "✘", "up_for_retry": "↻"}
STATE = ("airflow", "mlflow", "store", "data_docs", "locks", "keys")
"""What a ring leaves under ``HOME``, beside the cache."""


class DemoError(FtcoreError):
    """A task of the ring failed; the message holds the end of its log."""


@dataclass
class Ring:
    """One turn of the ring as it happened: which runs, how long, how much memory."""

    runs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """``data-1``, ``finetune-1``, ``monitor-1``, ``monitor-2``, ``data-2``, ``finetune-2`` to DAG id and run id."""
    spans_s: list[float] = field(default_factory=list)
    """Wall time of each part of the ring, in seconds, from the trigger to the end of its last task."""
    up_s: float = 0.0
    """Seconds until Airflow and MLflow answered."""
    total_s: float = 0.0
    """Seconds in all, start and stop of the services included."""
    peak_bytes: int = 0
    """Largest memory of all processes together, as proportional set size."""


def make_room(settings: Settings) -> Path | None:
    """Move what an earlier ring left under ``HOME`` aside, so that the demo starts from nothing; returns where to."""
    home = settings.home.resolve()
    found = [home / name for name in STATE if (home / name).exists()]
    if not found:
        return None
    aside = home / f"before-demo-{time.strftime('%Y%m%d-%H%M%S')}"
    aside.mkdir()
    for path in found:
        path.rename(aside / path.name)
    return aside


def turn(settings: Settings, name: str, say: Callable[[str], None], requests: Mapping[str, int] | None = None) -> Ring:
    """Turn the ring of a recipe twice, with production traffic and drift between; the services end in any case.

    Args:
        settings: where everything goes.
        name: the recipe.
        say: called with each line of progress.
        requests: how many sentences of which domains production sends; ``traffic.REQUESTS`` by default.

    Raises:
        DemoError: a task failed.
    """
    ring, clock = Ring(), time.monotonic()
    watcher = _Memory()
    try:
        state = services.up(settings, progress=say)
        ring.up_s = time.monotonic() - clock
        watcher.start(state.mark)
        with state.api(settings) as api:
            _turn(settings, name, requests or traffic.REQUESTS, api, programs.environment(settings, state), ring, say)
    finally:
        ring.peak_bytes = watcher.stop()
        say("stopping Airflow and MLflow")
        services.down(settings)
    ring.total_s = time.monotonic() - clock
    return ring


def _turn(
    settings: Settings,
    name: str,
    sent: Mapping[str, int],
    api: AirflowApi,
    env: Mapping[str, str],
    ring: Ring,
    say: Callable[[str], None],
) -> None:
    dags = {verb: f"{verb}__{name}" for verb in ("data", "finetune", "monitor")}
    api.wait_for_dags(list(dags.values()))
    started = time.monotonic()
    _follow(api, ring, "data-1", dags["data"], api.trigger(dags["data"], run_id="demo"), say)
    _follow(api, ring, "finetune-1", dags["finetune"], api.wait_for_next(dags["finetune"]), say)
    ring.spans_s.append(time.monotonic() - started)
    # The new champion is an event too: monitoring looks, and finds no traffic yet.
    _follow(api, ring, "monitor-1", dags["monitor"], api.wait_for_next(dags["monitor"]), say)

    recipe_file = settings.recipes / f"{name}.yaml"
    recipe = recipes.read(recipe_file)
    context = Context(recipe, recipe_file, "demo", "ingest", {}, store.shelf(settings, name), settings)
    requests, labels = traffic.write(context, settings.home.resolve() / "demo", sent)
    for command, file in (("score", requests), ("feedback", labels)):
        say(f"$ ftcore {command} {name} {os.path.relpath(file)}")
        done = _ftcore(env, command, str(recipe_file), str(file))
        say(f"  {done}")

    started = time.monotonic()
    known = {verb: [run["dag_run_id"] for run in api.dag_runs(dag)] for verb, dag in dags.items()}
    _follow(api, ring, "monitor-2", dags["monitor"], api.trigger(dags["monitor"], run_id="demo"), say)
    _follow(api, ring, "data-2", dags["data"], api.wait_for_next(dags["data"], known["data"]), say)
    _follow(api, ring, "finetune-2", dags["finetune"], api.wait_for_next(dags["finetune"], known["finetune"]), say)
    ring.spans_s.append(time.monotonic() - started)


def _follow(api: AirflowApi, ring: Ring, part: str, dag_id: str, run_id: str, say: Callable[[str], None]) -> None:
    """Wait for a run and say how each task ends."""
    ring.runs[part] = (dag_id, run_id)
    say(f"{dag_id}")

    def progress(task: dict[str, Any]) -> None:
        name = " ".join(filter(None, (task["task_id"], task["rendered_map_index"])))
        if task["state"] == "running":
            say(f"  … {name}")
        if (mark := SHOWN.get(task["state"])) is None:
            return
        record = api.record(dag_id, run_id, task["task_id"], task["map_index"]) if mark in "✔■" else None
        if record:
            # A person's answer is no record of a step: it says what was chosen and by whom.
            person = (record.get("responded_by_user") or {}).get("name")
            reason = record.get("reason") or f"{', '.join(record.get('chosen_options', []))}, by {person}"
            say(f"  {mark} {name}: {reason} ({task['duration'] or 0:.1f} s)")

    run = api.wait(dag_id, run_id, DEADLINE_S, progress)
    if run["state"] == "failed":
        failed = next((task for task in api.task_instances(dag_id, run_id) if task["state"] == "failed"), None)
        which = {"attempt": failed["try_number"], "map_index": failed["map_index"]} if failed else {}
        end = api.task_log(dag_id, run_id, failed["task_id"], **which) if failed else ""
        raise DemoError(f"{dag_id}.{failed['task_id'] if failed else '?'} failed; the end of its log:\n{end}")


def _ftcore(env: Mapping[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ftcore", *words], env=dict(env), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DemoError(f"ftcore {' '.join(words)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout.strip()


class _Memory:
    """Samples the memory of every process that belongs to the services, theirs and the steps'."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, mark: str) -> None:
        self._thread = threading.Thread(target=self._watch, args=(mark,), daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._over.set()
        if self._thread:
            self._thread.join(timeout=10)
        return self.peak_bytes

    def _watch(self, mark: str) -> None:
        import psutil

        while not self._over.wait(3):
            total = 0
            for pid in processes.everyone(mark, []):
                try:
                    total += psutil.Process(pid).memory_full_info().pss
                except (psutil.Error, AttributeError):  # it has ended, or this system does not count shares
                    continue
            self.peak_bytes = max(self.peak_bytes, total)
