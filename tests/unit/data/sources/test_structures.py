"""A list or an object of a source reaches a task that can read it as JSON, and is a fault by name where none can."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from ftcore.data import snapshot
from ftcore.data.cleaning import personal, rows
from ftcore.data.sources._mapping import Batch, Mapper
from ftcore.data.sources.files import Files
from ftcore.data.values import structured
from ftcore.recipe.kinds import kind_class
from ftcore.recipe.sections import PersonalData


def test_what_is_structured_is_json_in_the_order_in_which_it_was_written() -> None:
    value = {"role": "user", "a": [1, 2.5, float("nan"), None, True], "at": dt.date(2026, 1, 2), "é": (b"x", {3})}
    assert structured(value) == (
        '{"role": "user", "a": [1, 2.5, null, null, true], "at": "2026-01-02", "é": ["x", [3]]}'
    )


@pytest.mark.parametrize("value", [["a", "b"], {"a": 1}])
def test_a_structure_is_spoilt_only_for_fields_that_cannot_hold_one(value: object) -> None:
    batch = Batch({"text": [value], "label": ["a"]}, "here.jsonl", [1])
    row = Mapper(Files(path="a.csv"), "s").table(batch).to_pylist()[0]
    assert row["text"] == structured(value)
    assert not batch.spoiled
    for config in (Files(path="a.csv", id="text"), Files(path="a.csv", group="text"), Files(path="a.csv", text="text")):
        batch = Batch({"text": [value], "label": ["a"]}, "here.jsonl", [1])
        taken = () if config.group is None and config.id is None else ("text",)
        Mapper(config, "s", structures=taken).table(batch)
        assert batch.spoiled[0].startswith("[text is a")


def test_a_row_that_could_not_be_read_is_a_fault_with_its_reason() -> None:
    batch = Batch({"text": [["a"], "fine"], "label": ["ham", "ham"]}, "here.jsonl", [1, 2])
    table = Mapper(Files(path="a.csv"), "s", structures=()).table(batch)
    task = kind_class("tasks", "classification")(labels=("ham", "spam"))
    cleaned = rows.clean(table.cast(snapshot.schema()), task, personal.cleaner(PersonalData(), {}, "r"))
    assert cleaned.faults == {0: "the row could not be read: text is a list"}


@pytest.mark.parametrize(
    ("label_map", "given", "wanted"),
    [
        ({"0": "calm", "1": "urgent"}, [0, 1, 0.0, 1.0, "1.0", True, "false", "x", None], "cucuuuc"),
        ({"0": "calm", "1": "urgent", "false": "calm", "true": "urgent"}, [0, "0.0", False, "True", 1.0], "cccuu"),
        ({False: "calm", True: "urgent"}, [False, True, "TRUE", "1"], "cuuu"),
        ({"refund": "urgent", "": "calm"}, ["refund\xa0", "re\u200bfund", ""], "uuc"),
    ],
)
def test_a_label_is_the_key_of_the_map_that_it_means(label_map: dict[Any, str], given: list[Any], wanted: str) -> None:
    mapper = Mapper(Files.model_validate({"path": "a.csv", "label_map": label_map}), "s")
    table = mapper.table(Batch({"text": given, "label": given}, "here", list(range(len(given)))))
    short = {"c": "calm", "u": "urgent"}
    assert table["label"].to_pylist() == [short[one] for one in wanted] + given[len(wanted) :]


def test_keys_that_are_one_label_must_stand_for_one() -> None:
    with pytest.raises(ValueError, match="the keys '1' and 'true' are one label and stand for 'a' and 'b'"):
        Files.model_validate({"path": "a.csv", "label_map": {"1": "a", "true": "b"}})


def test_names_stand_in_place_of_the_numbers_of_class_labels_wherever_they_are() -> None:
    datasets = pytest.importorskip("datasets")
    from ftcore.data.sources.hf import _named

    tags = datasets.ClassLabel(names=["O", "B-PER"])
    features = datasets.Features(
        {
            "plain": tags,
            "tags": datasets.Sequence(tags),
            "deep": datasets.Sequence(datasets.Sequence(tags)),
            "object": {"tag": tags, "word": datasets.Value("string")},
            "objects": datasets.Sequence({"tag": tags, "word": datasets.Value("string")}),
            "others": datasets.Sequence(datasets.Value("int64")),
        }
    )
    made = datasets.Dataset.from_dict(
        {
            "plain": [1, -1],
            "tags": [[0, 1], [-1]],
            "deep": [[[1], [0]], []],
            "object": [{"tag": 1, "word": "a"}, {"tag": 0, "word": "b"}],
            "objects": [{"tag": [1], "word": ["a"]}, {"tag": [], "word": []}],
            "others": [[0, 1], [1]],
        },
        features=features,
    )
    (rows,) = made.iter(batch_size=2)
    assert {name: _named(made.features, name, values) for name, values in rows.items()} == {
        "plain": ["B-PER", None],
        "tags": [["O", "B-PER"], [None]],
        "deep": [[["B-PER"], ["O"]], []],
        "object": [{"tag": "B-PER", "word": "a"}, {"tag": "O", "word": "b"}],
        "objects": [{"tag": ["B-PER"], "word": ["a"]}, {"tag": [], "word": []}],
        "others": [[0, 1], [1]],
    }
