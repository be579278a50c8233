"""Plan before spending: what is estimated, what is refused and with which change, and who is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml

from ftcore.data import snapshot
from ftcore.errors import FtcoreError, NotEnoughDataError
from ftcore.planning import estimates as estimate
from ftcore.planning import sizes
from ftcore.steps import plan
from ftcore.training import workers
from ftcore.training.planned import settings
from tests.models import small

if TYPE_CHECKING:
    from ftcore.context import Outcome
    from tests.conftest import Product

TRAIN: dict[str, Any] = {
    "epochs": 2,
    "max_length_tokens": 32,
    "batch_size": 8,
    "evaluations_per_epoch": 1,
    "precision": "fp32",
}
FAST = {"name": "fast", "memory_gib": 8, "tflops": 1e-3, "price_per_h": 6.0, "power_w": 100}
SLOW = {"name": "slow", "memory_gib": 8, "tflops": 1e-5, "price_per_h": 0.6}


@pytest.fixture
def planned(product: Product, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Plan a tiny training on the workers given; nobody says which of them this is."""

    def make(
        *machines: dict[str, Any], run_id: str = "r1", params: dict[str, str] | None = None, **keys: Any
    ) -> Outcome:
        if machines:
            file = product.path.with_name("workers.yml")
            file.write_text(yaml.safe_dump(list(machines)), encoding="utf-8")
            monkeypatch.setenv("FTCORE_WORKERS", str(file))
        product.change(**{"base": str(tiny / "model"), "method": {"kind": "lora", "rank": 2}, "train": TRAIN, **keys})
        product.publish(range(160))
        return plan.run(product.context("plan", run_id, **(params or {})))

    return make


def test_every_worker_is_estimated_and_the_cheapest_chosen(planned: Callable[..., Outcome], product: Product) -> None:
    outcome = planned(SLOW, FAST)
    assert outcome.proceed
    estimates = outcome.figures["workers"]
    slow, fast = estimates["slow"], estimates["fast"]
    assert slow["start_s"] == fast["start_s"] > 0
    working = [one["hours"] * 3600 - one["start_s"] for one in (slow, fast)]
    assert working[0] == pytest.approx(100 * working[1]), "start and end take as long anywhere"
    assert outcome.figures["estimate"]["worker"] == min(estimates, key=lambda name: estimates[name]["money"])
    assert fast["money"] == pytest.approx(6 * fast["hours"])
    assert fast["energy_kwh"] == pytest.approx(fast["hours"] * 0.1)
    assert fast["co2e_g"] == pytest.approx(fast["energy_kwh"] * 475)
    assert slow["energy_kwh"] is slow["co2e_g"] is None, "nobody knows its power"
    least, most = fast["hours_interval"]
    assert least < fast["hours"] < most
    assert fast["accumulation"] == 1
    rows = product.rows(range(160))
    train = [row["text"] for row in rows.to_pylist() if row["split"] == "train"]
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(product.recipe.base)
    lengths = [len(ids) for ids in words(train)["input_ids"]]
    assert fast["tokens"] == pytest.approx(2 * sum(lengths), rel=0.01)


