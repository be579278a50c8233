"""Two versions on the rows that both were judged on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from ftcore.errors import FtcoreError
from ftcore.evaluation import paired
from ftcore.store.store import write_table
from tests.conftest import LABELS

if TYPE_CHECKING:
    from tests.conftest import Product

FORMS = ("torch", "onnx-int8")


def predictions(numbers: range, right: set[int], form: str, *, dataset: str = "test", salt: str = "") -> pa.Table:
    """A row for each number, answered right where it stands in ``right``; ``salt`` changes what the model was given."""
    truth = [number % 2 for number in numbers]
    hit = [number in right for number in numbers]
    scores = [[0.8, 0.2] if (one == 0) == good else [0.2, 0.8] for one, good in zip(truth, hit, strict=True)]
    return pa.table(
        {
            "row_id": [f"r{number}" for number in numbers],
            "text": [f"text {number}" for number in numbers],
            "label": [LABELS[one] for one in truth],
            "source": ["test"] * len(truth),
            "split_key": [None if number % 5 else "one group" for number in numbers],
            "dataset": [dataset] * len(truth),
            "input_sha256": [f"{salt}{number}" for number in numbers],
            f"candidate.{form}": pa.array(scores, pa.list_(pa.float32())),
        }
    )


def write(product: Product, run_id: str, table: pa.Table) -> None:
    write_table(product.shelf.folder(run_id, "evaluate") / "predictions.parquet", table)


def compare(product: Product) -> dict[str, Any]:
    return paired.compare(product.shelf, product.recipe, ("old", FORMS[0]), ("new", FORMS[1]))


def test_only_rows_of_both_count_and_each_with_itself(product: Product) -> None:
    write(product, "old", predictions(range(60), set(range(30)), FORMS[0]))
    write(product, "new", predictions(range(20, 100), set(range(20, 50)), FORMS[1]))
    found = compare(product)
    assert found["rows"] == {"test": 40}
    accuracy = {role: one[paired.FORM]["test"]["accuracy"]["value"] for role, one in found["metrics"].items()}
    assert accuracy == {"champion": pytest.approx(10 / 40), "candidate": pytest.approx(30 / 40)}
    difference = found["differences"][paired.FORM]["test"]["accuracy"]
    assert difference["value"] == pytest.approx(0.5)
    assert 0 < difference["low"] < 0.5 < difference["high"]
    test = found["mcnemar"][paired.FORM]["test"]
    assert (test["only_candidate_right"], test["only_champion_right"]) == (20, 0)


def test_what_rows_of_one_label_leave_undefined_is_no_number(product: Product) -> None:
    for run, form in zip(("old", "new"), FORMS, strict=True):
        write(product, run, predictions(range(0, 80, 2), set(range(40)), form))
    found = compare(product)
    for told in (found["metrics"]["champion"][paired.FORM]["test"], found["differences"][paired.FORM]["test"]):
        assert (told["f1"]["value"], told["f1"]["undefined"]) == (None, "every row has the same label")
        assert told["accuracy"]["value"] is not None


def test_the_other_way_round_it_is_the_same_with_the_other_sign(product: Product) -> None:
    generator = np.random.default_rng(3)
    for run, form in zip(("old", "new"), FORMS, strict=True):
        right = set(np.flatnonzero(generator.random(80) < 0.7).tolist())
        write(product, run, predictions(range(80), right, form))
    there = compare(product)["differences"][paired.FORM]["test"]["accuracy"]
    back = paired.compare(product.shelf, product.recipe, ("new", FORMS[1]), ("old", FORMS[0]))
    back = back["differences"][paired.FORM]["test"]["accuracy"]
    assert (back["value"], back["low"], back["high"]) == pytest.approx(
        (-there["value"], -there["high"], -there["low"]), abs=0.02
    )


@pytest.mark.parametrize("other", [{"salt": "changed "}, {"dataset": "tweets"}, {"dataset": "sealed"}])
def test_rows_that_are_not_the_same_are_not_paired(product: Product, other: dict[str, str]) -> None:
    write(
        product, "old", predictions(range(40), set(), FORMS[0], **({} if other.get("dataset") != "sealed" else other))
    )
    write(product, "new", predictions(range(40), set(), FORMS[1], **other))
    assert compare(product) == {"metrics": {}, "differences": {}, "mcnemar": {}, "rows": {}}


def test_predictions_that_are_gone_or_do_not_tell_their_input_are_named(product: Product) -> None:
    write(product, "old", predictions(range(40), set(), FORMS[0]))
    with pytest.raises(FtcoreError, match="predictions of run new are not in the store"):
        compare(product)
    write(product, "new", predictions(range(40), set(), FORMS[1]).drop_columns(["input_sha256"]))
    with pytest.raises(FtcoreError, match="do not have input_sha256"):
        compare(product)
