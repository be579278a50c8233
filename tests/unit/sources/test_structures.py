"""A list or an object of a source reaches a task that can read it as JSON, and is a fault by name where none can."""

from __future__ import annotations

import datetime as dt

import pytest

from ftcore import snapshot
from ftcore._find import find
from ftcore.cleaning import personal, rows
from ftcore.sections import PersonalData
from ftcore.sources._mapping import Batch, Mapped, Mapper, structured


def test_what_is_structured_is_json_in_the_order_in_which_it_was_written() -> None:
    value = {"role": "user", "a": [1, 2.5, float("nan"), None, True], "at": dt.date(2026, 1, 2), "é": (b"x", {3})}
    assert structured(value) == (
        '{"role": "user", "a": [1, 2.5, null, null, true], "at": "2026-01-02", "é": ["x", [3]]}'
    )


@pytest.mark.parametrize("value", [["a", "b"], {"a": 1}])
def test_a_structure_is_spoilt_only_for_fields_that_cannot_hold_one(value: object) -> None:
    batch = Batch({"text": [value], "label": ["a"]}, "here.jsonl", [1])
    row = Mapper(Mapped(), "s").table(batch).to_pylist()[0]
    assert row["text"] == structured(value)
    assert not batch.spoiled
    for config in (Mapped(id="text"), Mapped(group="text"), Mapped(text="text")):
        batch = Batch({"text": [value], "label": ["a"]}, "here.jsonl", [1])
        taken = () if config.group is None and config.id is None else ("text",)
        Mapper(config, "s", structures=taken).table(batch)
        assert batch.spoiled[0].startswith("[text is a")


def test_a_row_that_could_not_be_read_is_a_fault_with_its_reason() -> None:
    batch = Batch({"text": [["a"], "fine"], "label": ["ham", "ham"]}, "here.jsonl", [1, 2])
    table = Mapper(Mapped(), "s", structures=()).table(batch)
    task = find("tasks", "classification").Config(labels=("ham", "spam"))
    cleaned = rows.clean(table.cast(snapshot.schema()), task, personal.cleaner(PersonalData(), {}, "r"))
    assert cleaned.faults == {0: "the row could not be read: text is a list"}
