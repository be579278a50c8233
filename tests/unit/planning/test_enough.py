"""Gates that ask for more rows than there are to judge on are named before a training is paid for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftcore.cli import recipes as commands
from ftcore.planning import enough
from ftcore.planning.enough import Size
from ftcore.recipe import sealed
from ftcore.recipe.kinds import kind_class, kinds
from ftcore.recipe.reading import parse
from ftcore.steps import plan

if TYPE_CHECKING:
    from conftest import Product

    from ftcore.recipe.model import Recipe

HOLDOUTS = {name: {"kind": "files", "path": f"{name}.csv"} for name in ("mail", "chat")}


def recipe(minimal: dict[str, Any], *gates: dict[str, Any], **evaluate: Any) -> Recipe:
    made = {**minimal, "gates": list(gates), "evaluate": {"holdouts": HOLDOUTS, "slices": ["source"], **evaluate}}
    return parse(made)


TEST_ROWS = [
    ("threshold", {"minimum": 0.5}, "needs 100 rows of test (gates[0].min_rows), and there are 99 rows: on fewer"),
    ("threshold", {"minimum": 0.5, "min_rows": 99}, ""),
    ("threshold", {"minimum": 0.5, "datasets": ["test", "mail"]}, ""),
    ("threshold", {"minimum": 0.5, "datasets": ["mail"]}, "needs 100 rows of mail (gates[0].min_rows)"),
    ("threshold", {"minimum": 0.5, "datasets": ["chat"]}, ""),
    ("beats_champion", {}, "needs 200 rows of test (gates[0].min_rows), and there are 99 rows"),
    ("beats_champion", {"datasets": ["test", "mail"]}, "needs 200 rows of test and mail (gates[0].min_rows)"),
    ("calibration", {}, "needs 200 rows of test (gates[0].min_rows)"),
    ("beats_baseline", {"min_rows": 99}, "needs 99 rows of mail (gates[0].min_rows), and there are 50 rows"),
    ("forgetting", {}, "needs 200 rows of mail (gates[0].min_rows), and there are 50 rows: on fewer only a large loss"),
    ("parity", {"min_rows": 1000}, ""),
    ("latency", {"max_p95_ms": 5}, ""),
]
"""With 99 test rows, 50 rows of the holdout mail, and nothing known of the holdout chat."""


@pytest.mark.parametrize(("kind", "settings", "expected"), TEST_ROWS)
def test_each_gate_names_what_it_needs(
    minimal: dict[str, Any], kind: str, settings: dict[str, Any], expected: str
) -> None:
    made = recipe(minimal, {"kind": kind, **settings})
    found = enough.warnings(made, {"test": Size(99, 99), "mail": Size(50, 50)})
    assert len(found) == bool(expected), found
    assert all(expected in one for one in found)
    assert all(one.endswith("or lower min_rows") for one in found)


@pytest.mark.parametrize("kind", kinds("gates"))
def test_a_gate_that_needs_rows_is_never_silent(minimal: dict[str, Any], kind: str) -> None:
    """Whatever the gate, where all datasets have one row less than it asks for it is named, and with one more not."""
    example = kind_class("gates", kind).EXAMPLE
    made = recipe(minimal, example, slices=["source", "label", "language", "length"])
    (gate,) = made.gates
    least = gate.least().get("min_rows", 0)
    names = ("test", *HOLDOUTS)
    few = enough.warnings(made, {name: Size(int(name == "test") and (least - 1) // 3, 1) for name in names})
    assert bool(few) == bool(least), few
    assert all(kind in one for one in few)
    assert enough.warnings(made, {name: Size(least * 3, least * 3) for name in names}) == []


def test_few_groups_are_too_few_and_where_each_row_is_one_there_are_none(minimal: dict[str, Any]) -> None:
    made = recipe(minimal, {"kind": "threshold", "minimum": 0.5})
    (found,) = enough.warnings(made, {"test": Size(500, 12)})
    assert "needs 30 groups of test (gates[0].min_groups), and there are 500 rows in 12 groups" in found
    assert "Add about 90 groups to the sources, or raise prepare.test, or lower min_groups" in found
    small = recipe(minimal, {"kind": "threshold", "minimum": 0.5, "min_rows": 20})
    assert enough.warnings(small, {"test": Size(20, 20)}) == [], "twenty rows of twenty groups"


def test_what_can_be_done_has_numbers(minimal: dict[str, Any]) -> None:
    made = recipe({**minimal, "prepare": {"test": 0.25}}, {"kind": "threshold", "minimum": 0.5})
    (found,) = enough.warnings(made, {"test": Size(40, 40)})
    assert "Add about 240 rows to the sources, or raise prepare.test, or lower min_rows" in found
    far = recipe(minimal, {"kind": "threshold", "minimum": 0.5, "datasets": ["mail"]})
    assert "Add 60 rows to evaluate.holdouts.mail, or lower min_rows" in enough.warnings(far, {"mail": Size(40, 40)})[0]
    shut = recipe(minimal, {"kind": "beats_champion"}, sealed=0.5)
    (found,) = enough.warnings(shut, {"test": Size(10_000, 10_000), "sealed": Size(190, 190)})
    assert "needs 200 rows of the sealed part of test" in found
    assert "Add about 100 rows to the sources, or raise evaluate.sealed or prepare.test" in found


@given(st.lists(st.integers(0, 40), max_size=200), st.sampled_from([0.0, 0.3, 0.9]))
def test_sealed_and_open_rows_are_counted_as_they_are_drawn(numbers: list[int], share: float) -> None:
    keys = [f"{number:016x}" for number in numbers]
    found = enough.of_test(np.array([key.encode() for key in keys], bytes), share)
    closed = [key for key in keys if sealed.drawn(key) < share]
    opened = [key for key in keys if key not in set(closed)]
    assert found["test"] == Size(len(opened), len(set(opened)))
    assert found.get("sealed", Size(0, 0)) == Size(len(closed), len(set(closed)))


def test_check_and_plan_say_so_before_anything_is_paid_for(
    product: Product, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    product.write_rows([(f"a text of number {number}", "negative") for number in range(200)], "mail.csv")
    holdouts = {"mail": {"kind": "files", "path": "mail.csv"}, "gone": {"kind": "files", "path": "gone.csv"}}
    gates = [
        {"kind": "threshold", "minimum": 0.5},
        {"kind": "threshold", "minimum": 0.5, "datasets": ["mail"]},
        {"kind": "threshold", "minimum": 0.5, "datasets": ["gone"]},
    ]
    product.change(gates=gates, evaluate={"holdouts": holdouts})
    identity = product.publish(range(60))
    notes = commands._of_snapshot(product.recipe, product.settings)
    (note,) = [one for one in notes if "threshold" in one]
    assert note.startswith(f"snapshot {identity}: the gate threshold needs 100 rows of test (gates[0].min_rows)")
    with caplog.at_level(logging.WARNING, "ftcore"):
        found = plan._too_few(product.context("plan"), identity)
    assert [one.split(" (gates")[0] for one in found] == [
        "the gate threshold needs 100 rows of test",
        "the gate threshold needs 100 rows of mail",
    ]
    assert set(found) <= set(caplog.messages)
    assert any("evaluate.holdouts.gone cannot be counted" in one for one in caplog.messages)
    product.change(gates=[{"kind": "threshold", "minimum": 0.5, "min_rows": 1}])
    assert [one for one in commands._of_snapshot(product.recipe, product.settings) if "threshold" in one] == []
