"""The whole ring under a real Airflow, each step started as anywhere, the first time.

MLflow, Great Expectations, Evidently and ONNX Runtime are the real ones.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path

import pytest

from ftcore import settings
from ftcore.demo import ring, summary
from ftcore.local import airflow_config, processes, services
from ftcore.local.airflow_api import AirflowApi
from ftcore.registry import integrity
from ftcore.store import store
from ftcore.tracking.client import Tracking
from tests.integration.conftest import write_recipe
from tests.ring.conftest import COLD

NAME = COLD.removesuffix(".yaml")


@pytest.mark.timeout(900)
def test_drift_puts_a_better_model_in_production_and_a_person_agrees(home: Path) -> None:
    """Admin starts data and looks by hand, so what their events train is for somebody else to approve: for mira."""
    write_recipe(home, NAME, approval={"required": 1})
    conf = settings.load()
    said: list[str] = []
    marks: list[str] = []
    over = threading.Event()
    person = threading.Thread(target=_approve_everything, args=(over, marks), daemon=True)
    person.start()
    try:
        turned = ring.turn(conf, NAME, said.append, {"tweets": 160, "amazon": 60})
    finally:
        over.set()
        person.join(timeout=30)
    found = summary.read(conf, NAME, turned)

    assert found["aliases"] == {"champion": 2, "previous": 1}, "\n".join(said)
    assert found["drift"]["alarms"] >= 1
    assert found["snapshots"][1]["rows"] > found["snapshots"][0]["rows"] > 300, "the feedback came in"
    made_by = Counter((line["kind"], line["decision"]) for line in found["decisions"])
    assert made_by[("plan", "train")] == 2
    assert made_by[("decide", "retrain")] == 1
    assert made_by[("promote", "promoted")] == 2
    plans = [line for line in found["decisions"] if line["kind"] == "plan"]
    asked = next(line for line in found["decisions"] if line["kind"] == "decide")
    assert plans[1]["answers"] == asked["run_id"], "the retraining answers the request of monitoring"
    assert found["time"]["ring_wall_s"] > found["time"]["work_s"] > 0
    assert found["exports"]["size_share"] < 0.3
    for path in ("data_docs", "drift_report", "evidence", "prediction_log"):
        assert Path(found["paths"][path]).exists(), path

    versions = Tracking(conf, NAME).versions()
    assert [version.number for version in versions] == [2, 1]
    assert all(version.tags["ftcore.approved_by"] == "mira" for version in versions), versions
    shelf = store.shelf(conf, NAME)
    assert {tuple(line["started_by"]) for line in shelf.ledger("plan")} == {("admin",)}
    refused = [line["reason"] for line in shelf.ledger("approve") if line["decision"] == "refused"]
    assert refused == ["admin started this run and cannot approve its result"]
    assert integrity.check(shelf, Tracking(conf, NAME)) == []
    assert versions[0].snapshot == found["snapshots"][1]["snapshot"]
    assert marks, "the services ran"
    assert not processes.everyone(marks[0], []), "every process has ended"


def _approve_everything(over: threading.Event, marks: list[str]) -> None:
    """Admin answers the first question, in vain; mira every one."""
    tried = False
    while not over.wait(3):  # each look is a login
        conf = settings.load()
        state = services.running(conf)
        if state is None:
            continue
        marks[:] = [state.mark]
        try:
            folder = airflow_config.airflow_home(conf)
            password = json.loads((folder / airflow_config.PASSWORDS).read_text())["mira"]
            with state.api(conf) as admin, AirflowApi(state.airflow_url, "mira", password) as mira:
                for question in mira.questions():
                    task = question["task_instance"]
                    who, tried = (mira if tried else admin), True
                    who.answer(task["dag_id"], task["dag_run_id"], task["task_id"], "Approve")
        except Exception as error:  # the services come and go meanwhile; the ring's own assertions tell
            print(f"not answered: {error}")
