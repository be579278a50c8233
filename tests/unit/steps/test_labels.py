"""What the data half makes of labels: rows by split are counted, and what cannot be used is a fault with its value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftcore.context import Context, Outcome
from ftcore.data import labels, snapshot
from ftcore.errors import DataRejectedError
from ftcore.recipe.kinds import kind_class
from ftcore.reports import snapshot as reports
from ftcore.steps import prepare, validate
from ftcore.store.store import read_table
from tests.unit.steps._drafts import context, keep, many, row


def published(root: Path, rows: list[dict[str, Any]], **more: Any) -> tuple[Context, Outcome, dict[str, Any]]:
    given = context(root, rows, **more)
    run = keep(given, prepare.run(given))
    outcome = validate.run(run)
    return run, outcome, snapshot.manifest(run.shelf, outcome.figures["snapshot"])


def named(*labels: str) -> dict[str, Any]:
    return {"kind": "classification", "labels": list(labels)}


def test_a_label_with_hardly_any_row_is_told_with_the_data(tmp_path: Path) -> None:
    rows = [*many(120), row("v", "the only one about the vault in the cellar", "vault")]
    task = named("neg", "pos", "vault")
    run, outcome, manifest = published(tmp_path, rows, task=task)
    counts = manifest["labels_by_split"]
    assert list(counts) == task["labels"]
    assert {label: sum(own.values()) for label, own in counts.items()} == {"neg": 60, "pos": 60, "vault": 1}
    (warning,) = [one for one in outcome.figures["warnings"] if "without a row in some split" in one]
    where = ", ".join(f"{split} {counts['vault'][split]}" for split in snapshot.SPLITS)
    assert f"'vault' ({where})" in warning
    assert all(word in warning for word in ("Add rows", "label_map", "prepare.test", "group"))
    page = reports.published(run.shelf, run.recipe, manifest["snapshot"]).decode()
    assert page.count("<td>vault</td>") == 1
    with pytest.raises(DataRejectedError, match="without a row in some split: 'vault'"):
        published(tmp_path, rows, task=task, validation={"on_rare_label": "reject"}, run_id="strict")


def test_what_cannot_be_learnt_is_rejected_with_the_data_and_not_by_plan(tmp_path: Path) -> None:
    task = {"kind": "multilabel", "labels": ["neg", "pos"]}
    rows = [one | {"label": None} for one in many(120)]
    with pytest.raises(DataRejectedError, match="no row of the train split has a label: add rows"):
        published(tmp_path, rows, task=task, gates=[{"kind": "threshold", "metric": "f1_micro", "minimum": 0}])


def test_labels_of_a_row_are_compared_as_a_set_and_a_stray_one_costs_its_row(tmp_path: Path) -> None:
    rows = many(120)
    for one, label in zip(rows, ["a;b", "b", "", "c;a"] * 30, strict=True):
        one["label"] = label
    again = [row("again", rows[0]["text"], "b; a"), row("more", rows[3]["text"], '["a", "c"]')]
    stray = [row("s1", "a bill that was paid twice in one month", "bilng;a"), row("s2", "who sent this?", "bilng")]
    gates = [{"kind": "threshold", "metric": "f1_micro", "minimum": 0}]
    task = {"kind": "multilabel", "labels": ["a", "b", "c"], "separator": ";"}
    reason = "label 'bilng' is none of task.labels: a, b, c"
    _, outcome, manifest = published(tmp_path, [*rows, *again, *stray], task=task, gates=gates)
    assert (manifest["rows"], manifest["quarantine_reasons"]) == (120, {reason: 2})
    assert {label: sum(own.values()) for label, own in manifest["labels_by_split"].items()} == {
        "a": 60,
        "b": 60,
        "c": 30,
    }
    task |= {"other_labels": "ignore"}
    _, outcome, manifest = published(tmp_path, [*rows, *again, *stray], task=task, gates=gates, run_id="two")
    assert (manifest["rows"], manifest["quarantine_reasons"]) == (122, {})
    assert not any("bilng" in one for one in outcome.figures["warnings"])


def test_other_labels_can_be_left_out_without_being_faults(tmp_path: Path) -> None:
    rows = [*many(120), *(row(f"o{n}", f"number {n} has a label of some other project", "other") for n in range(40))]
    with pytest.raises(DataRejectedError, match=r"40 × label 'other' is none of task.labels: neg, pos"):
        published(tmp_path, rows)
    _, _, manifest = published(tmp_path, rows, task=named("neg", "pos") | {"other_labels": "ignore"}, run_id="two")
    (reason,) = manifest["quarantine_reasons"]
    assert reason == "left out by the recipe: label 'other' is none of task.labels: neg, pos"
    assert manifest["filtered"] == {reason: 40}


def test_a_value_that_is_shown_holds_no_personal_data(tmp_path: Path) -> None:
    rows = [*many(120), row("p", "somebody put the address into the wrong column", "ann@example.org")]
    run, _, manifest = published(tmp_path, rows)
    assert set(manifest["quarantine_reasons"]) == {"label '[EMAIL_ADDRESS]' is none of task.labels: neg, pos"}
    quarantine = read_table(run.shelf.folder(run.run_id, "prepare") / "quarantine.parquet").to_pylist()
    assert "ann@" not in str(quarantine)


def test_a_column_of_free_texts_taken_for_labels_gives_a_short_message(tmp_path: Path) -> None:
    rows = [one | {"label": f"{n} words that somebody wrote"} for n, one in enumerate(many(700))]
    with pytest.raises(DataRejectedError) as error:
        published(tmp_path, rows)
    assert "and 688 other reasons" in str(error.value)
    assert len(str(error.value)) < 3_000


def test_rows_by_label_of_tags_and_of_the_parts_of_a_task() -> None:
    import pyarrow as pa

    tagging = {"kind": "tagging", "labels": ["O", "B-X"], "sources": ["s:b"]}
    parts = {"topic": named("a", "b") | {"sources": ["s:a"]}, "tags": tagging}
    task = kind_class("tasks", "multitask").model_validate({"kind": "multitask", "parts": parts})
    rows = pa.table(
        {
            "split": ["train", "train", "test"],
            "label": ["a", "O B-X O", "O"],
            "source": ["s:a", "s:b", "s:b"],
        }
    )
    found = labels.table(task, labels.counts(task, rows))
    assert {label: tuple(own.values()) for label, own in found.items()} == {
        "topic/a": (1, 0, 0),
        "topic/b": (0, 0, 0),
        "tags/O": (1, 0, 1),
        "tags/B-X": (1, 0, 0),
    }
    assert "topic/b" in labels.warning(found)
    assert labels.unlearnable(task, found, labels.rows_of_parts(task, rows)) == [
        "part topic: the validation split has no row",
        "part topic: the test split has no row",
        "part topic: every row of the train split has the label a: there is nothing to distinguish",
        "part tags: the validation split has no row",
    ]
