"""A shared ingest and a backfill under a real Airflow, asked for through its REST API as its UI does."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftcore import settings
from ftcore.data import snapshot
from ftcore.local import processes, services
from ftcore.store import store
from tests.integration.conftest import write_recipe

if TYPE_CHECKING:
    from ftcore.local.airflow_api import AirflowApi
    from ftcore.local.running import Running
    from ftcore.settings import Settings

FIRST = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROWS = {0: 120, 1: 90, 2: 3}
"""By day; the third has too few to be published."""
DEADLINE_S = 240.0


@pytest.mark.timeout(900)
def test_a_backfill_publishes_each_period_and_leaves_the_current_snapshot_alone(
    home: Path, airflow: Running, told: tuple[int, list[str]]
) -> None:
    _write_days(home.parent / "recipes")
    source = {"kind": "files", "path": "day-*.csv", "observed_at": "at"}
    changes = {"prepare": {"near_duplicates": None}, "validation": {"min_rows": 50}}
    write_recipe(home, "filled", sources=[source], schedule={"data": "0 0 * * *"}, **changes)
    conf = settings.load()
    with airflow.api(conf) as api:
        api.wait_for_dags(["data__filled", "finetune__filled", "monitor__filled"])
        api.pause("finetune__filled")
        _one_run_shared(api, conf)
        shelf = store.shelf(conf, "filled")
        current = snapshot.current(shelf)
        api.backfill("data__filled", datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 4, tzinfo=UTC))
        runs = _ended(api, 3)
        events = api.asset_events("filled.snapshot")

    assert [run["state"] for run in runs] == ["success", "success", "failed"]
    assert snapshot.current(shelf) == current
    assert len(events) == 1, "a backfill asks for no training"
    periods = {one["period"]["since"][:10]: one for one in snapshot.ls(shelf) if "period" in one}
    assert {day: (one["rows_in"], one["current"]) for day, one in periods.items()} == {
        "2026-01-01": (ROWS[0], False),
        "2026-01-02": (ROWS[1], False),
    }
    assert not (shelf.root / "state" / "watermarks.json").exists()
    (text,) = [text for text in told[1] if text.startswith("data__filled: ")]
    assert text.startswith("data__filled: validate failed\n")
    assert "the data of filled is rejected" in text
    assert "report: " in text
    assert "hint: nothing was published" in text
    assert "/dags/data__filled/runs/backfill__2026-01-04" in text


def _one_run_shared(api: AirflowApi, conf: Settings) -> None:
    """A run that a person starts: one task a shard, and an event that says what was published.

    In the middle of it the scheduler is killed: the task goes on under the next one, and all is there once.
    """
    api.trigger("data__filled", run_id="first")
    _lose_the_scheduler(conf, api)
    assert api.wait("data__filled", "first", DEADLINE_S)["state"] == "success"
    tasks = api.task_instances("data__filled", "first")
    shards = sorted(task["rendered_map_index"] for task in tasks if task["task_id"] == "ingest")
    assert len(shards) >= 2
    assert shards[0].startswith("00-files-000-day-0")
    assert all(
        api.record("data__filled", "first", "ingest", number)["figures"]["rows"] for number in range(len(shards))
    )
    joined = api.task_log("data__filled", "first", "collect", lines=200)
    assert joined.count("took over") == len(shards), joined
    (event,) = api.asset_events("filled.snapshot")
    record: Any = api.record("data__filled", "first", "validate")
    assert event["extra"] == {key: record["figures"][key] for key in ("snapshot", "rows", "verdict")}
    assert event["extra"]["verdict"].startswith("passed")
    api.clear("data__filled", "first", ["validate"])  # as where the end of a task was lost on the way to Airflow
    assert api.wait("data__filled", "first", DEADLINE_S)["state"] == "success"
    (attempt,) = (
        one["try_number"] for one in api.task_instances("data__filled", "first") if one["task_id"] == "validate"
    )
    log = api.task_log("data__filled", "first", "validate", attempt=attempt)
    assert "has emitted the event of filled.snapshot already" in log
    assert len(api.asset_events("filled.snapshot")) == 1, "a second event would start the training twice"


def _lose_the_scheduler(conf: Settings, api: AirflowApi) -> None:
    def state() -> tuple[str | None, int]:
        tasks = {task["task_id"]: task for task in api.task_instances("data__filled", "first")}
        return tasks["validate"]["state"], tasks["validate"]["try_number"]

    assert processes.wait(lambda: state()[0] == "running", DEADLINE_S)
    before = services.state(conf)
    os.kill(before.pids["airflow-scheduler"], signal.SIGKILL)
    lost_at = time.monotonic()
    assert processes.wait(lambda: services.running(conf) is None, 10)
    after = services.up(conf)
    assert (after.airflow_url, after.mlflow_url) == (before.airflow_url, before.mlflow_url)
    assert {name for name in before.pids if after.pids[name] != before.pids[name]} == {"airflow-scheduler"}
    up_s = time.monotonic() - lost_at
    assert processes.wait(lambda: state()[0] == "success" or state() == ("running", 2), 60), state()
    assert time.monotonic() - lost_at - up_s < 60, "what was interrupted is tried again within a minute"


def _ended(api: AirflowApi, count: int) -> list[dict[str, Any]]:
    """The backfill's runs in the order of their dates, once they have all ended."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        runs = [run for run in api.dag_runs("data__filled") if run["run_type"] == "backfill"]
        if len(runs) == count and all(run["state"] in {"success", "failed"} for run in runs):
            return sorted(runs, key=lambda run: run["logical_date"])
        time.sleep(1)
    raise AssertionError(f"the backfill did not end: {runs}")


def _write_days(folder: Path) -> None:
    for day, rows in ROWS.items():
        at = FIRST + timedelta(days=day)
        lines = [
            f"{word} number {n} of day {day} was {('awful', 'lovely')[n % 2]} {n * 7919 + day:x},"
            f"{('negative', 'positive')[n % 2]},{(at + timedelta(seconds=n)).isoformat()}"
            for n, word in zip(range(rows), ("film", "book", "song", "play") * rows, strict=False)
        ]
        (folder / f"day-{day}.csv").write_text("text,label,at\n" + "\n".join(lines), encoding="utf-8")
