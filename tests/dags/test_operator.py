"""The operator, against a small program that stands in for ftcore: what it is told, and how each ending is taken."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowSkipException

from ftcore.store.store import run_name
from ftcore_airflow.assets import newest
from ftcore_airflow.operator import FIGURES_BYTES, StepOperator, small
from ftcore_airflow.retry import KILLS, RETRIES, StepFailed, StepInterrupted

PROGRAM = """
import json, os, subprocess, sys, time
record = {"step": sys.argv[2], "recipe": "r", "run_id": sys.argv[5], "proceed": True, "reason": "done",
          "figures": {"snapshot": "abc", "rows": 7, "verdict": "passed"}, "paths": {"secret": "s3://"},
          "argv": sys.argv[1:], "environment": sorted(os.environ), "work_s": 0.1, "import_s": 0.0}
"""


class Run:
    """A task to execute, and what became of it."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, body: str, state: Any = None, **arguments: Any
    ) -> None:
        program = folder / "program.py"
        program.write_text(PROGRAM + body, encoding="utf-8")
        monkeypatch.setenv("FTCORE_STEP_COMMAND", f"{sys.executable} {program}")
        with DAG("data__r", schedule=None):
            self.operator = StepOperator(task_id="validate", recipe_file="r.yaml", **arguments)
        self.pushed: dict[str, Any] = {}
        self.events: dict[Any, SimpleNamespace] = {asset: SimpleNamespace(extra={}) for asset in self.operator.outlets}
        self.context: Any = {
            "dag_run": SimpleNamespace(run_id="manual__1"),
            "ti": SimpleNamespace(try_number=1, xcom_push=lambda key, value: self.pushed.update({key: value})),
            "outlet_events": self.events,
            "task_state_store": state,
        }

    def __call__(self) -> dict[str, Any]:
        return StepOperator.execute.__wrapped__(self.operator, self.context)  # type: ignore[attr-defined,no-any-return]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a task that runs a program."""
    return lambda body, **arguments: Run(tmp_path, monkeypatch, body, **arguments)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """What the task logs, each line with the moment it came."""
    lines: list[tuple[float, str]] = []

    def info(text: str, *values: Any) -> None:
        lines.append((time.monotonic(), text % (values[0] if values and isinstance(values[0], dict) else values)))

    log = SimpleNamespace(info=info)
    monkeypatch.setattr(StepOperator, "log", log)
    return lines


def test_success_hands_back_the_small_record_and_fills_the_event(run: Any) -> None:
    asset = Asset(name="r.snapshot", uri="ftcore://r/snapshot")
    task = run("print(json.dumps(record))", outlets=[asset])
    record = task()
    assert set(record) == {"step", "run_id", "proceed", "reason", "figures", "work_s", "import_s"}
    assert task.events[asset].extra == {"snapshot": "abc", "rows": 7, "verdict": "passed"}


def test_a_figure_that_the_event_needs_must_be_there(run: Any) -> None:
    body = "del record['figures']['rows']; print(json.dumps(record))"
    with pytest.raises(StepFailed, match="rows"):
        run(body, outlets=[Asset(name="r.snapshot", uri="ftcore://r/snapshot")])()


def test_command_line_and_environment(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "secret")
    seen = tmp_path / "seen.json"
    task = run(f"open({str(seen)!r}, 'w').write(json.dumps(record)); print(json.dumps(record))")
    task.operator.ask = {"train": "always", "snapshot": ""}
    task()
    found = json.loads(seen.read_text(encoding="utf-8"))
    assert found["argv"] == ["step", "validate", "r.yaml", "--run", "data-manual__1", "--param=train=always", "--json"]
    assert not [name for name in found["environment"] if name.startswith("AIRFLOW__")]


def test_a_shard_is_a_parameter_and_a_task_may_be_called_otherwise_than_its_step(run: Any) -> None:
    task = run("record['figures']['argv'] = sys.argv[1:]; print(json.dumps(record))", step="ingest", shard="00-files")
    assert task()["figures"]["argv"][:2] == ["step", "ingest"]
    assert "--param=shard=00-files" in task()["figures"]["argv"]


def test_a_figure_is_handed_on_whole_for_tasks_to_be_mapped_over(run: Any) -> None:
    body = f"record['figures']['shards'] = ['x' * 60] * {FIGURES_BYTES // 60}; print(json.dumps(record))"
    assert len(run(body, mapped_output="shards")()) == FIGURES_BYTES // 60


def test_a_step_that_is_killed_each_time_is_given_up_and_an_outage_is_not(run: Any) -> None:
    kept: dict[str, Any] = {}
    state = SimpleNamespace(get=kept.get, set=kept.__setitem__)
    for _ in range(KILLS):
        with pytest.raises(StepInterrupted, match="signal 9"):
            run("os.kill(os.getpid(), 9)", state=state)()
        with pytest.raises(StepInterrupted):
            run("sys.exit(75)", state=state)()
    with pytest.raises(StepFailed, match=f"killed by signal 9, {KILLS + 1} times"):
        run("os.kill(os.getpid(), 9)", state=state)()


def test_a_record_that_says_no_skips_and_stays_visible(
    run: Any,
    logged: list[tuple[float, str]],
) -> None:
    task = run("record.update(proceed=False, reason='too few new rows'); print(json.dumps(record))")
    with pytest.raises(AirflowSkipException, match="too few new rows"):
        task()
    assert task.pushed["return_value"]["proceed"] is False
    assert any('"proceed": false' in text for _, text in logged)


