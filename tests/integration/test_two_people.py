"""People approve under a real Airflow; no other answer counts, not one of who left, and clearing forgets nothing."""

from __future__ import annotations

import json
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ftcore import settings
from ftcore.errors import FtcoreError
from ftcore.local import airflow_config, processes, services
from ftcore.local.airflow_api import AirflowApi, AirflowApiError
from ftcore.recipe import reading
from ftcore.registry import integrity, login, rights
from ftcore.registry.promotion import Registrar
from ftcore.store import store
from ftcore.tracking.client import Tracking
from tests.integration.conftest import write_recipe

STEPS = '''
"""Plans, trains and judges in no time; approve and promote are the real steps."""
import json, pathlib, sys

from ftcore import cli, pipeline, settings
from ftcore.recipe import reading as recipe
from ftcore.registry.judgement import record_verdict
from ftcore.registry.promotion import Registrar
from ftcore.registry.verdict import Rule, Verdict
from ftcore.store import store
from ftcore.store.records import Record, now
from ftcore.tracking.client import Tracking

step, file, run_id = sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[5]
if step in ("approve", "promote"):
    cli.main()
    raise SystemExit
read, conf = recipe.read(file), settings.load()
shelf, tracking = store.shelf(conf, read.name), Tracking(conf, read.name)
figures = {}
if step == "gate":
    version = tracking.register(run_id, tracking.open_run(run_id, {}), "model", {})
    rule = Rule(gate="threshold", passed=True, reason="0.9 reaches 0.8", measured=0.9, bound=0.8, rows=900)
    verdict = Verdict(passed=True, rules=(rule,), candidate=version.number, champion=None)
    store.write_json(shelf.folder(run_id, "gate") / "verdict.json", verdict.to_json())
    path = shelf.folder(run_id, "gate") / "verdict.json"
    record_verdict(Registrar(read, shelf, tracking), run_id, verdict, store.hash_file(path))
    figures = verdict.to_json()
record = Record(step=step, recipe=read.name, run_id=run_id, fingerprint="", started_at=now(), figures=figures)
shelf.write_record(record)
print(record.model_dump_json())
'''
DAG, RUN, WAIT_S = "finetune__small", "by-hand", 180.0


@pytest.mark.ring
@pytest.mark.timeout(400)
def test_two_people_and_neither_is_the_one_who_started_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = home.parent / "steps.py"
    program.write_text(STEPS, encoding="utf-8")
    monkeypatch.setenv("FTCORE_STEP_COMMAND", f"{sys.executable} {program}")
    users = "admin:admin,mira:op,jon:op,vera:viewer"
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", users)
    write_recipe(home, approval={"required": 2})
    conf = settings.load()
    try:
        state = services.up(conf)
        passwords = _passwords(conf)
        with ExitStack() as clients:
            people = {
                name: clients.enter_context(AirflowApi(state.airflow_url, name, passwords[name]))
                for name in ("admin", "mira", "jon", "vera")
            }
            _approve(people)
            _check(conf)
            admin = people["admin"]
            admin.clear(DAG, RUN, ["approve", "approve_second", "promote"])
            assert admin.wait(DAG, RUN, WAIT_S)["state"] == "success"
            assert admin.questions(DAG, RUN) == [], "nobody was asked again"
            assert len(_lines(conf, "promote")) == 1
    finally:
        services.down(conf)


