"""F1, precision and recall name the class that they are about, wherever a person reads them."""

from __future__ import annotations

from typing import Any

import pytest

from ftcore.registry.metric_titles import title

TWO = {"kind": "classification", "labels": ["no", "yes"]}
MANY = {"kind": "classification", "labels": ("a", "b", "c")}


@pytest.mark.parametrize(
    ("metric", "task", "wanted"),
    [
        ("f1", TWO, "f1 (of yes)"),
        ("precision", TWO, "precision (of yes)"),
        ("recall", MANY, "recall (mean over labels)"),
        ("accuracy", TWO, "accuracy"),
        ("f1_macro", {"kind": "multilabel", "labels": ["a", "b"]}, "f1_macro"),
        ("f1", {"kind": "tagging", "labels": ["PER"]}, "f1 (whole entities)"),
        ("f1", {"kind": "qa"}, "f1 (words)"),
        ("films/f1", {"kind": "multitask", "parts": {"films": TWO}}, "films/f1 (of yes)"),
        ("test.onnx-int8.films/f1", {"kind": "multitask", "parts": {"films": TWO}}, "test.onnx-int8.films/f1 (of yes)"),
        ("test.onnx-int8.f1", TWO, "test.onnx-int8.f1 (of yes)"),
        ("films/f1", {"kind": "multitask", "parts": {}}, "films/f1"),
        *(("f1", task, "f1") for task in ({}, {"kind": "classification"}, {"parts": None}, {"labels": []})),
    ],
)
def test_a_metric_says_which_class_it_is_about(metric: str, task: dict[str, Any], wanted: str) -> None:
    assert title(metric, task) == wanted
