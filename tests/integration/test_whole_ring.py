"""The whole ring under a real Airflow, with real MLflow, Great Expectations, Evidently and ONNX Runtime."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest

from ftcore import settings
from ftcore.demo import ring, summary
from ftcore.local import processes, services
from ftcore.tracking import Tracking
from tests.integration.conftest import write_recipe


@pytest.mark.ring
@pytest.mark.timeout(600)
def test_drift_puts_a_better_model_in_production_and_a_person_agrees(home: Path) -> None:
    write_recipe(home, approval={"required": 1})
    conf = settings.load()
    said: list[str] = []
    marks: list[str] = []
    over = threading.Event()
    person = threading.Thread(target=_approve_everything, args=(over, marks), daemon=True)
    person.start()
    try:
        turned = ring.turn(conf, "small", said.append, {"tweets": 160, "amazon": 60})
    finally:
        over.set()
        person.join(timeout=30)
    found = summary.read(conf, "small", turned)

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

    versions = Tracking(conf, "small").versions()
    assert [version.number for version in versions] == [2, 1]
    assert all(version.tags["ftcore.approved_by"] == "admin" for version in versions), versions
    assert versions[0].snapshot == found["snapshots"][1]["snapshot"]
    assert marks, "the services ran"
    assert not processes.everyone(marks[0], []), "every process has ended"


def _approve_everything(over: threading.Event, marks: list[str]) -> None:
    """What the person does: answers each question with Approve."""
    while not over.wait(1):
        conf = settings.load()
        state = services.running(conf)
        if state is None:
            continue
        marks[:] = [state.mark]
        try:
            with state.api(conf) as api:
                for question in api.questions():
                    task = question["task_instance"]
                    api.answer(task["dag_id"], task["dag_run_id"], task["task_id"], "Approve")
        except Exception as error:  # the services come and go meanwhile; the ring's own assertions tell
            print(f"not answered: {error}")
