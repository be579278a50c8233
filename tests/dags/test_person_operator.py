"""The tasks that wait for people, against a small program in place of the step: who is asked, and what follows."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput

from ftcore import settings
from ftcore.store import keys
from ftcore_airflow.approval import FORM, PersonOperator
from ftcore_airflow.retry import StepFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.dag_processing.dagbag import DagBag

PROGRAM = """
import json, pathlib, sys
here = pathlib.Path(__file__).parent
with (here / "asked.jsonl").open("a") as file:
    file.write(json.dumps(dict(word[8:].split("=", 1) for word in sys.argv if word.startswith("--param="))) + "\\n")
answers = json.loads((here / "answers.json").read_text())
record = {"step": "approve", "run_id": "r1", "reason": "so it is", "work_s": 0, "import_s": 0}
print(json.dumps({**record, **answers.pop(0)}))
(here / "answers.json").write_text(json.dumps(answers))
"""
ASKED = {"dag_id": "finetune__r", "run_id": "manual__1", "started_by": ["starter"]}
"""What the step is told of the run."""
RECIPES = Path(__file__).parents[2] / "dags" / "recipes"


def said(
    approvals: int, *, rejected: bool = False, held: bool = False, refused: str = "", request: str = "| ✔ | {{ 1 }} |"
) -> dict[str, Any]:
    """A record of the step."""
    figures = {
        "version": 1,
        "verdict": "v1",
        "approvals": approvals,
        "rejected": rejected,
        "held": held,
        "refused": refused,
    }
    figures["request"] = request
    return {"proceed": False, "figures": figures}


class State(dict[str, Any]):
    """What a task keeps while it waits."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