def test_the_skeleton_has_the_weights_of_the_model(
    planned: Callable[..., Outcome], product: Product, tiny: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from ftcore.recipe.kinds import kind_class, kinds

    planned(FAST)
    for kind in kinds("methods"):
        method = kind_class("methods", kind)
        if method.DEVICES or "classification" not in (method.TASKS or ("classification",)):
            continue
        product.change(method=method.EXAMPLE, train={**TRAIN, "max_length_tokens": 60})
        shape = sizes.need(product.context("plan"), product.publish(range(160)), 100).shapes["cpu"]
        config = method.model_validate(method.EXAMPLE)
        plain = AutoModelForSequenceClassification.from_pretrained(tiny / "model")
        model = config.apply(plain, AutoTokenizer.from_pretrained(tiny / "model"))
        assert shape.weights == sum(p.numel() for p in model.parameters()), kind
        assert shape.trainable == sum(p.numel() for p in model.parameters() if p.requires_grad), kind


def test_what_does_not_fit_is_refused_with_the_change_that_makes_it_fit(
    planned: Callable[..., Outcome], product: Product
) -> None:
    outcome = planned({**FAST, "memory_gib": 0.5})
    assert not outcome.proceed
    assert outcome.reason.startswith("refused: there is no champion yet, but it needs ")
    assert "needs a worker with" in outcome.reason
    assert [(line["kind"], line["decision"]) for line in product.shelf.ledger()] == [("budget", "refused")]


def test_a_change_that_helps_is_named_and_helps(planned: Callable[..., Outcome], product: Product) -> None:
    planned(FAST)
    need = sizes.need(product.context("plan"), product.publish(range(160)), 100)
    from ftcore.training import cost

    work = replace(need.work, longest=8192, batch_rows=1)
    shape = replace(need.shapes["cpu"], width=2048, layers=32, kept=None)
    worker = workers.Worker(name="small", memory_gib=8)
    assert not cost.rows_at_once(shape, work, "cpu", 8)
    long = replace(need, work=work, shapes={"cpu": shape})
    said = estimate.remedy(product.context("plan"), long, worker)
    assert said == "train.gradient_checkpointing: true would make it fit on small"
    assert cost.rows_at_once(replace(shape, checkpointing=True), work, "cpu", 8)


def test_a_small_memory_makes_small_parts(planned: Callable[..., Outcome], product: Product) -> None:
    need_gib = planned(FAST).figures["estimate"]["memory_bytes"]
    # Of a model of one layer judging takes most: twice as many rows. In parts it takes no more than training.
    tight = (need_gib["total"] - 0.8 * need_gib["activations"]) / 2**30 / 0.9
    outcome = planned({**FAST, "memory_gib": tight}, run_id="r2", params={"train": "always"})
    found = outcome.figures["estimate"]
    assert (found["rows_at_once"], found["accumulation"]) == (2, 4)
    assert found["micro_batch_tokens"] == 2 * found["micro_batch_tokens"] // found["rows_at_once"]


def test_several_processes_have_whole_models_where_these_fit_and_pieces_where_not(
    planned: Callable[..., Outcome], product: Product
) -> None:
    two = {"train": {**TRAIN, "distributed": {"processes": 2}}}
    drop_long_prompts = planned(FAST, **two).figures["estimate"]
    assert drop_long_prompts["strategy"] == "ddp"
    assert drop_long_prompts["strategy_reason"].startswith("a whole model takes ")
    assert drop_long_prompts["strategy_reason"].endswith("GiB in each process on fast, which has 4.0")
    assert drop_long_prompts["accumulation"] == 1, "each process has half of the batch"
    wanted = sizes.need(product.context("plan"), product.publish(range(160)), 100)
    shape = replace(wanted.shapes["cpu"], weights=800_000_000, trainable=100_000_000, layers=40)
    large = replace(wanted, shapes={"cpu": shape})
    tight = estimate.estimate(product.context("plan"), large, workers.Worker(name="tight", memory_gib=8))
    assert (tight["strategy"], tight["fits"]) == ("fsdp2", True)
    named = {"train": {**TRAIN, "distributed": {"processes": 2, "strategy": "fsdp2"}}}
    again = planned(FAST, run_id="r2", params={"train": "always"}, **named).figures["estimate"]
    assert (again["strategy"], again["strategy_reason"]) == ("fsdp2", "the recipe names it")


def test_the_plans_strategy_is_the_trainings(planned: Callable[..., Outcome], product: Product) -> None:
    planned(FAST, train={**TRAIN, "distributed": {"processes": 2}})
    product.run("plan")
    assert product.recipe.train.distributed.strategy == "auto"
    assert settings(product.context("train")).distributed.strategy == "ddp"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"method": {"kind": "qlora"}}, "qlora needs cuda: add such a worker, or take lora"),
        (
            {"train": TRAIN | {"distributed": {"processes": 2, "strategy": "zero3"}}},
            "zero3 needs cuda: add such a worker, or take fsdp2",
        ),
    ],
)
def test_what_needs_a_gpu_is_refused_without_one_before_anything_is_spent(
    asked: dict[str, Any], told: str, planned: Callable[..., Outcome]
) -> None:
    outcome = planned(FAST, **asked)
    assert (outcome.proceed, outcome.figures["budget"]) == (False, "refused")
    assert outcome.reason.endswith(told)
    gpu = {**FAST, "name": "gpu", "device": "cuda"}
    assert planned(FAST, gpu, run_id="r2", **asked).figures["estimate"]["worker"] == "gpu"


