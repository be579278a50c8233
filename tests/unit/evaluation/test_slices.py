"""Groups of rows: what belongs together is resampled together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ftcore.evaluation import slices
from ftcore.recipe import reading

LABELS = ["a", "b", "c", "d"]
SURE = np.eye(4)


def test_rows_of_one_group_share_an_id_and_rows_without_one_are_alone() -> None:
    rows = pa.table(
        {
            "split_key": ["k1", "k1", None, None, None, None],
            "group": ["anna", "ben", "carl", "carl", None, None],
        }
    )
    ids = slices.clusters(rows).tolist()
    assert ids[0] == ids[1], "the split key counts more than the group's name"
    assert ids[2] == ids[3]
    assert len(set(ids)) == 4


def test_a_table_of_an_older_evaluation_has_a_group_for_each_row() -> None:
    assert len(set(slices.clusters(pa.table({"text": ["a", "a"]})).tolist())) == 2
    assert slices.clusters(pa.table({"text": pa.array([], pa.string())})).tolist() == []


@pytest.mark.parametrize(
    ("task", "labels", "outputs", "never"),
    [
        ({"kind": "classification", "labels": LABELS}, ["a", "b", "c", "c"], SURE[[0, 0, 1, 1]], {"c": 2, "d": 0}),
        ({"kind": "classification", "labels": LABELS}, ["a", "b", "c", "d"], SURE, {}),
        ({"kind": "multilabel", "labels": LABELS}, ["a,b", "", "c"], SURE[[0, 1, 0]], {"c": 1, "d": 0}),
        (
            {"kind": "tagging", "labels": ["O", "B-X", "B-Y"]},
            ["O B-X", "B-Y B-Y"],
            [["O", "O"], ["O", "B-X"]],
            {"B-Y": 1},
        ),
        ({"kind": "chat"}, ["an answer"], ["another"], {}),
    ],
)
def test_labels_that_are_never_predicted_are_named(
    minimal: dict[str, Any], task: dict[str, Any], labels: list[str], outputs: Any, never: dict[str, int]
) -> None:
    metric = {"kind": "threshold", "minimum": 0.5} | ({"metric": "chrf"} if task["kind"] == "chat" else {})
    made = reading.parse(minimal | {"task": task, "exports": [], "gates": [metric]})
    rows = pa.table({"label": labels, "source": ["files:rows"] * len(labels)})
    assert slices.never_predicted(made, rows, outputs) == never


def test_of_several_parts_each_has_its_own_labels(minimal: dict[str, Any]) -> None:
    part = {"kind": "classification", "labels": ["x", "y"]}
    task = {
        "kind": "multitask",
        "parts": {"one": part | {"sources": ["files:a"]}, "two": part | {"sources": ["files:b"]}},
    }
    gates = [{"kind": "threshold", "metric": "one/accuracy", "minimum": 0.5}]
    sources = [{"kind": "files", "path": "rows.csv", "name": name} for name in "ab"]
    made = reading.parse(minimal | {"task": task, "exports": [], "gates": gates, "sources": sources})
    rows = pa.table({"label": ["x", "y", "y"], "source": ["files:a", "files:a", "files:b"]})
    said = [{"one": [1.0, 0.0], "two": None}, {"one": [0.9, 0.1], "two": None}, {"one": None, "two": [0.2, 0.8]}]
    assert slices.never_predicted(made, rows, said) == {"one/y": 1, "two/x": 0}
