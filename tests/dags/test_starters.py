"""Who started a run whose event started another: nobody approves what came of what they started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ftcore_airflow.starters import BY_API, GONE, MORE, MOST, starters


def run(dag_id: str, user: str | None = None, *events: tuple[str, str | None]) -> Any:
    """A run that events of runs have started; each is the asset's name and the DAG that emitted it."""
    consumed = [
        SimpleNamespace(
            asset=SimpleNamespace(name=f"r.{asset}"), source_dag_id=source, source_run_id=source and f"{source}-run"
        )
        for asset, source in events
    ]
    return SimpleNamespace(
        dag_id=dag_id, run_id=f"{dag_id}-run", triggering_user_name=user, consumed_asset_events=consumed
    )


def found(*runs: Any) -> list[str]:
    known = {(one.dag_id, one.run_id): one for one in runs}
    return starters(runs[0], lambda dag_id, run_id: known[dag_id, run_id])


def test_a_run_by_hand_and_one_by_schedule() -> None:
    assert found(run("finetune__r", "mira")) == ["mira"]
    assert found(run("finetune__r")) == []


def test_who_started_the_data_started_the_training() -> None:
    assert found(run("finetune__r", None, ("snapshot", "data__r")), run("data__r", "mira")) == ["mira"]


def test_the_chain_is_followed_to_the_look_that_asked_for_it() -> None:
    runs = run("finetune__r", None, ("snapshot", "data__r")), run("data__r", None, ("retrain", "monitor__r"))
    assert found(*runs, run("monitor__r", "jon")) == ["jon"]


def test_a_champion_that_was_decided_about_starts_nothing_anew() -> None:
    """Else whoever started the first run of all could approve none of its descendants, for ever."""
    runs = run("finetune__r", None, ("snapshot", "data__r")), run("data__r", None, ("retrain", "monitor__r"))
    assert found(*runs, run("monitor__r", None, ("champion", "finetune__r"))) == []


def test_several_events_have_several_starters_and_circles_end() -> None:
    first = run("finetune__r", "ada", ("snapshot", "data__r"), ("snapshot", "data__q"))
    assert found(first, run("data__r", "mira"), run("data__q", "mira", ("snapshot", "data__q"))) == ["ada", "mira"]


def test_an_event_that_no_run_emitted_is_told() -> None:
    assert found(run("finetune__r", None, ("snapshot", None))) == [BY_API]


def test_a_run_that_airflow_has_deleted_is_told() -> None:
    first = run("finetune__r", "ada", ("snapshot", "data__r"))
    assert starters(first, lambda dag_id, run_id: None) == ["ada", GONE]


def test_a_chain_without_an_end_is_told() -> None:
    made = 0

    def longer(dag_id: str, run_id: str) -> Any:
        nonlocal made
        made += 1
        return run(dag_id, None, ("snapshot", f"data__{made}"))

    assert starters(longer("finetune__r", ""), longer) == [MORE]
    assert made <= MOST + 1