@pytest.mark.parametrize(
    ("body", "error", "action"),
    [
        ("sys.exit(75)", StepInterrupted, RetryAction.DEFAULT),
        ("os.kill(os.getpid(), 9)", StepInterrupted, RetryAction.DEFAULT),
        ("sys.exit(1)", StepFailed, RetryAction.FAIL),
        ("sys.exit(2)", StepFailed, RetryAction.FAIL),
        ("sys.exit(3)", StepFailed, RetryAction.FAIL),
        ("print('no record')", StepFailed, RetryAction.FAIL),
    ],
)
def test_only_failures_that_may_pass_are_tried_again(
    run: Any,
    body: str,
    error: type[Exception],
    action: RetryAction,
) -> None:
    with pytest.raises(error) as raised:
        run(body)()
    assert RETRIES["retry_policy"].evaluate(raised.value, 1, 3).action is action


def test_the_reason_of_a_failure_is_in_its_message(run: Any) -> None:
    with pytest.raises(StepFailed, match="exit code 3: snapshot rejected"):
        run("print('snapshot rejected', file=sys.stderr); sys.exit(3)")()


def test_lines_are_logged_as_they_come(run: Any, logged: list[tuple[float, str]]) -> None:
    run("print('first', file=sys.stderr); time.sleep(2); print(json.dumps(record))")()
    at = next(moment for moment, text in logged if text == "first")
    assert time.monotonic() - at > 0.5


def test_progress_is_kept_where_airflow_shows_it(run: Any, logged: list[tuple[float, str]]) -> None:
    body = """
from ftcore import progress
progress.EVERY_S = 0
with progress.progress("training", 40) as advance:
    advance(3, "loss 0.5", loss=0.5, checkpoint="checkpoint-2")
    advance(1)
print(json.dumps(record))
"""
    kept: list[tuple[str, dict[str, Any]]] = []
    task = run(body)
    task.context["task_state_store"] = SimpleNamespace(set=lambda key, value: kept.append((key, value)))
    task()
    assert [(key, value["done"], value["total"]) for key, value in kept] == [("progress", 3, 40), ("progress", 4, 40)]
    assert kept[1][1] == {**kept[0][1], "done": 4, "left_s": kept[1][1]["left_s"]}
    assert (kept[0][1]["loss"], kept[0][1]["checkpoint"]) == (0.5, "checkpoint-2")
    assert any(text.startswith("training 4/40, 0 s left  loss 0.5") for _, text in logged)


def test_a_state_store_that_is_away_ends_nothing(run: Any) -> None:
    def away(key: str, value: object) -> None:
        raise ConnectionError

    task = run(
        "from ftcore import progress; progress.EVERY_S = 0\n"
        "with progress.progress('x', 2) as advance: advance(2)\nprint(json.dumps(record))"
    )
    task.context["task_state_store"] = SimpleNamespace(set=away)
    assert task()["proceed"] is True


def test_what_a_step_leaves_running_is_ended_and_holds_nothing_up(run: Any, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    body = f"child = subprocess.Popen(['sleep', '60']); open({str(pid_file)!r}, 'w').write(str(child.pid))"
    run(body + "; print(json.dumps(record))")()
    assert _ends(int(pid_file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("deaf", [False, True], ids=["obeys", "ignores SIGTERM"])
def test_on_kill_ends_the_whole_group(
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    deaf: bool,
) -> None:
    monkeypatch.setattr("ftcore_airflow.operator.GRACE_S", 0.5)
    pid_file = tmp_path / "pid"
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if deaf else ""
    body = f"{ignore}child = subprocess.Popen(['sleep', '60'])\n"
    task = run(body + f"open({str(pid_file)!r}, 'w').write(str(child.pid) + '.')\ntime.sleep(60)")
    # As Airflow does: a signal interrupts the main thread while it waits for the step.
    previous = signal.signal(signal.SIGTERM, lambda *_: task.operator.on_kill())

    def send_when_started() -> None:
        while not (pid_file.exists() and pid_file.read_text(encoding="utf-8").endswith(".")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=send_when_started, daemon=True).start()
    try:
        with pytest.raises(StepInterrupted, match="signal 9" if deaf else "signal 15"):
            task()
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert _ends(int(pid_file.read_text(encoding="utf-8").rstrip(".")))


def _ends(pid: int) -> bool:
    for _ in range(300):  # the child sleeps for a minute
        try:
            if Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


def test_large_tables_stay_out_of_airflows_database() -> None:
    figures = {"accuracy": 0.9, "table": ["x" * 10] * FIGURES_BYTES}
    assert small({"figures": figures})["figures"] == {"accuracy": 0.9}


def test_run_ids_are_path_safe_and_differ() -> None:
    ids = [
        "manual__2026-01-01T00:00:00+00:00",
        "manual__2026-01-01T00-00-00-00-00",
        "a/../b",
        "x" * 250,
        "x" * 251,
        "ok",
    ]
    names = [run_name("data", run_id) for run_id in ids]
    assert len(set(names)) == len(ids)
    assert all(len(name) <= 120 and set("/:+ ").isdisjoint(name) for name in names)
    assert names[-1] == "data-ok"
    assert names == [run_name("data", run_id) for run_id in ids]


def test_the_newest_event_is_the_one_that_counts() -> None:
    asset = Asset(name="r.snapshot", uri="ftcore://r/snapshot")
    events = [SimpleNamespace(timestamp=t, extra={"snapshot": f"s{t}"}) for t in (2, 3, 1)]
    assert newest({asset: events}, "snapshot") == "s3"
    assert newest({}, "snapshot") == ""
