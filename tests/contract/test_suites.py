"""Every task kind has a suite; run by Great Expectations, a good row passes it and each spoilt one is set aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftcore import settings
from ftcore.recipe.kinds import kind_class, kinds

FOLDER = settings.REPOSITORY / "expectations"
every_task = pytest.mark.parametrize("kind", kinds("tasks"))
GOOD: dict[str, dict[str, str | None]] = {
    "text": {"context": "a system prompt or a passage", "label": "a passage"},
    "number": {"context": None, "label": "-0.5"},
    "none": {"context": None, "label": None},
    "labels": {"context": None, "label": None},
}


def suite(kind: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{kind}.json").read_text(encoding="utf-8"))


@every_task
def test_each_expectation_says_what_it_is_and_what_a_failure_means(kind: str) -> None:
    found = suite(kind)
    assert found["name"] == kind
    for one in found["expectations"]:
        assert one["meta"]["on_failure"] in {"quarantine", "reject", "warn"}
        assert one["meta"]["reason"]
        assert one["description"].endswith(".")
        assert one["type"] != "expect_table_row_count_to_be_between", "that is for the snapshot as a whole"


def rows(kind: str) -> list[dict[str, Any]]:
    """A good row of the task, and rows that are spoilt in one way each."""
    task = kind_class("tasks", kind)
    good = GOOD.get(task.TARGET, {}) | ({"label": "B-PER O O"} if kind == "tagging" else {})
    good |= {"label": task.EXAMPLE["labels"][0], "context": None} if task.TARGET == "label" else {}
    base = {"text": "Where is Ann?", "source": "test", "group": None, "observed_at": None, "split": "train", **good}
    spoilt: list[dict[str, Any]] = [{}, {"text": " "}, {"text": "br\ufffdken"}, {"text": "x" * 99}, {"split": "dev"}]
    if task.TARGET in {"text", "number", "label"} and kind != "multitask":  # prepare knows whose label is whose
        spoilt.append({"label": None})
    if task.TARGET in {"number", "label"} or kind == "tagging":
        spoilt.append({"label": "B-PER per" if kind == "tagging" else "about five"})
    if kind == "multitask":
        spoilt.append({"source": None})
    if kind == "qa":
        spoilt.append({"context": None})
    if kind == "preference":
        base["rejected"] = "a worse answer"
        spoilt.append({"rejected": None})
    return [{**base, **change, "row_id": f"{n:020}"} for n, change in enumerate(spoilt)]


@every_task
def test_it_lets_a_good_row_pass_and_sets_each_spoilt_one_aside(kind: str, tmp_path: Path) -> None:
    import pandas as pd

    from ftcore.data.validation.great_expectations import run_suite

    given, found = rows(kind), suite(kind)
    if kind_class("tasks", kind).TARGET == "label":  # that every label has rows is no matter of one row
        found["expectations"] = [e for e in found["expectations"] if "contain_set" not in e["type"]]
    labels = kind_class("tasks", kind).EXAMPLE.get("labels", [])
    parameters = {"labels": list(labels), "min_length": 1, "max_length": 50, "min_rows": 1}
    result = run_suite(pd.DataFrame(given), found, parameters, name="r1", docs=tmp_path)
    assert result.rejections == []
    assert sorted(result.failures) == list(range(1, len(given)))
