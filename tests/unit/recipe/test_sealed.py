"""Sealed test rows: drawn by group, for ever, and looked at by the final comparison alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from ftcore.data.split import SplitKeys
from ftcore.errors import RecipeError
from ftcore.recipe import sealed
from ftcore.steps import gate
from ftcore.store import store
from ftcore.store.records import Record, now

if TYPE_CHECKING:
    from conftest import Product

KEYS = SplitKeys(b"0" * 32)
FLAVOURS = ("onnx-int8", "onnx-fp32", "torch")


def table(count: int, groups: int) -> pa.Table:
    names = [f"group {number % groups}" for number in range(count)]
    texts = [f"text {number}" for number in range(count)]
    columns = {"dataset": ["test"] * count, "group": names, "text": texts, "split_key": KEYS.of(names, texts)}
    return pa.table(columns)


@pytest.mark.parametrize("with_keys", [True, False])
def test_groups_stay_together_and_a_larger_share_opens_none(with_keys: bool) -> None:
    rows = table(4000, 1000)
    if not with_keys:
        rows = rows.set_column(3, "split_key", pa.nulls(4000, pa.string()))
    found: list[set[str]] = []
    for share in (0.1, 0.3, 0.6):
        names = sealed.seal(rows, share)["dataset"].to_pylist()
        groups = {
            name: {g for g, n in zip(rows["group"].to_pylist(), names, strict=True) if n == name} for name in names
        }
        assert not groups["test"] & groups["sealed"]
        assert len(groups["sealed"]) / 1000 == pytest.approx(share, abs=0.05)
        found.append(groups["sealed"])
    assert found[0] < found[1] < found[2]
    assert sealed.seal(rows, 0.0) is rows


def test_the_draw_is_another_one_than_that_of_the_split() -> None:
    keys = table(4000, 4000)["split_key"].to_pylist()
    split = np.array([int(key[:13], 16) / 16**13 for key in keys])
    assert abs(np.corrcoef(split, [sealed.drawn(key) for key in keys])[0, 1]) < 0.05


def test_only_test_rows_are_sealed() -> None:
    rows = table(100, 100)
    rows = rows.set_column(0, "dataset", pa.array(["tweets"] * 100))
    assert set(sealed.seal(rows, 0.9)["dataset"].to_pylist()) == {"tweets"}


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"gates": [{"kind": "threshold", "minimum": 0.5}]}, "evaluate.sealed", "no gate would look at"),
        (
            {
                "gates": [{"kind": "beats_champion", "datasets": ["test", "more"]}],
                "evaluate": {"sealed": 0.5, "holdouts": {"more": {"kind": "files", "path": "more.csv"}}},
            },
            "gates[0].datasets",
            "not on test, more: set datasets: [test]",
        ),
        (
            {"evaluate": {"holdouts": {"sealed": {"kind": "files", "path": "more.csv"}}}},
            "evaluate.holdouts.sealed",
            "name the holdout otherwise",
        ),
    ],
)
def test_contradictions_are_explained(product: Product, change: dict[str, Any], path: str, reason: str) -> None:
    product.change(evaluate={"sealed": 0.5}, gates=[{"kind": "beats_champion"}])
    product.change(**change)
    with pytest.raises(RecipeError) as caught:
        _ = product.recipe
    assert path in str(caught.value)
    assert reason in str(caught.value)


def evaluated(product: Product, run: str, right: float, sealed_rows: int, *, size: int = 1) -> None:
    """Leave an evaluation with 300 open rows, and sealed ones in groups of ``size``; the champion has 70 % right."""
    rows = 300 + sealed_rows
    truth = np.arange(rows) % 2
    place = np.concatenate([np.arange(300) / 300, np.arange(sealed_rows) / max(sealed_rows, 1)])

    def probabilities(share: float) -> pa.Array:
        said = np.where(place < share, truth, 1 - truth)
        return pa.array([[0.9, 0.1] if label == 0 else [0.1, 0.9] for label in said], pa.list_(pa.float32()))

    columns: dict[str, Any] = {name: ["x"] * rows for name in ("source", "text")}
    columns["dataset"] = ["test"] * 300 + ["sealed"] * sealed_rows
    columns["split_key"] = [f"open {n}" for n in range(300)] + [f"sealed {n // size}" for n in range(sealed_rows)]
    columns["label"] = [("negative", "positive")[label] for label in truth]
    columns |= {f"candidate.{flavour}": probabilities(right) for flavour in FLAVOURS}
    columns |= {f"champion.{flavour}": probabilities(0.7) for flavour in FLAVOURS}
    path = product.shelf.folder(run, "evaluate") / "predictions.parquet"
    store.write_table(path, pa.table(columns))
    store.write_json(path.with_name("evaluation.json"), {})
    paths = {"predictions": path, "evaluation": path.with_name("evaluation.json")}
    record = Record(
        step="evaluate",
        recipe=product.name,
        run_id=run,
        fingerprint="",
        started_at=now(),
        figures={"candidate": product.register(run).number, "champion": 1},
        paths={name: product.shelf.relative(one) for name, one in paths.items()},
    )
    product.shelf.write_record(record)


@pytest.fixture
def judged(product: Product) -> Product:
    product.change(evaluate={"sealed": 0.4}, gates=[{"kind": "beats_champion"}, {"kind": "threshold", "minimum": 0.6}])
    product.crown("r0")
    return product


def final(product: Product, run: str) -> dict[str, Any]:
    rules: list[dict[str, Any]] = gate.run(product.context("gate", run)).figures["rules"]
    assert [rule["gate"] for rule in rules] == ["beats_champion", "threshold"]
    assert rules[1]["rows"] == 300
    return rules[0]


def test_the_final_comparison_is_made_on_the_sealed_rows_alone(judged: Product) -> None:
    evaluated(judged, "r1", 0.95, 400, size=4)
    rule = final(judged, "r1")
    assert (rule["passed"], rule["rows"], rule["groups"], rule["look"]) == (True, 400, 100, 1)
    assert "on 400 rows in 100 groups, paired, of the sealed part of test" in rule["reason"]
    assert final(judged, "r1") == rule, "judged again, it is the same look"


def test_a_look_at_the_sealed_rows_is_counted_only_where_they_are_looked_at(judged: Product) -> None:
    evaluated(judged, "r1", 0.3, 400)
    rule = final(judged, "r1")
    assert (rule["passed"], rule["rows"], rule["look"]) == (None, 0, None)
    assert "the sealed part of test (400 rows) is looked at once every other rule has passed" in rule["reason"]
    assert rule["reason"].endswith("not passed: threshold")
    for look, run in enumerate(("r2", "r3"), 1):
        evaluated(judged, run, 0.8, 400)
        assert final(judged, run)["look"] == look


@pytest.mark.parametrize(
    ("rows", "size", "reason"),
    [
        (
            120,
            1,
            "120 rows of the sealed part of test are too few to compare with the champion, at least 200 are needed",
        ),
        (240, 24, "at least 30 groups are needed (min_groups): raise evaluate.sealed, or add rows"),
        (0, 1, "the sealed part of test has no rows, at least 200 are needed: raise evaluate.sealed, or add rows"),
    ],
)
def test_too_few_sealed_rows_are_undecided_and_not_looked_at(
    judged: Product, rows: int, size: int, reason: str
) -> None:
    evaluated(judged, "r1", 0.95, rows, size=size)
    rule = final(judged, "r1")
    assert rule["passed"] is None
    assert reason in rule["reason"]
    evaluated(judged, "r2", 0.95, 400, size=max(size // 4, 1))
    assert final(judged, "r2")["look"] == 1


def test_a_first_model_has_nobody_to_beat(judged: Product) -> None:
    evaluated(judged, "r1", 0.95, 400)
    record = judged.shelf.record("r1", "evaluate")
    assert record is not None
    path = judged.shelf.root / record.paths["predictions"]
    rows = store.read_table(path)
    store.write_table(path, rows.drop_columns([name for name in rows.column_names if name.startswith("champion.")]))
    judged.shelf.write_record(record.model_copy(update={"figures": record.figures | {"champion": None}}))
    assert final(judged, "r1")["passed"] is True
