"""Every row is asked of its task: labels are read as people meant them, and what cannot be used is named by value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ftcore.data.cleaning.aligned import split_words
from ftcore.data.cleaning.rows import LEFT_OUT, Faults, Rows
from ftcore.recipe.kinds import kind_class


def rows(*columns: dict[str, Any]) -> Rows:
    names = ("text", "context", "label", "rejected", "source")
    return Rows(*([one.get(name, "a text" if name == "text" else None) for one in columns] for name in names))


def asked(task: dict[str, Any], *columns: dict[str, Any]) -> tuple[Rows, Faults]:
    """Rows behind parse and check, and their faults; doing it twice changes nothing."""
    module = kind_class("tasks", task["kind"])
    config, given = module.model_validate(task), rows(*columns)
    faults = dict(config.parse_rows(given))
    good = [place for place in range(len(given)) if place not in faults]
    again = given.take(good)
    config.parse_rows(again)
    assert again == given.take(good)
    return given, faults | {good[place]: why for place, why in config.check_rows(again).items()}


def read(task: dict[str, Any], *labels: str | None) -> list[str | None]:
    """Labels as the task reads them, or why it cannot."""
    found, faults = asked(task, *({"label": label} for label in labels))
    return [faults.get(place, label) for place, label in enumerate(found.label)]


TICKETS = {"kind": "classification", "labels": ["other", "refund"]}


@pytest.mark.parametrize(
    "written",
    ["refund", " refund", "refund ", "refund\xa0", "\ufeffrefund", "refund\u200b", "re\u200bfund", "\trefund\n"],
)
def test_blanks_and_invisible_characters_of_a_label_count_for_nothing(written: str) -> None:
    assert read(TICKETS, written) == ["refund"]


@pytest.mark.parametrize("labels", [["0", "1"], ["0.0", "1.0"], ["false", "true"], [False, True], [0, 1], [0.0, 1.0]])
@pytest.mark.parametrize("written", ["1", "1.0", "1.00", "true", "True", "TRUE", " 1.0\xa0", "+1"])
def test_one_label_written_as_number_or_boolean(labels: list[Any], written: str) -> None:
    task = {"kind": "classification", "labels": labels}
    assert read(task, written) == [kind_class("tasks", "classification").model_validate(task).labels[1]]


@pytest.mark.parametrize(
    ("labels", "written", "why"),
    [
        (["1", "true"], "1.0", "label '1.0' is none of task.labels: 1, true"),  # it could be both
        (["007", "8"], "7", "label '7' is none of task.labels: 007, 8"),  # a code is no number
        (["a", "b"], "b\u0301", "label 'b\u0301' is none of task.labels: a, b"),
        (["a", "b"], "c\u200b", r"label 'c\u200b' is none of task.labels: a, b"),
        (["a", "b"], None, "label is missing"),
        (["a", "b"], "\u200b\xa0", "label is missing"),
        (
            [f"l{n}" for n in range(30)],
            "x",
            f"label 'x' is none of task.labels: {', '.join(f'l{n}' for n in range(12))} and 18 more",
        ),
    ],
)
def test_what_is_none_of_the_labels_is_named_by_its_value(labels: list[str], written: str | None, why: str) -> None:
    assert read({"kind": "classification", "labels": labels}, written) == [why]


def test_labels_that_look_the_same_are_a_fault_of_the_recipe() -> None:
    with pytest.raises(ValidationError, match="look the same"):
        kind_class("tasks", "classification")(labels=("a b", "a\xa0b"))


def test_other_labels_may_be_left_out_as_a_filter() -> None:
    (why,) = read(TICKETS | {"other_labels": "ignore"}, "bilng")
    assert str(why).startswith(f"{LEFT_OUT}label 'bilng' is none of task.labels")


TOPICS = {"kind": "multilabel", "labels": ["billing", "delivery", "login"], "separator": ";"}


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("login;billing", "billing;login"),
        ("billing; login;billing", "billing;login"),
        ('["login", "billing"]', "billing;login"),
        ("['login', 'billing\\xa0']", "billing;login"),
        ("[]", ""),
        ("", ""),
        (None, ""),
        (";;", ""),
        ("bilng;login", "label 'bilng' is none of task.labels: billing, delivery, login"),
        ('["login", 3]', "label '3' is none of task.labels: billing, delivery, login"),
    ],
)
def test_labels_of_a_row_are_a_set(written: str | None, label: str) -> None:
    assert read(TOPICS, written) == [label]


def test_a_stray_label_may_be_dropped_from_its_row() -> None:
    assert read(TOPICS | {"other_labels": "ignore"}, "login;bilng;billing", "bilng") == ["billing;login", ""]


NAMES = {"kind": "tagging", "labels": ["O", "B-PER", "I-PER"]}


@pytest.mark.parametrize(
    ("text", "label", "found"),
    [
        ("Anna Berg ran", "B-PER I-PER O", ("Anna Berg ran", "B-PER I-PER O")),
        ("Anna  Berg\nran", "B-PER\u200b I-PER  O", ("Anna Berg ran", "B-PER I-PER O")),
        ('["Anna", "Berg", "10 000"]', '["B-PER", "I-PER", "O"]', ("Anna Berg 10\xa0000", "B-PER I-PER O")),
        ("paid 10\xa0000 euros", "O O O", ("paid 10\xa0000 euros", "O O O")),
        ("[1] [x]", "O O", ("[1] [x]", "O O")),
        ("Anna ran", "B-PER", "the text has 2 words and the label 1 tags"),
        ("Anna ran", "1 0", "tag '1' is none of task.labels: O, B-PER, I-PER (a number is no tag: take its name)"),
        ("Anna ran", "B-LOC O", "tag 'B-LOC' is none of task.labels: O, B-PER, I-PER"),
        ('["Anna", " "]', '["B-PER", "O"]', "word 2 of the text is blank: ' '"),
        ("Anna ran", None, "label is missing"),
        (" ", "O", "text is empty or blank"),
    ],
)
def test_words_and_tags_stay_together(text: str, label: str | None, found: Any) -> None:
    got, faults = asked(NAMES, {"text": text, "label": label})
    assert faults.get(0, (got.text[0], got.label[0])) == found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=6).filter(lambda word: word.strip() and "\0" not in word), min_size=1))
def test_any_words_keep_their_number(words: list[str]) -> None:
    tags = json.dumps(["O"] * len(words))
    got, faults = asked(NAMES, {"text": json.dumps(words), "label": tags})
    assert not faults
    assert len(split_words(got.text[0])) == len(words)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("4.5", "4.5"),
        ("1.0", "1"),
        ("1e0", "1"),
        (" 2\xa0", "2"),
        ("-0.25", "-0.25"),
        ("4,5", "label '4,5' is no finite number: write decimals with a point"),
        ("n/a", "label 'n/a' is no finite number"),
        ("inf", "label 'inf' is no finite number"),
        ("nan", "label 'nan' is no finite number"),
        ("1_000", "label '1_000' is no finite number"),
        (None, "label is missing"),
    ],
)
def test_a_number_is_finite(written: str | None, found: str) -> None:
    assert read({"kind": "pair"}, written) == [found]


@pytest.mark.parametrize(
    ("kind", "row", "why"),
    [
        ("qa", {"context": "all of it", "label": "none"}, "the answer is no piece of its passage"),
        ("qa", {"context": None, "label": "none"}, "passage is missing"),
        ("qa", {"context": "all of it", "label": " "}, "answer is empty or blank"),
        ("qa", {"context": "all of it", "label": "of"}, None),
        ("seq2seq", {"label": None}, "target is missing"),
        ("seq2seq", {"text": "", "label": "x"}, "text is empty or blank"),
        ("completion", {"text": " "}, "text is empty or blank"),
        ("completion", {"text": "x"}, None),
    ],
)
def test_what_a_row_lacks_costs_the_row(kind: str, row: dict[str, Any], why: str | None) -> None:
    assert asked({"kind": kind}, row)[1].get(0) == why


def test_the_parts_of_a_task_are_asked_for_their_rows() -> None:
    parts = {
        "topic": TICKETS | {"sources": ["files:a"]},
        "urgency": {"kind": "pair", "sources": ["files:b"]},
    }
    found, faults = asked(
        {"kind": "multitask", "parts": parts},
        {"source": "files:a", "label": "refund "},
        {"source": "files:b", "label": "1.0"},
        {"source": "files:a", "label": "1.0"},
        {"source": "files:b", "label": "refund"},
    )
    assert found.label[:2] == ["refund", "1"]
    assert faults == {
        2: "label '1.0' is none of task.labels: other, refund",
        3: "label 'refund' is no finite number",
    }