@pytest.mark.ring
@pytest.mark.timeout(400)
def test_an_approver_who_left_approves_nothing_and_another_promotes_by_hand(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Her account is deleted while the question waits for her; her session of before is still open."""
    program = home.parent / "steps.py"
    program.write_text(STEPS, encoding="utf-8")
    monkeypatch.setenv("FTCORE_STEP_COMMAND", f"{sys.executable} {program}")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin,mira:op")
    write_recipe(home, approval={"required": 1, "assigned": ["mira"]})
    conf = settings.load()
    try:
        with ExitStack() as clients:
            state = services.up(conf)
            hers = _passwords(conf)["mira"]
            mira = clients.enter_context(AirflowApi(state.airflow_url, "mira", hers))
            with state.api(conf) as admin:
                admin.wait_for_dags([DAG])
                admin.trigger(DAG, run_id=RUN)
                assert _asked(admin, "approve")["assigned_users"] == [{"id": "mira", "name": "mira"}]
            assert len(mira.questions(DAG, RUN)) == 1, "she is logged in"
            services.down(conf)

            monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin,jon:op,vera:viewer")
            write_recipe(home, approval={"required": 1, "assigned": ["jon"]})
            state = services.up(conf)
            admin = clients.enter_context(state.api(conf))
            again = clients.enter_context(AirflowApi(state.airflow_url, "mira", hers))
            with pytest.raises(AirflowApiError, match="login as mira: 401"):
                again.questions(DAG, RUN)
            mira._client.base_url = state.airflow_url
            mira.answer(DAG, RUN, "approve", "Approve")  # Airflow takes her token until it expires
            _refused(1)
            assert _lines(conf, "approve")[0]["reason"] == "mira is not among those who may approve: jon"
            assert admin.wait(DAG, RUN, WAIT_S)["state"] == "failed"
            version = Tracking(conf, "small").version(1)
            assert not [key for key in version.tags if "approval." in key]
            assert Tracking(conf, "small").alias("champion") is None
        shelf = store.shelf(conf, "small")
        registrar = Registrar(reading.read(home.parent / "recipes" / "small.yaml"), shelf, Tracking(conf, "small"))
        _promote_by_hand(conf, registrar)
        champion = Tracking(conf, "small").alias("champion")
        assert champion is not None
        assert champion.tags["ftcore.approved_by"] == "jon"
    finally:
        services.down(conf)


def _promote_by_hand(conf: settings.Settings, registrar: Registrar) -> None:
    """A typed name is no approval; a login is one, as long as it lasts."""
    with pytest.raises(FtcoreError, match="needs 1 approval"):
        registrar.promote(1, "jon")
    with pytest.raises(FtcoreError, match="does not log jon in: 401"):
        login.log_in(conf, "jon", "wrong")
    assert login.log_in(conf, "jon", _passwords(conf)["jon"]).name == "jon"
    assert (conf.home / login.FILE).stat().st_mode & 0o077 == 0
    login.log_in(conf, "vera", _passwords(conf)["vera"])
    with pytest.raises(FtcoreError, match="vera may not answer what finetune__small asks in Airflow"):
        rights.approver(conf, "small")
    for right, words in ((rights.HOLD, "edit finetune__small"), (rights.CHANGE, "answer what finetune__small asks")):
        with pytest.raises(FtcoreError, match=f"vera may not {words}"):
            rights.decider(conf, "small", right)
    login.log_in(conf, "jon", _passwords(conf)["jon"])
    assert rights.decider(conf, "small", rights.HOLD).name == "jon"
    registrar.promote(1, rights.decider(conf, "small", rights.CHANGE))
    assert _lines(conf, "approve")[-1]["witness"]["user"] == {"id": "jon", "name": "jon"}
    assert login.log_out(conf)
    assert not login.whoever(conf).logged_in


def _passwords(conf: settings.Settings) -> dict[str, str]:
    found: dict[str, str] = json.loads((airflow_config.airflow_home(conf) / airflow_config.PASSWORDS).read_text())
    return found


def _approve(people: dict[str, AirflowApi]) -> None:
    admin = people["admin"]
    admin.wait_for_dags([DAG])
    admin.trigger(DAG, run_id=RUN)
    first = _asked(admin, "approve")
    assert "| ✔ | threshold | 0.9 | 0.8 |" in first["body"]
    assert "[The model's page](/plugin/models/ftcore/models/small/versions/1)" in first["body"]
    assert re.search(r"\[MLflow run\]\(http://[^)]+/#/experiments/\d+/runs/[0-9a-f]{32}\)", first["body"])

    admin.answer(DAG, RUN, "approve", "Approve")
    _refused(1)
    _asked(admin, "approve")
    people["mira"].answer(DAG, RUN, "approve", "Reject", reason="")
    _refused(2)
    _asked(admin, "approve")
    with pytest.raises(AirflowApiError, match="403"):
        people["vera"].answer(DAG, RUN, "approve", "Approve")
    people["mira"].answer(DAG, RUN, "approve", "Approve", reason="better on tweets")

    assert "mira approved" in _asked(admin, "approve_second")["body"]
    people["mira"].answer(DAG, RUN, "approve_second", "Approve")
    _refused(3)
    _asked(admin, "approve_second")
    people["jon"].answer(DAG, RUN, "approve_second", "Approve")
    assert admin.wait(DAG, RUN, WAIT_S)["state"] == "success"


def _check(conf: settings.Settings) -> None:
    version = Tracking(conf, "small").alias("champion")
    assert version is not None
    assert version.tags["ftcore.approved_by"] == "mira, jon"
    assert [line["decision"] for line in _lines(conf, "approve")] == [
        "refused",
        "refused",
        "approved",
        "refused",
        "approved",
    ]
    assert _lines(conf, "approve")[0]["reason"] == "admin started this run and cannot approve its result"
    line = _lines(conf, "approve")[2]
    assert line["reason"] == "mira approved version 1: better on tweets"
    witness = line["witness"]
    assert (witness["dag_id"], witness["task_id"], witness["responded_by_user"]["name"]) == (DAG, "approve", "mira")
    assert (witness["started_by"], line["answered_at"]) == (["admin"], witness["responded_at"])
    assert witness["verdict"] == line["verdict_sha256"] == version.tags["ftcore.verdict.sha256"]
    assert integrity.check(store.shelf(conf, "small"), Tracking(conf, "small")) == []


def _asked(api: AirflowApi, task: str) -> dict[str, Any]:
    """The question that a task asks, once it does."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [one for one in api.questions(DAG, RUN) if one["task_instance"]["task_id"] == task]
        return bool(found)

    if not processes.wait(there, WAIT_S):
        states = [(one["task_id"], one["state"]) for one in api.task_instances(DAG, RUN)]
        pytest.fail(f"{task} asks nobody: {states}, {_lines(settings.load(), 'approve')}")
    return found[0]


def _refused(times: int) -> None:
    conf = settings.load()

    def until() -> bool:
        return sum(line["decision"] == "refused" for line in _lines(conf, "approve")) == times

    assert processes.wait(until, WAIT_S), _lines(conf, "approve")


def _lines(conf: settings.Settings, kind: str) -> list[dict[str, Any]]:
    return [line for line in store.shelf(conf, "small").ledger(kind) if line["decision"] != "asked"]
