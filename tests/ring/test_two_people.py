"""People approve under a real Airflow; no other answer counts, not one of who left, and clearing forgets nothing."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ftcore import settings
from ftcore.errors import FtcoreError
from ftcore.local import airflow_config, processes, services
from ftcore.local.airflow_api import AirflowApi, AirflowApiError
from ftcore.local.programs import API
from ftcore.recipe import reading
from ftcore.registry import integrity, login, rights
from ftcore.registry.promotion import ModelRegistry
from ftcore.store import store
from ftcore.tracking.client import Tracking
from tests.integration.conftest import write_recipe
from tests.ring.conftest import PEOPLE

TWO, LEFT = "decided_by_two", "decided_by_one_who_left"
RUN, WAIT_S = "by-hand", 180.0


@pytest.mark.timeout(900)
def test_two_people_and_neither_is_the_one_who_started_it(home: Path, airflow: services.Running) -> None:
    write_recipe(home, TWO, approval={"required": 2})
    conf = settings.load()
    passwords, dag = _passwords(conf), f"finetune__{TWO}"
    with ExitStack() as clients:
        people = {
            name: clients.enter_context(AirflowApi(airflow.airflow_url, name, passwords[name]))
            for name in ("admin", "mira", "jon", "vera")
        }
        _approve(people)
        _check(conf)
        admin = people["admin"]
        admin.clear(dag, RUN, ["approve", "approve_second", "promote"])
        assert admin.wait(dag, RUN, WAIT_S)["state"] == "success"
        assert admin.questions(dag, RUN) == [], "nobody was asked again"
        assert len(_lines(conf, TWO, "promote")) == 1


@pytest.mark.timeout(900)
def test_an_approver_who_left_approves_nothing_and_another_promotes_by_hand(
    home: Path, airflow: services.Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Her account is deleted while the question waits for her; her session of before is still open."""
    write_recipe(home, LEFT, approval={"required": 1, "assigned": ["zoe"]})
    conf, dag = settings.load(), f"finetune__{LEFT}"
    with ExitStack() as clients:
        admin = clients.enter_context(airflow.api(conf))
        zoe = clients.enter_context(AirflowApi(airflow.airflow_url, "zoe", _passwords(conf)["zoe"]))
        admin.wait_for_dags([dag])
        admin.trigger(dag, run_id=RUN)
        assert _asked(admin, LEFT, "approve")["assigned_users"] == [{"id": "zoe", "name": "zoe"}]
        assert len(zoe.questions(dag, RUN)) == 1, "she is logged in"

        hers = _passwords(conf)["zoe"]
        monkeypatch.setenv("FTCORE_AIRFLOW_USERS", PEOPLE.replace("zoe:op, ", ""))
        write_recipe(home, LEFT, approval={"required": 1, "assigned": ["jon"]})
        conf = settings.load()
        _restart_the_api(conf, airflow)
        again = clients.enter_context(AirflowApi(airflow.airflow_url, "zoe", hers))
        with pytest.raises(AirflowApiError, match="login as zoe: 401"):
            again.questions(dag, RUN)
        zoe.answer(dag, RUN, "approve", "Approve")  # Airflow takes her token until it expires
        _refused(LEFT, 1)
        assert _lines(conf, LEFT, "approve")[0]["reason"] == "zoe is not among those who may approve: jon"
        assert admin.wait(dag, RUN, WAIT_S)["state"] == "failed"
        version = Tracking(conf, LEFT).version(1)
        assert not [key for key in version.tags if "approval." in key]
        assert Tracking(conf, LEFT).alias("champion") is None
    shelf = store.shelf(conf, LEFT)
    registrar = ModelRegistry(reading.read(home.parent / "recipes" / f"{LEFT}.yaml"), shelf, Tracking(conf, LEFT))
    _promote_by_hand(conf, registrar)
    champion = Tracking(conf, LEFT).alias("champion")
    assert champion is not None
    assert champion.tags["ftcore.approved_by"] == "jon"


def _restart_the_api(conf: settings.Settings, state: services.Running) -> None:
    """Airflow's own people are read when its API server starts."""
    processes.ask(state.pids[API])
    assert processes.wait(lambda: services.running(conf) is None, WAIT_S)
    assert services.up(conf).airflow_url == state.airflow_url


