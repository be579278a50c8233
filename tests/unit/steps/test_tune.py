"""The tune step: real searches over a tiny model, in processes that are killed, by workers that share them."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from ftcore.errors import FtcoreError, TrainingError
from ftcore.reports import card
from ftcore.tuning import folds
from tests import forks
from tests.conftest import Product

TRAIN = {"epochs": 1, "max_length_tokens": 32, "batch_size": 16, "evaluations_per_epoch": 4, "precision": "fp32"}
SPACE = {
    "train.learning_rate": {"low": "1e-5", "high": 0.05, "log": True},
    "method.rank": {"choices": [1, 2]},
    "train.batch_size": {"low": 8, "high": 32},
}


@pytest.fixture
def searching(product: Product, tiny: Path) -> Callable[..., Product]:
    """A product with a plan, whose recipe searches."""

    def make(rows: int = 120, train: dict[str, Any] | None = None, **search: Any) -> Product:
        section = {"search": {"space": SPACE, "trials": 3, "random_trials": 2, **search}} if search is not None else {}
        product.change(
            base=str(tiny / "model"), method={"kind": "lora", "rank": 2}, train=TRAIN | (train or {}), **section
        )
        product.publish(range(rows))
        product.run("plan")
        return product

    return make


def trials(product: Product, run: str = "r1") -> list[dict[str, Any]]:
    path = product.shelf.folder(run, "tune") / "trials.json"
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def runs_of(product: Product) -> list[Any]:
    """The trials in MLflow."""
    experiment = product.tracking.client.get_experiment_by_name(product.name).experiment_id
    return list(product.tracking.client.search_runs([experiment], "tags.`ftcore.run` LIKE 'r1/trial-%'"))


def start(product: Product, *params: str) -> BaseProcess:
    words = ("step", "tune", str(product.path), "--run", "r1", *params)
    return forks.start(forks.ftcore, *words, out=product.path.parent / f"out-{'-'.join(params)}")


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.01)


def test_the_best_settings_train_the_candidate_and_are_on_its_record(searching: Callable[..., Product]) -> None:
    product = searching()
    record = product.run("tune")
    table = trials(product)
    assert [one["trial"] for one in table] == [0, 1, 2]
    assert table[0]["settings"] == {"train.learning_rate": 5e-4, "method.rank": 2, "train.batch_size": 16}, "its own"
    finished = [one for one in table if one["state"] == "complete"]
    best = min(finished, key=lambda one: one["validation_loss"])
    assert record.figures["settings"] == best["settings"]
    assert record.figures["best_trial"] == best["trial"]

    trained = product.run("train")
    assert trained.figures["settings"] == best["settings"]
    assert trained.figures["validation_loss"] == pytest.approx(best["validation_loss"], abs=1e-5)
    client = product.tracking.client
    run = client.get_run(trained.figures["mlflow_run"])
    assert float(run.data.params["train.learning_rate"]) == best["settings"]["train.learning_rate"]
    assert json.loads(product.tracking.versions()[0].tags["ftcore.settings"]) == best["settings"]

    said = card.card(product.shelf, product.tracking.versions()[0])
    assert "A search of 3 trials on the validation split settled `train.learning_rate: " in said

    experiment = client.get_experiment_by_name(product.name).experiment_id
    nested = client.search_runs(
        [experiment], f"tags.`mlflow.parentRunId` = '{record.figures['search_run']}'", order_by=["start_time"]
    )
    assert [one.data.tags["state"] for one in nested] == [one["state"] for one in table]
    assert all(client.get_metric_history(one.info.run_id, "eval_loss") for one in nested)


def test_the_test_split_is_never_read(searching: Callable[..., Product]) -> None:
    product = searching(trials=1, train={"folds": 2})
    folder = product.shelf.root / "snapshots" / product.context("tune").earlier("plan").figures["snapshot"] / "test"
    for part in folder.iterdir():
        part.unlink()
    assert product.run("tune").figures["folds"]["rows"] > 0


def test_a_recipe_without_a_search_goes_on_and_says_so(searching: Callable[..., Product]) -> None:
    product = searching()
    product.change(search=None)
    product.run("plan")
    record = product.run("tune")
    assert record.proceed
    assert "nothing to search" in record.reason
    assert "settings" not in product.run("train").figures


def test_a_recipe_that_was_changed_after_its_search_is_not_trained(searching: Callable[..., Product]) -> None:
    product = searching(trials=1)
    with pytest.raises(FtcoreError, match="needs the record of tune"):
        product.run("train")
    product.run("tune")
    product.change(description="Another one.")
    with pytest.raises(FtcoreError, match=r"changed after its search[\s\S]*ftcore step tune"):
        product.run("train")


def test_a_search_that_is_killed_goes_on_and_finds_the_same(searching: Callable[..., Product]) -> None:
    product = searching(trials=4, rows=200)
    process = start(product)
    journal = product.shelf.folder("r1", "tune") / "search.journal"

    def in_the_second_trial() -> bool:
        lines = [json.loads(line) for line in journal.read_text().splitlines()[:-1]] if journal.exists() else []
        return any("intermediate_value" in line and line["trial_id"] == 1 for line in lines)

    wait_for(in_the_second_trial)
    process.kill()
    process.join()
    with Path(str(journal)).open("ab") as file:
        file.write(b'{"op_code":9,"wor')  # half a line, as a crash may leave it
    before = journal.read_text()
    product.run("tune")
    assert journal.read_text().startswith(before.rpartition("\n")[0]), "nothing was done again"
    resumed = trials(product)

    product.run("plan", "r2", train="always")
    product.run("tune", "r2")
    whole = trials(product, "r2")
    assert [one["settings"] for one in resumed] == [one["settings"] for one in whole]
    assert [one["validation_loss"] for one in resumed] == [
        pytest.approx(one["validation_loss"], abs=1e-5) for one in whole
    ]


def test_two_workers_never_run_the_same_trial(searching: Callable[..., Product]) -> None:
    product = searching(trials=6)
    processes = [start(product, "--param", f"shard={name}") for name in ("1", "2")]
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0, 0]
    record = product.run("tune")
    table = trials(product)
    assert [one["trial"] for one in table] == list(range(6))
    assert record.figures["trials"]["all"] == 6
    assert {one["worker"] for one in table} <= {"1", "2"}, "nothing was left for the one that chooses"
    did = {name: product.shelf.record("r1", "tune", name) for name in ("1", "2")}
    counted = Counter(one["worker"] for one in table)
    assert {name: one.figures["trials"] for name, one in did.items() if one} == {n: counted[n] for n in ("1", "2")}
    assert len(runs_of(product)) == len({run.info.run_name for run in runs_of(product)}) == 6


def test_the_time_is_kept_and_without_a_finished_trial_the_recipes_own_settings_train(
    searching: Callable[..., Product],
) -> None:
    product = searching(trials=1000, minutes=0.05, train={"epochs": 100, "patience": 1000})
    record = product.run("tune")
    (only,) = trials(product)
    assert (only["state"], only["reason"]) == ("pruned", "the 0.05 minutes of the search were over")
    assert 3 <= only["seconds"] < 60, "the next look at the clock ends it"
    assert record.proceed
    assert record.figures["best_trial"] is None
    assert record.figures["settings"] == only["settings"]
    assert "none was done in time, the recipe's own settings train" in record.reason


def test_a_trial_that_is_worse_than_the_others_ends_early(searching: Callable[..., Product]) -> None:
    rates = {"train.learning_rate": {"choices": [0.05, 1e-7]}}
    train = {"epochs": 3, "learning_rate": 0.05, "batch_size": 8}
    product = searching(rows=200, trials=8, random_trials=1, space=rates, train=train)
    product.run("tune")
    table = trials(product)
    complete, pruned = ([one for one in table if one["state"] == state] for state in ("complete", "pruned"))
    assert pruned
    assert {one["settings"]["train.learning_rate"] for one in pruned} == {1e-7}
    assert all("above the others' median" in one["reason"] for one in pruned)
    assert max(one["evaluations"] for one in pruned) < min(one["evaluations"] for one in complete)
    statuses = Counter(run.info.status for run in runs_of(product))
    assert statuses == {"FINISHED": len(complete), "KILLED": len(pruned)}


def test_what_fails_is_kept_with_its_reason_and_the_rest_goes_on(searching: Callable[..., Product]) -> None:
    space = {"method.targets": {"choices": [".*query", "no_such_layer"]}}
    product = searching(trials=6, space=space)
    record = product.run("tune")
    failed = [one for one in trials(product) if one["state"] == "fail"]
    assert failed
    assert all("cannot be adapted" in one["reason"] for one in failed)
    assert record.figures["settings"] == {"method.targets": ".*query"}
    product.change(search={"space": {"method.targets": {"choices": ["nothing", "no_such_layer"]}}, "trials": 2})
    product.run("plan", "r2", train="always")
    with pytest.raises(TrainingError, match=r"none of 2 trials[\s\S]*cannot be adapted"):
        product.run("tune", "r2")


def test_more_trials_go_on_with_a_finished_search(searching: Callable[..., Product]) -> None:
    product = searching(trials=2)
    product.run("tune")
    before = trials(product)
    product.change(search={"space": SPACE, "trials": 3, "random_trials": 2})
    product.run("tune")
    assert trials(product)[:2] == before
    assert len(trials(product)) == 3


def test_folds_keep_groups_together_and_every_row_once(searching: Callable[..., Product]) -> None:
    drawn = [folds.fold(f"group {number // 10}", f"text {number}", 5) for number in range(1000)]
    assert {len(set(drawn[start : start + 10])) for start in range(0, 1000, 10)} == {1}
    alone = Counter(folds.fold(None, f"text {number}", 5) for number in range(1000))
    assert set(alone) == set(range(5))
    assert min(alone.values()) > 150
    assert folds.fold(None, "Two  Words", 5) == folds.fold(None, "two words", 5)

    product = searching(trials=1, train={"folds": 3})
    product.change(search=None)
    product.run("plan")
    record = product.run("tune")
    found = record.figures["folds"]
    rows = product.context("tune").earlier("plan").figures
    assert rows["snapshot"]
    assert sum(one["rows"] for one in found["each"]) == found["rows"]
    assert all(one["rows"] + one["train_rows"] == found["rows"] for one in found["each"])
    values = [one["metrics"]["accuracy"] for one in found["each"]]
    scores = found["metrics"]["accuracy"]
    assert scores["mean"] == pytest.approx(sum(values) / 3)
    assert scores["low"] < scores["mean"] < scores["high"] or scores["spread"] == 0
    trained = product.run("train")
    assert trained.figures["rows"] == found["rows"], "the final model trains on all of train"
    assert trained.figures["folds"] == found
    assert product.tracking.metrics(trained.figures["mlflow_run"])["folds.accuracy.mean"] == scores["mean"]


def test_the_interval_of_folds_is_nadeau_and_bengios() -> None:
    each = [{"rows": 20, "train_rows": 80, "metrics": {"accuracy": v}} for v in (0.7, 0.8, 0.9, 0.8, 0.8)]
    found = folds.summary(each)["metrics"]["accuracy"]
    spread = math.sqrt(0.02 / 4)
    assert found["spread"] == pytest.approx(spread)
    assert found["high"] - found["mean"] == pytest.approx(2.776445 * spread * math.sqrt(1 / 5 + 1 / 4))
