"""What a training used, in its record and on its version, beside what was estimated."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftcore.errors import TrainingError, TransientError
from ftcore.planning import first_steps
from ftcore.reports import card
from ftcore.steps import train
from ftcore.training import attempts, callbacks, energy, planned, workers

if TYPE_CHECKING:
    from tests.conftest import Product

TRAIN = {"epochs": 1, "max_length_tokens": 32, "batch_size": 8, "evaluations_per_epoch": 1, "precision": "fp32"}


def test_energy_carbon_and_money_are_measured(caplog: pytest.LogCaptureFixture) -> None:
    worker = workers.Worker(name="here", memory_gib=8, price_per_h=3600, carbon_g_per_kwh=100)
    started = time.monotonic()
    with energy.measured(worker) as used:
        deadline = time.monotonic() + 0.4
        while time.monotonic() < deadline:
            sum(range(1000))
    assert used["worker"] == "here"
    assert 0.4 <= used["cost"] <= time.monotonic() - started + 0.4
    assert used["energy_kwh"] > 0
    assert used["co2e_g"] == pytest.approx(used["energy_kwh"] * 100, rel=0.01)
    assert used["peak_memory_bytes"] > 50e6
    assert not caplog.records, "it says nothing of itself"


def test_what_was_used_is_kept_while_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "EVERY_S", 0.1)
    monkeypatch.setattr(energy, "LOOKS", 2)
    kept: list[dict[str, Any]] = []
    with energy.measured(None, lambda used: kept.append(dict(used))) as used:
        deadline = time.monotonic() + 10
        while len(kept) < 2 and time.monotonic() < deadline:
            sum(range(1000))
    assert len(kept) >= 3, "twice meanwhile, and at the end"
    seconds = [one["worked_s"] for one in kept]
    assert seconds == sorted(seconds)
    assert 0 < kept[0]["energy_kwh"] <= used["energy_kwh"] == kept[-1]["energy_kwh"]


def test_all_attempts_at_a_training_count_and_each_once(
    product: Product, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it is stopped: in the training, after it, or between two writings of what was used."""
    product.change(base=str(tiny / "model"), method={"kind": "lora", "rank": 2}, train=TRAIN)
    product.publish(range(160))
    product.run("plan")
    fit, register = train.jobs.fit, train._register

    def stopped(*_: object) -> None:
        raise TransientError("stopped")

    monkeypatch.setattr(train.jobs, "fit", stopped)
    with pytest.raises(TransientError):
        product.run("train")
    monkeypatch.setattr(train.jobs, "fit", fit)
    monkeypatch.setattr(train, "_register", stopped)
    with pytest.raises(TransientError):
        product.run("train")
    folder = Path(str(product.shelf.folder("r1", "train"))) / "used" / "first"
    for place, strange in enumerate(("{", "[]", '{"worked_s": "x"}', '{"energy_kwh": -1}', '{"cost": NaN}')):
        (folder / f"{place}.json").write_text(strange)
    monkeypatch.setattr(train, "_register", register)
    figures = product.run("train").figures
    assert len(figures["attempts"]) == 3
    for name in ("energy_kwh", "co2e_g", "worked_s", "cost"):
        assert figures[name] == pytest.approx(sum(one[name] for one in figures["attempts"])), name
    assert all(one["energy_kwh"] > 0 for one in figures["attempts"])
    tags = product.tracking.versions()[0].tags
    assert float(tags["ftcore.energy_kwh"]) == figures["energy_kwh"]
    assert "s in 3 attempts; energy, CO2e and cost are those of all" in card.card(
        product.shelf, product.tracking.versions()[0]
    )
    assert "attempts" not in product.run("train", again=True).figures, "it is another training"


def test_a_cost_that_is_not_known_of_every_attempt_is_not_known() -> None:
    used = {"worked_s": 2.0, "energy_kwh": 0.2, "co2e_g": 3.0, "cost": 4.0, "worker": "b", "peak_memory_bytes": 7}
    assert attempts.total(used, []) == used
    found = attempts.total(used, [{"worked_s": 1.0, "energy_kwh": 0.1, "co2e_g": 1.0}])
    assert "cost" not in found
    assert (found["worked_s"], found["energy_kwh"], found["co2e_g"]) == (3.0, 0.3, 4.0)
    assert (found["worker"], found["peak_memory_bytes"], len(found["attempts"])) == ("b", 7, 2)


