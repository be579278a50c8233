"""gate: the verdict is a record, a tag and a ledger line, and never an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from ftcore.errors import FtcoreError
from ftcore.registry import verdict as verdicts
from ftcore.registry import versions
from ftcore.registry.verdict import notes
from ftcore.steps import gate
from ftcore.store import store
from ftcore.store.records import Record, now
from ftcore.tracking.registered import tag_model

if TYPE_CHECKING:
    from conftest import Product

FLAVOURS = ("onnx-int8", "onnx-fp32", "torch")


def evaluated(product: Product, right: float, champion: float | None = None, rows: int = 400) -> None:
    """Leave the record of an evaluation in which models got some share of the rows right."""
    truth = np.arange(rows) % 2

    def probabilities(share: float) -> pa.Array:
        said = np.where(np.arange(rows) < share * rows, truth, 1 - truth)
        return pa.array([[0.9, 0.1] if label == 0 else [0.1, 0.9] for label in said], pa.list_(pa.float32()))

    columns = {name: ["test"] * rows for name in ("dataset", "source", "text")}
    columns["label"] = [("negative", "positive")[label] for label in truth]
    columns |= {f"candidate.{flavour}": probabilities(right) for flavour in FLAVOURS}
    if champion is not None:
        product.crown("r0")
        columns |= {f"champion.{flavour}": probabilities(champion) for flavour in FLAVOURS}
    candidate = product.register("r1").number
    path = product.shelf.folder("r1", "evaluate") / "predictions.parquet"
    store.write_table(path, pa.table(columns))
    store.write_json(path.with_name("evaluation.json"), {})
    product.shelf.write_record(
        Record(
            step="evaluate",
            recipe=product.name,
            run_id="r1",
            fingerprint="",
            started_at=now(),
            figures={"candidate": candidate, "champion": None if champion is None else 1},
            paths={
                "predictions": product.shelf.relative(path),
                "evaluation": product.shelf.relative(path.with_name("evaluation.json")),
            },
        )
    )


def test_a_good_candidate_passes(product: Product) -> None:
    product.change(gates=[{"kind": "threshold", "minimum": 0.8}, {"kind": "beats_champion"}, {"kind": "parity"}])
    evaluated(product, 0.9, champion=0.8)
    outcome = gate.run(product.context("gate"))
    assert outcome.proceed
    assert [rule["gate"] for rule in outcome.figures["rules"]] == ["threshold", "beats_champion", "parity"]
    assert store.read_json(product.shelf.root / outcome.paths["verdict"]) == outcome.figures
    assert product.tracking.version(2).tags["ftcore.verdict"] == "passed"
    (line,) = product.shelf.ledger("gate")
    assert (line["decision"], line["candidate"], line["champion"]) == ("passed", 2, 1)


def test_one_rule_is_enough_to_fail(product: Product) -> None:
    product.change(gates=[{"kind": "threshold", "minimum": 0.5}, {"kind": "beats_champion"}])
    evaluated(product, 0.8, champion=0.8)
    outcome = gate.run(product.context("gate"))
    assert not outcome.proceed
    assert outcome.reason.startswith("failed\nbeats_champion: does not surely beat the champion")
    tags = product.tracking.version(2).tags
    assert (tags["ftcore.verdict"], tags["ftcore.verdict.reason"]) == (
        "failed",
        outcome.reason.removeprefix("failed\n"),
    )


def test_another_candidate_on_the_same_rows_is_another_look(product: Product) -> None:
    product.change(gates=[{"kind": "beats_champion"}])
    evaluated(product, 0.8, champion=0.8)
    (first,) = gate.run(product.context("gate")).figures["rules"]
    (again,) = gate.run(product.context("gate")).figures["rules"]
    assert first == again
    assert (first["look"], first["rows"], first["groups"]) == (1, 400, 400)
    (second,) = judged_as(product, "r2", product.register("r2").number)
    assert second["look"] == 2
    assert second["alpha"] == pytest.approx(first["alpha"] / 4)
    assert second["alpha_spent"] == pytest.approx(first["alpha"] + second["alpha"])


def judged_as(product: Product, run: str, candidate: int, **figures: object) -> list[dict[str, Any]]:
    """Rules of the verdict on the outputs of run r1, as if they were another candidate's."""
    record = product.shelf.record("r1", "evaluate")
    assert record is not None
    made = {"run_id": run, "figures": record.figures | {"candidate": candidate}}
    product.shelf.write_record(record.model_copy(update=made))
    store.write_json(product.shelf.root / record.paths["evaluation"], figures)
    return gate.run(product.context("gate", run)).figures["rules"]  # type: ignore[no-any-return]