def _promote_by_hand(conf: settings.Settings, registrar: ModelRegistry) -> None:
    """A typed name is no approval; a login is one, as long as it lasts."""
    with pytest.raises(FtcoreError, match="needs 1 approval"):
        registrar.promote(1, "jon")
    with pytest.raises(FtcoreError, match="does not log jon in: 401"):
        login.log_in(conf, "jon", "wrong")
    assert login.log_in(conf, "jon", _passwords(conf)["jon"]).name == "jon"
    assert (conf.home / login.FILE).stat().st_mode & 0o077 == 0
    login.log_in(conf, "vera", _passwords(conf)["vera"])
    with pytest.raises(FtcoreError, match=f"vera may not answer what finetune__{LEFT} asks in Airflow"):
        rights.approver(conf, LEFT)
    for right, words in (
        (rights.HOLD, f"edit finetune__{LEFT}"),
        (rights.CHANGE, f"answer what finetune__{LEFT} asks"),
    ):
        with pytest.raises(FtcoreError, match=f"vera may not {words}"):
            rights.decider(conf, LEFT, right)
    login.log_in(conf, "jon", _passwords(conf)["jon"])
    assert rights.decider(conf, LEFT, rights.HOLD).name == "jon"
    registrar.promote(1, rights.decider(conf, LEFT, rights.CHANGE))
    assert _lines(conf, LEFT, "approve")[-1]["witness"]["user"] == {"id": "jon", "name": "jon"}
    assert login.log_out(conf)
    assert not login.whoever(conf).logged_in


def _passwords(conf: settings.Settings) -> dict[str, str]:
    found: dict[str, str] = json.loads((airflow_config.airflow_home(conf) / airflow_config.PASSWORDS).read_text())
    return found


def _approve(people: dict[str, AirflowApi]) -> None:
    admin, dag = people["admin"], f"finetune__{TWO}"
    admin.wait_for_dags([dag])
    admin.trigger(dag, run_id=RUN)
    first = _asked(admin, TWO, "approve")
    assert "| ✔ | threshold | 0.9 | 0.8 |" in first["body"]
    assert "[The model's page](/plugin/models/ftcore/models/decided_by_two/versions/1)" in first["body"]
    assert re.search(r"\[MLflow run\]\(http://[^)]+/#/experiments/\d+/runs/[0-9a-f]{32}\)", first["body"])

    admin.answer(dag, RUN, "approve", "Approve")
    _refused(TWO, 1)
    _asked(admin, TWO, "approve")
    people["mira"].answer(dag, RUN, "approve", "Reject", reason="")
    _refused(TWO, 2)
    _asked(admin, TWO, "approve")
    with pytest.raises(AirflowApiError, match="403"):
        people["vera"].answer(dag, RUN, "approve", "Approve")
    people["mira"].answer(dag, RUN, "approve", "Approve", reason="better on tweets")

    assert "mira approved" in _asked(admin, TWO, "approve_second")["body"]
    people["mira"].answer(dag, RUN, "approve_second", "Approve")
    _refused(TWO, 3)
    _asked(admin, TWO, "approve_second")
    people["jon"].answer(dag, RUN, "approve_second", "Approve")
    assert admin.wait(dag, RUN, WAIT_S)["state"] == "success"


def _check(conf: settings.Settings) -> None:
    version = Tracking(conf, TWO).alias("champion")
    assert version is not None
    assert version.tags["ftcore.approved_by"] == "mira, jon"
    assert [line["decision"] for line in _lines(conf, TWO, "approve")] == [
        "refused",
        "refused",
        "approved",
        "refused",
        "approved",
    ]
    assert _lines(conf, TWO, "approve")[0]["reason"] == "admin started this run and cannot approve its result"
    line = _lines(conf, TWO, "approve")[2]
    assert line["reason"] == "mira approved version 1: better on tweets"
    witness = line["witness"]
    assert (witness["dag_id"], witness["task_id"], witness["responded_by_user"]["name"]) == (
        f"finetune__{TWO}",
        "approve",
        "mira",
    )
    assert (witness["started_by"], line["answered_at"]) == (["admin"], witness["responded_at"])
    assert witness["verdict"] == line["verdict_sha256"] == version.tags["ftcore.verdict.sha256"]
    assert integrity.check(store.shelf(conf, TWO), Tracking(conf, TWO)) == []


def _asked(api: AirflowApi, recipe: str, task: str) -> dict[str, Any]:
    """The question that a task asks, once it does."""
    found: list[dict[str, Any]] = []
    dag = f"finetune__{recipe}"

    def there() -> bool:
        found[:] = [one for one in api.questions(dag, RUN) if one["task_instance"]["task_id"] == task]
        return bool(found)

    if not processes.wait(there, WAIT_S):
        states = [(one["task_id"], one["state"]) for one in api.task_instances(dag, RUN)]
        pytest.fail(f"{task} asks nobody: {states}, {_lines(settings.load(), recipe, 'approve')}")
    return found[0]


def _refused(recipe: str, times: int) -> None:
    conf = settings.load()

    def until() -> bool:
        return sum(line["decision"] == "refused" for line in _lines(conf, recipe, "approve")) == times

    assert processes.wait(until, WAIT_S), _lines(conf, recipe, "approve")


def _lines(conf: settings.Settings, recipe: str, kind: str) -> list[dict[str, Any]]:
    return [line for line in store.shelf(conf, recipe).ledger(kind) if line["decision"] != "asked"]
