"""Every recipe has the ring's three DAGs, whichever recipes there are."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from airflow.sdk import AssetOrTimeSchedule
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import TimeRestriction
from airflow.utils.types import DagRunType

from ftcore.recipe.reading import files, read
from ftcore_airflow.assets import Assets, cron_or_asset
from ftcore_airflow.backfill import period_by
from ftcore_airflow.retry import RETRIES

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

RECIPES = files(Path(__file__).parents[2] / "dags" / "recipes")
RING = {
    "data": ("shard", "ingest", "collect", "prepare", "validate"),
    "finetune": ("plan", "tune", "train", "export", "evaluate", "gate", "approve", "promote"),
    "monitor": ("watch", "decide"),
}
EMITS = {"validate": "snapshot", "promote": "champion", "decide": "retrain"}
every_dag = pytest.mark.parametrize(
    ("verb", "recipe"), [pytest.param(v, r, id=f"{v}__{r.stem}") for r in RECIPES for v in RING]
)


def test_nothing_else_and_no_errors(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == {f"{verb}__{recipe.stem}" for verb in RING for recipe in RECIPES}


@every_dag
def test_tasks_and_edges_are_the_ring(bag: DagBag, verb: str, recipe: Path) -> None:
    dag = bag.dags[f"{verb}__{recipe.stem}"]
    edges = {(task.task_id, after) for task in dag.tasks for after in task.downstream_task_ids}
    assert set(dag.task_ids) == set(RING[verb])
    assert edges == set(itertools.pairwise(RING[verb]))


@every_dag
def test_assets_close_the_ring(bag: DagBag, verb: str, recipe: Path) -> None:
    dag = bag.dags[f"{verb}__{recipe.stem}"]
    name = recipe.stem
    emitted = {task.task_id: [asset.name for asset in task.outlets] for task in dag.tasks if task.outlets}
    assert emitted == {task: [f"{name}.{word}"] for task, word in EMITS.items() if task in RING[verb]}
    waits_for = {"data": "retrain", "finetune": "snapshot", "monitor": "champion"}[verb]
    asset = dag.timetable.asset_condition
    assert (asset.name, asset.uri) == (f"{name}.{waits_for}", f"ftcore://{name}/{waits_for}")


@every_dag
def test_schedule_is_the_recipes(bag: DagBag, verb: str, recipe: Path) -> None:
    cron = getattr(read(recipe).schedule, verb, None)
    timetable = getattr(bag.dags[f"{verb}__{recipe.stem}"].timetable, "timetable", None)
    assert (timetable is None) == (cron is None)
    assert timetable is None or timetable.run_immediately == timedelta(0)


def test_a_new_recipe_waits_for_its_next_tick_also_right_after_one() -> None:
    moment = datetime.now(UTC)
    schedule = cron_or_asset(f"{moment.minute} {moment.hour} * * *", Assets.of("r").retrain)
    assert isinstance(schedule, AssetOrTimeSchedule)
    tick = decode_timetable(encode_timetable(schedule.timetable))
    info = tick.next_dagrun_info(last_automated_data_interval=None, restriction=TimeRestriction(None, None, False))
    assert info is not None
    assert info.run_after > moment


@every_dag
def test_runs_one_at_a_time_and_never_catches_up(bag: DagBag, verb: str, recipe: Path) -> None:
    dag = bag.dags[f"{verb}__{recipe.stem}"]
    assert (dag.max_active_runs, dag.catchup) == (1, False)
    assert {"ftcore", verb, recipe.stem} <= set(dag.tags)
    assert recipe.read_text(encoding="utf-8") in (dag.doc_md or "")


@every_dag
def test_every_task_says_what_it_does_and_retries_what_may_pass(bag: DagBag, verb: str, recipe: Path) -> None:
    for task in bag.dags[f"{verb}__{recipe.stem}"].tasks:
        assert task.doc_md
        assert task.retries == RETRIES["retries"]
        assert task.retry_policy is not None


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_only_training_takes_the_accelerator(bag: DagBag, recipe: Path) -> None:
    dag = bag.dags[f"finetune__{recipe.stem}"]
    assert [(task.task_id, task.queue) for task in dag.tasks if task.pool == "gpu"] == [("train", "gpu")]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_form_of_a_manual_run(bag: DagBag, recipe: Path) -> None:
    params = bag.dags[f"finetune__{recipe.stem}"].params
    assert params.dump() == {"train": "auto", "budget": "ask", "snapshot": None}
    assert params.get_param("train").schema["enum"] == ["auto", "always"]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_ingest_is_one_task_a_shard_and_is_called_by_it(bag: DagBag, recipe: Path) -> None:
    dag = bag.dags[f"data__{recipe.stem}"]
    ingest = dag.get_task("ingest")
    assert [task.task_id for task in dag.tasks if task.is_mapped] == ["ingest"]
    assert ingest.map_index_template == "{{ task.shard }}"
    assert dag.get_task("shard").mapped_output == "shards"
    assert dag.get_task("collect").step == "ingest"
    asked = [set(dag.get_task(name).ask) for name in ("shard", "collect")] + [set(ingest.partial_kwargs["ask"])]
    assert asked == [{"since", "until"}] * 3, "all three must agree on the period"


def test_a_backfill_run_reads_since_the_tick_before_and_any_other_what_the_form_says() -> None:
    period = period_by("0 3 * * 1-5")
    monday = datetime(2026, 1, 5, 3, tzinfo=UTC)
    run = SimpleNamespace(run_type=DagRunType.BACKFILL_JOB, logical_date=monday)
    assert period(run, {}) == {"since": "2026-01-02T03:00:00+00:00", "until": "2026-01-05T03:00:00+00:00"}
    for kind in (DagRunType.SCHEDULED, DagRunType.ASSET_TRIGGERED, DagRunType.MANUAL):
        run = SimpleNamespace(run_type=kind, logical_date=None if kind is DagRunType.MANUAL else monday)
        assert period(run, {"since": None, "until": None}) == {"since": "", "until": ""}
        assert period(run, {"since": "2026-01-01", "until": "2026-01-02"})["until"] == "2026-01-02"