def test_a_run_that_trained_again_has_no_first_look_again(product: Product) -> None:
    """A run counted once whatever it trained, so that one run could try seeds until one was promoted by chance."""
    product.change(gates=[{"kind": "beats_champion"}])
    evaluated(product, 0.8, champion=0.8)
    looks = [judged_as(product, "r1", number)[0]["look"] for number in (2, product.register("r2").number, 2)]
    assert looks == [1, 2, 1]
    serving = {"prediction_settings": {"onnx-int8": "trained again under the same number"}}
    assert judged_as(product, "r1", 2, **serving)[0]["look"] == 3
    product.change(gates=[{"kind": "beats_champion", "metric": "f1"}])
    assert judged_as(product, "r1", 2, **serving)[0]["look"] == 4, "another metric is another chance"
    product.change(gates=[{"kind": "beats_champion", "metric": "f1"}, {"kind": "threshold", "minimum": 0.5}])
    assert judged_as(product, "r1", 2, **serving)[0]["look"] == 4, "no gate that compares has changed"
    assert len(product.shelf.ledger("look")) == 4


@pytest.mark.parametrize("also", ["", "ledger/look--*", "ledger/*.json"])
def test_looks_that_are_deleted_count_and_the_verdict_says_so(product: Product, also: str) -> None:
    product.change(gates=[{"kind": "beats_champion"}])
    evaluated(product, 0.8, champion=0.8)
    gate.run(product.context("gate"))
    for pattern in filter(None, ("looks/*/*", also)):
        for path in filter(lambda path: path.is_file(), product.shelf.root.glob(pattern)):
            path.unlink()
    (rule,) = judged_as(product, "r2", product.register("r2").number)
    assert rule["look"] == 2
    verdict = store.read_json(product.shelf.folder("r2", "gate") / "verdict.json")
    assert "version 2" in verdict["lost_looks"][0]
    (note,) = [one for one in notes(verdict) if "earlier looks" in one]
    assert "not known any more" in note
    assert "each counts as a look at all rows" in note


@pytest.mark.parametrize("role", ["candidate", "champion"])
def test_outputs_that_are_missing_are_no_missing_champion(product: Product, role: str) -> None:
    """Without the champion's columns a candidate had nobody to beat."""
    product.change(gates=[{"kind": "beats_champion"}])
    evaluated(product, 0.8, champion=0.8)
    path = product.shelf.folder("r1", "evaluate") / "predictions.parquet"
    table = store.read_table(path)
    store.write_table(path, table.drop_columns([f"{role}.onnx-int8"]))
    with pytest.raises(FtcoreError, match=f"no outputs of (the )?{role}.* as onnx-int8.*\n.*evaluate again"):
        gate.run(product.context("gate"))
    assert product.shelf.ledger("gate") == []


def test_each_verdict_of_a_run_has_a_line(product: Product) -> None:
    """The second verdict of a run, on other gates or another candidate, left the first one's line as the last word."""
    product.change(gates=[{"kind": "threshold", "minimum": 0.95}])
    evaluated(product, 0.9)
    for minimum in (0.95, 0.8, 0.8):
        product.change(gates=[{"kind": "threshold", "minimum": minimum}])
        gate.run(product.context("gate"))
    lines = product.shelf.ledger("gate")
    assert [line["decision"] for line in lines] == ["failed", "passed"]
    assert lines[1]["verdict_sha256"] == product.tracking.version(1).tags["ftcore.verdict.sha256"]


