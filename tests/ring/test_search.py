"""A search whose trials two tasks of a real Airflow share."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftcore import settings
from ftcore.store import store
from tests.integration.conftest import write_recipe

if TYPE_CHECKING:
    from ftcore.local.airflow_api import AirflowApi
    from ftcore.local.running import Running

DEADLINE_S = 420.0
SPACE = {"train.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}, "method.rank": {"choices": [2, 4]}}


@pytest.mark.timeout(900)
def test_two_tasks_share_the_trials_and_the_best_trains(home: Path, airflow: Running, tiny: Path) -> None:
    search = {"space": SPACE, "trials": 4, "random_trials": 2, "workers": 2}
    write_recipe(home, "searched", base=str(tiny / "model"), search=search)
    conf = settings.load()
    with airflow.api(conf) as api:
        api.wait_for_dags(["data__searched", "finetune__searched", "monitor__searched"])
        assert api.wait("data__searched", api.trigger("data__searched"), DEADLINE_S)["state"] == "success"
        run = api.wait_for_next("finetune__searched")
        _until_trained(api, run)
        searched = [api.record("finetune__searched", run, "search", number) for number in (0, 1)]
        tuned = api.record("finetune__searched", run, "tune")
        trained = api.record("finetune__searched", run, "train")
    assert tuned
    assert trained
    assert tuned["figures"]["trials"]["all"] == 4
    assert trained["figures"]["settings"] == tuned["figures"]["settings"]
    shelf = store.shelf(conf, "searched")
    table = json.loads((shelf.folder(trained["run_id"], "tune") / "trials.json").read_text(encoding="utf-8"))
    did = Counter(one["worker"] for one in table)
    assert [one["figures"]["trials"] for one in searched if one] == [did["1"], did["2"]]
    assert did["1"] + did["2"] == 4


def _until_trained(api: AirflowApi, run: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        states = {task["task_id"]: task["state"] for task in api.task_instances("finetune__searched", run)}
        assert "failed" not in states.values(), states
        if states.get("train") == "success":
            return
        time.sleep(1)
    raise AssertionError(f"nothing was trained: {states}")