@pytest.mark.parametrize("limit", [{"hours": 0}, {"money": 0}, {"energy_kwh": 0}, {"co2e_g": 0}], ids=str)
def test_above_the_budget_a_person_is_asked(
    limit: dict[str, float], planned: Callable[..., Outcome], product: Product
) -> None:
    budget = {"plan": {"budget": limit}}
    outcome = planned(FAST, **budget)
    assert (outcome.proceed, outcome.figures["train"], outcome.figures["budget"]) == (False, False, "needs approval")
    assert f"ftcore run {product.name} --run r1 --only finetune --param budget=approved" in outcome.reason
    assert product.shelf.ledger("plan") == []
    approved = planned(FAST, params={"budget": "approved"}, **budget)
    assert approved.proceed
    assert [line["decision"] for line in product.shelf.ledger("plan")] == ["train"]
    assert planned(FAST, **budget).proceed, "what was approved once stays so within its run"
    assert not planned(FAST, run_id="r2", params={"train": "always"}, **budget).proceed


def test_trials_and_folds_count_against_the_budget(planned: Callable[..., Outcome]) -> None:
    once = planned(FAST).figures["estimate"]["hours"]
    space = {"train.learning_rate": {"low": 1e-5, "high": 1e-3}}
    budget = {"plan": {"budget": {"hours": 4 * once}}, "train": {**TRAIN, "folds": 2}}
    asked = {"run_id": "r2", "params": {"train": "always"}}
    held = planned(FAST, **asked, **budget, search={"space": space, "trials": 3})
    assert held.figures["budget"] == "needs approval"
    assert "worth 5 trainings" in held.reason, "a fold leaves its own rows out"
    short = {"space": space, "trials": 3, "minutes": once * 60 / 2}
    assert planned(FAST, **asked, **budget, search=short).figures["estimate"]["trainings"] == pytest.approx(2.5)


def test_a_request_that_waits_for_approval_stays_open(planned: Callable[..., Outcome], product: Product) -> None:
    product.shelf.add_to_ledger("decide", "m1", "retrain", "drift", until="2026-01-02T00:00:00+00:00")
    held = planned(FAST, plan={"budget": {"money": 0}})
    assert not held.proceed
    assert planned(FAST, run_id="r2", params={"budget": "approved"}).figures["answers"] == "m1"


def test_what_cannot_be_estimated_counts_as_above_the_budget(planned: Callable[..., Outcome]) -> None:
    outcome = planned(SLOW, plan={"budget": {"energy_kwh": 5}})
    assert "energy_kwh cannot be estimated, and the budget is 5 kWh" in outcome.reason
    assert planned(SLOW, plan={"budget": {"money": 1e9}}, run_id="r2").proceed


def test_earlier_runs_give_the_speed_and_the_power(planned: Callable[..., Outcome], product: Product) -> None:
    planned(FAST)
    context = product.context("plan", "r9")
    worker = workers.Worker(name="fast", memory_gib=8)
    assert estimate.rates(context, worker) == (None, None, None)
    from ftcore.store.records import Record, now

    figures = {"worker": "fast", "method": "lora", "operations_per_s": 2e9, "energy_kwh": 0.05, "seconds": 3600.0}
    record = Record(step="train", recipe=product.name, run_id="r1", fingerprint="", figures=figures, started_at=now())
    product.shelf.write_record(record)
    low, likely, high = estimate.rates(context, worker)
    assert low < likely == 2e9 < high
    assert estimate.power_w(context, worker) == pytest.approx(50)
    assert estimate.rates(context, worker.model_copy(update={"name": "other"})) == (None, None, None)