def test_an_unknown_worker_costs_what_nobody_knows() -> None:
    with energy.measured(None) as used:
        pass
    assert "cost" not in used
    assert "worker" not in used


def test_the_record_and_the_version_tell_what_was_used(product: Product, tiny: Path) -> None:
    product.change(base=str(tiny / "model"), method={"kind": "lora", "rank": 2}, train=TRAIN)
    product.publish(range(160))
    planned = product.run("plan").figures
    figures = product.run("train").figures
    assert figures["worker"] == planned["estimate"]["worker"] == "local"
    loop_s = figures["worked_s"] - figures["start_s"]
    assert loop_s == pytest.approx(figures["seconds"], rel=0.01), "loading and saving are no speed of the training"
    least = planned["estimate"]["operations"] / loop_s
    assert least <= figures["operations_per_s"] * 1.001 <= 5.01 * least, "less the kernels, at most four fifths"
    assert figures["actual_vs_estimated"]["hours"] == pytest.approx(
        figures["worked_s"] / 3600 / planned["estimate"]["hours"], rel=0.01, abs=5e-4
    )  # which is kept to three digits
    assert figures["actual_vs_estimated"]["memory"] > 0
    tags = product.tracking.versions()[0].tags
    assert float(tags["ftcore.energy_kwh"]) == figures["energy_kwh"] > 0
    assert float(tags["ftcore.co2e_g"]) == figures["co2e_g"]
    assert float(tags["ftcore.cost"]) == figures["cost"] == 0
    assert json.loads(tags["ftcore.actual_vs_estimated"]) == figures["actual_vs_estimated"]
    said = card.card(product.shelf, product.tracking.versions()[0])
    assert f"memory {figures['actual_vs_estimated']['memory']:.0%}" in said

    again = product.run("plan", "r2", train="always").figures["estimate"]
    assert figures["worked_s"] > figures["seconds"], "loading is work"
    assert again["hours"] == pytest.approx(figures["worked_s"] / 3600, rel=0.01), "the next plan knows this machine"
    assert again["energy_kwh"] == pytest.approx(figures["energy_kwh"], rel=0.01)


def test_a_plan_for_a_tight_memory_makes_the_parts_that_train_works_in(product: Product, tiny: Path) -> None:
    product.change(base=str(tiny / "model"), method={"kind": "lora", "rank": 2}, train=TRAIN)
    product.publish(range(160))
    record = product.run("plan")
    assert planned.settings(product.context("train")).micro_batch_tokens is None
    tight = {**record.figures["estimate"], "rows_at_once": 2, "micro_batch_tokens": 24}
    changed = record.model_copy(update={"figures": {**record.figures, "estimate": tight, "workers": {"local": tight}}})
    product.shelf.write_record(changed)
    assert planned.settings(product.context("train")).micro_batch_tokens == 24


def test_the_first_steps_correct_the_plan_and_stop_where_memory_is_not_enough(
    product: Product, tiny: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(callbacks, "FIRST_S", 0.0)
    product.change(base=str(tiny / "model"), method={"kind": "lora", "rank": 2}, train=TRAIN)
    product.publish(range(160))
    planned = product.run("plan").figures["estimate"]
    with caplog.at_level("INFO"):
        figures = product.run("train").figures
    assert "expected after 3 steps: " in caplog.text
    expected = figures["expected"]
    assert expected["after_steps"] == 3
    assert expected["seconds"] > 0
    assert expected["memory_bytes"] >= planned["memory_bytes"]["total"]

    small = workers.Worker(name="local", memory_gib=0.05)
    monkeypatch.setattr(workers, "own", lambda _: small)
    found: dict[str, Any] = {}
    with pytest.raises(TrainingError, match=r"first 7 steps took .* GiB of memory on local, which has 0\.1") as raised:
        first_steps.corrected(product.context("train"), found, 7, 60.0)
    assert "needs a worker with" in raised.value.hint
    assert found["expected"]["seconds"] == 60.0
