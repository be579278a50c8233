"""What the evaluation records of how exports agree: with the trained model, and with themselves row by row."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from ftcore.evaluation import agreement
from ftcore.models import outputs
from ftcore.serving import model as models

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Product

TEXTS = ["good", "the film is bad", "a great story, and a bright end to it", "1 2 3 4 5 6 7 8 9", "dull"]


def test_each_export_is_compared_with_torch_and_alone_with_in_batches(product: Product, tiny: Path) -> None:
    flavours = ("onnx-int8", "onnx-fp32", "torch")
    version = product.crown("first", folders=[tiny / name for name in ("model", *flavours[:2])])
    rows = pa.table({"row_id": list("abcde"), "text": TEXTS, "label": ["positive"] * 5})
    loaded = {name: models.load(product.recipe, product.tracking, version, name) for name in flavours}
    columns: dict[tuple[str, str], Any] = {
        ("candidate", name): outputs.column(model.outputs(TEXTS)) for name, model in loaded.items()
    }
    context: Any = SimpleNamespace(recipe=product.recipe)
    found = agreement.agreement(context, product.tracking, version, rows, columns)
    assert list(found) == ["onnx-int8", "onnx-fp32"]
    assert [one["exact"] for one in found.values()] == [False, True]
    assert found["onnx-fp32"] | {"max_difference": 0, "alone": 0} == {
        "exact": True, "rows": 5, "disagree": 0, "off": 0, "max_difference": 0, "alone": 0,
    }  # fmt: skip
    for one in found.values():
        assert (one["alone"]["rows"], one["alone"]["off"], one["alone"]["disagree"]) == (5, 0, 0)

    leaked = np.array(outputs.of(columns["candidate", "onnx-fp32"]))
    leaked[2] = leaked[2][::-1]  # what a batch with another padding gave one row
    columns["candidate", "onnx-fp32"] = outputs.column(leaked)
    broken = agreement.agreement(context, product.tracking, version, rows, columns)["onnx-fp32"]
    for one in (broken, broken["alone"]):
        assert (one["disagree"], one["off"]) == (1, 1)
        assert one["max_difference"] == pytest.approx(abs(leaked[2, 0] - leaked[2, 1]), rel=1e-3)


def test_of_words_the_answers_are_compared_and_of_parts_each_rows_own() -> None:
    assert agreement._difference("a", "b") == 0
    assert agreement._difference(["O", "B-PER"], ["O", "O"]) == 0
    assert agreement._difference({"a": None, "b": [0.25, 0.75]}, {"a": None, "b": [0.5, 0.5]}) == 0.25
    assert agreement._difference(np.float32(200.0), np.float32(100.0)) == 1.0