def test_of_each_part_as_much_is_counted_as_its_weight_says(product: Product, tiny: Path) -> None:
    parts: dict[str, Any] = {
        name: {"kind": "classification", "labels": ["negative", "positive"], "sources": [f"files:{name}"]}
        for name in ("short", "long")
    }
    rows = product.rows(range(160)).to_pylist()
    for number, row in enumerate(rows):
        row.update({"source": "files:long"} if number // 2 % 2 else {"source": "files:short", "text": "film"})
    product.publish_table(pa.Table.from_pylist(rows, schema=snapshot.schema(split=True)))
    sources = [{"kind": "files", "path": "rows.csv", "name": name} for name in parts]

    def tokens(weight: int) -> int:
        parts["long"]["weight"] = weight
        task = {"kind": "multitask", "parts": parts}
        product.change(base=str(tiny / "model"), train=TRAIN, task=task, sources=sources, exports=[])
        return int(plan.run(product.context("plan", f"r{weight}")).figures["estimate"]["tokens"])

    from transformers import AutoTokenizer

    read = AutoTokenizer.from_pretrained(tiny / "model")
    train = [row for row in rows if row["split"] == "train"]
    long = [len(read(row["text"])["input_ids"]) for row in train if row["source"] == "files:long"]
    means = {"long": sum(long) / len(long), "short": len(read("film")["input_ids"])}
    epoch = -(-len(train) // TRAIN["batch_size"]) * TRAIN["batch_size"]
    for weight in (1, 9):
        mean = (weight * means["long"] + means["short"]) / (weight + 1)
        assert tokens(weight) == pytest.approx(TRAIN["epochs"] * epoch * mean, rel=0.01)


def test_a_split_without_rows_is_said_before_anything_is_planned(product: Product, tiny: Path) -> None:
    product.change(base=str(tiny / "model"), method={"kind": "full"}, train=TRAIN)
    rows = product.rows(range(40))
    product.publish_table(rows.filter(pc.not_equal(rows["split"], "validation")))
    with pytest.raises(NotEnoughDataError, match="the validation split has no row"):
        plan.run(product.context("plan"))
    assert product.shelf.ledger() == []


def test_rows_that_cannot_be_learnt_are_said_before_anything_is_planned(product: Product, tiny: Path) -> None:
    task = {"kind": "tagging", "labels": ["O", "B-PER"]}
    product.change(base=str(tiny / "model"), train=TRAIN, task=task, exports=[])
    product.publish(range(40))
    with pytest.raises(FtcoreError, match="train split"):
        plan.run(product.context("plan"))
    assert product.shelf.ledger() == []


def test_a_batch_is_no_larger_than_what_there_is(planned: Callable[..., Outcome]) -> None:
    small, huge = (
        planned(FAST, run_id=f"r{size}", train=TRAIN | {"batch_size": size}).figures["estimate"]
        for size in (160, 100_000)
    )
    assert huge["memory_bytes"] == small["memory_bytes"]
    assert huge["accumulation"] == 1


def test_an_embedding_that_is_shared_is_counted_once(planned: Callable[..., Outcome], tmp_path: Path) -> None:
    small("t5", tmp_path / "t5")
    planned_hours = planned(FAST, base=str(tmp_path / "t5"), method={"kind": "full"}, exports=[]).figures["estimate"]
    assert planned_hours["operations"] > 0
    assert planned_hours["hours"] > 0


def test_a_plan_that_does_not_train_estimates_nothing(planned: Callable[..., Outcome], product: Product) -> None:
    planned(FAST)
    product.crown("first", product.publish(range(160)))
    outcome = planned(FAST, run_id="r2")
    assert not outcome.proceed
    assert "estimate" not in outcome.figures