def test_undecided_is_not_passed(product: Product) -> None:
    evaluated(product, 1.0, rows=99)
    outcome = gate.run(product.context("gate"))
    assert not outcome.proceed
    assert "undecided: 99 rows are too few" in outcome.reason
    decided = "no gate failed; undecided: threshold; the recipe's setting on_undecided: fail fails the candidate"
    assert outcome.reason.endswith(decided)
    assert {key: outcome.figures[key] for key in ("decided_by", "on_undecided", "undecided")} == {
        "decided_by": "on_undecided",
        "on_undecided": "fail",
        "undecided": ["threshold"],
    }
    assert notes(outcome.figures)[0] == f"N{decided[1:]}."
    assert verdicts.outcome(outcome.figures) == "Not passed: undecided (on_undecided: fail)"


def test_undecided_may_ask_a_person(product: Product) -> None:
    product.change(on_undecided="ask", approval={"required": 1})
    evaluated(product, 1.0, rows=99)
    outcome = gate.run(product.context("gate"))
    assert outcome.proceed
    assert outcome.figures["asks"]
    assert outcome.reason.startswith("asks\nthreshold: undecided: 99 rows are too few")
    assert product.shelf.ledger("gate")[0]["decision"] == "asks"
    assert product.tracking.version(1).tags["ftcore.verdict"] == "asks"
    assert outcome.figures["decided_by"] == "on_undecided"
    assert outcome.reason.endswith("on_undecided: ask passes the candidate on to the people who approve")
    assert verdicts.outcome(outcome.figures) == "Undecided, up to the people who approve (on_undecided: ask)"


@pytest.mark.parametrize("on_undecided", ["fail", "ask"])
def test_where_a_gate_failed_no_setting_decided(product: Product, on_undecided: str) -> None:
    gates = [{"kind": "threshold", "minimum": 0.99}, {"kind": "latency", "max_p95_ms": 5}]
    product.change(on_undecided=on_undecided, approval={"required": 1}, gates=gates)
    evaluated(product, 0.5)
    outcome = gate.run(product.context("gate"))
    assert not outcome.proceed
    assert (outcome.figures["decided_by"], outcome.figures["undecided"]) == ("gates", ["latency"])
    assert "on_undecided" not in outcome.reason
    assert verdicts.outcome(outcome.figures) == "Not passed"


def test_under_a_hold_it_judges_and_says_that_a_hold_is_on(product: Product) -> None:
    evaluated(product, 0.9)
    note = '{"by": "jon", "reason": "complaints", "at": "2026-11-21T05:00:00+00:00"}'
    tag_model(product.tracking, {versions.HOLD: note})
    outcome = gate.run(product.context("gate"))
    held = "promotion is held since 2026-11-21 05:00 UTC by jon: complaints"
    assert (outcome.proceed, outcome.figures["held"]) == (True, held)
    assert outcome.reason.endswith(f"\nbut {held}")
    assert product.shelf.ledger("gate")[0]["held"] == held
    assert product.tracking.version(1).tags["ftcore.verdict"] == "passed", "the verdict is that of the rules"


def test_nobody_can_be_asked_without_an_approval(product: Product) -> None:
    from ftcore.errors import RecipeError

    product.change(on_undecided="ask")
    with pytest.raises(RecipeError, match="there is no approval to wait for"):
        _ = product.recipe


def test_judged_again_leaves_one_line(product: Product) -> None:
    evaluated(product, 0.9)
    first, again = (gate.run(product.context("gate")) for _ in range(2))
    assert first == again
    assert len(product.shelf.ledger("gate")) == 1


def test_a_metric_that_is_none_is_a_fault_of_the_recipe(product: Product) -> None:
    from ftcore.errors import RecipeError

    product.change(gates=[{"kind": "threshold", "metric": "acuracy", "minimum": 0.5}])
    with pytest.raises(RecipeError):
        _ = product.recipe


def test_a_dataset_that_is_none_is_a_fault_of_the_recipe(product: Product) -> None:
    from ftcore.errors import RecipeError

    product.change(gates=[{"kind": "threshold", "datasets": ["tweets"], "minimum": 0.5}])
    with pytest.raises(RecipeError):
        _ = product.recipe