class Asked:
    """A task, what the step answers in turn, and what it was told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, place: int, *records: dict[str, Any]) -> None:
        from airflow.providers.standard.operators import hitl

        self.folder = folder
        (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
        (folder / "answers.json").write_text(json.dumps(records), encoding="utf-8")
        monkeypatch.setenv("FTCORE_STEP_COMMAND", f"{sys.executable} {folder / 'program.py'}")
        self.questions: list[dict[str, Any]] = []
        monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **detail: self.questions.append(detail))
        with DAG("finetune__r", schedule=None):
            self.operator = PersonOperator(
                task_id="approve", recipe_file="r.yaml", place=place, subject="Promote?", params=FORM
            )
        monkeypatch.setenv("FTCORE_HOME", str(folder / "home"))
        dag_run = SimpleNamespace(dag_id="finetune__r", run_id="manual__1", triggering_user_name="starter")
        task = SimpleNamespace(id="ti", task_id="approve", map_index=-1, try_number=2)
        self.context: Any = {"dag_run": dag_run, "task_instance": task, "task_state_store": State()}

    def begin(self) -> Any:
        return PersonOperator.execute.__wrapped__(self.operator, self.context)  # type: ignore[attr-defined]

    def answer(self, option: str, reason: str = "") -> Any:
        event = {
            "chosen_options": [option],
            "params_input": {"reason": reason},
            "responded_at": datetime(2026, 1, 1, tzinfo=UTC),
            "responded_by_user": {"id": "7", "name": "mira"},
        }
        return self.operator.execute_complete(self.context, event)

    def told(self) -> list[dict[str, Any]]:
        """What the step was told each time, with what was sealed opened."""
        ring = keys.ring(settings.load())
        told = [json.loads(line) for line in (self.folder / "asked.jsonl").read_text().splitlines()]
        return [{key: ring.opened(text) if text[0] == "{" else text for key, text in one.items()} for one in told]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asked]:
    return lambda place, *records: Asked(tmp_path, monkeypatch, place, *records)


def test_a_version_that_is_approved_is_not_asked_about(asked: Callable[..., Asked]) -> None:
    task = asked(2, said(2))
    assert task.begin()["figures"]["approvals"] == 2
    assert task.questions == []


def test_the_question_is_what_the_step_wrote_and_is_not_rendered(asked: Callable[..., Asked]) -> None:
    task = asked(1, said(0))
    with pytest.raises(TaskAwaitingInput):
        task.begin()
    (question,) = task.questions
    assert question["body"] == "| ✔ | {{ 1 }} |"
    assert question["options"] == ["Approve", "Reject"]
    assert question["defaults"] is None, "silence must not approve"
    assert task.told() == [{"asked": ASKED, "pages": "/plugin/models/ftcore"}]
    assert set(question["params"]) == {"reason"}


def test_an_approval_is_handed_to_the_step_with_the_name_and_who_started_the_run(
    asked: Callable[..., Asked],
) -> None:
    task = asked(1, said(0), said(1))
    with pytest.raises(TaskAwaitingInput):
        task.begin()
    assert task.answer("Approve", "fine")["figures"]["approvals"] == 1
    record = {
        "dag_id": "finetune__r",
        "run_id": "manual__1",
        "task_id": "approve",
        "map_index": -1,
        "try_number": 2,
        "task_instance": "ti",
        "responded_at": "2026-01-01T00:00:00+00:00",
        "responded_by_user": {"id": "7", "name": "mira"},
        "chosen_options": ["Approve"],
        "params_input": {"reason": "fine"},
        "started_by": ["starter"],
        "verdict": "v1",
    }
    assert task.told()[1] == {"answer": record, "asked": ASKED, "pages": "/plugin/models/ftcore"}


@pytest.mark.parametrize("option", ["Approve", "Reject"])
def test_an_answer_that_does_not_count_leaves_the_question_open(asked: Callable[..., Asked], option: str) -> None:
    task = asked(2, said(1, refused="mira has approved already"))
    with pytest.raises(TaskAwaitingInput):
        task.answer(option)
    said_first = "**The last answer was not counted: mira has approved already.**\n\n"
    assert [question["body"] for question in task.questions] == [f"{said_first}| ✔ | {{{{ 1 }}}} |"]


def test_an_answer_of_who_is_asked_no_more_ends_it_and_says_what_others_do(
    asked: Callable[..., Asked],
) -> None:
    task = asked(1, said(0, refused="mira is not among those who may approve: jon"))
    task.operator.assigned_users = [{"id": "jon", "name": "jon"}]
    with pytest.raises(StepFailed, match="may approve: jon; it is for them to run ftcore models promote r 1, after"):
        task.answer("Approve")
    assert task.questions == []


def test_a_rejection_skips_what_comes_after(asked: Callable[..., Asked]) -> None:
    task = asked(1, said(0, rejected=True))
    with pytest.raises(AirflowSkipException, match="so it is"):
        task.answer("Reject", "worse")
    assert task.told()[0]["answer"]["chosen_options"] == ["Reject"]


def test_under_a_hold_nobody_is_asked(asked: Callable[..., Asked]) -> None:
    task = asked(1, said(0, held=True))
    with pytest.raises(AirflowSkipException, match="so it is"):
        task.begin()
    assert task.questions == []


def test_silence_is_written_down_and_fails(asked: Callable[..., Asked]) -> None:
    task = asked(1, said(0))
    with pytest.raises(HITLTimeoutError):
        task.operator.execute_complete(task.context, {"error": "no response", "error_type": "timeout"})
    assert list(task.told()[0]) == ["unanswered_h"]


@pytest.fixture(scope="module")
def two(parse: Callable[[Path, str], DagBag], tmp_path_factory: pytest.TempPathFactory) -> DagBag:
    """The DAGs of a recipe that asks for two people."""
    folder = tmp_path_factory.mktemp("recipes")
    document = yaml.safe_load((RECIPES / "sentiment.yaml").read_text(encoding="utf-8"))
    document |= {"name": "two", "approval": {"required": 2, "assigned": ["mira", "jon"], "timeout_h": 1}}
    (folder / "two.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return parse(folder, "two")


def test_two_people_are_two_questions_one_after_the_other(two: DagBag) -> None:
    assert two.import_errors == {}
    dag = two.dags["finetune__two"]
    first, second = dag.get_task("approve"), dag.get_task("approve_second")
    assert (first.downstream_task_ids, second.downstream_task_ids) == ({"approve_second"}, {"promote"})
    for place, task in enumerate((first, second), start=1):
        assert task.place == place
        assert task.assigned_users == [{"id": "mira", "name": "mira"}, {"id": "jon", "name": "jon"}]
        assert task.response_timeout.total_seconds() == 3600
        assert task.defaults is None
        assert list(task.serialized_params) == ["reason"]
