"""Rows are encoded as the model reads them; metrics agree with scikit-learn's, whatever the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn import metrics as theirs
from transformers import AutoTokenizer

from ftcore.errors import DataRejectedError, NotEnoughDataError
from ftcore.tasks.classification import Classification

LABELS = ("a", "b", "c", "d")
CONFIG = Classification(labels=("ham", "spam"))


@st.composite
def predictions(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray]:
    labels, rows = draw(st.integers(2, 4)), draw(st.integers(1, 40))
    column = st.lists(st.integers(0, labels - 1), min_size=rows, max_size=rows).map(np.array)
    return labels, draw(column), draw(column)


def tallies(config: Classification, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    rows = pa.table({"label": pa.array([config.labels[number] for number in truth], pa.string())})
    return config.tallies(rows, np.eye(len(config.labels))[predicted])


@given(predictions())
def test_they_agree_with_scikit_learn(drawn: tuple[int, np.ndarray, np.ndarray]) -> None:
    labels, truth, predicted = drawn
    config = Classification(labels=LABELS[:labels])
    ours = config.metrics(tallies(config, truth, predicted).sum(0))
    how = {"average": "binary", "pos_label": 1, "labels": [0, 1]} if labels == 2 else {"average": "macro"}
    nothing = labels == 2 and 1 not in {*truth.tolist(), *predicted.tolist()}
    assert set(ours) == set(Classification.METRICS)
    assert ours["accuracy"] == pytest.approx(theirs.accuracy_score(truth, predicted))
    for name in ("f1", "precision", "recall"):
        expected = getattr(theirs, f"{name}_score")(truth, predicted, zero_division=0, **how)
        assert ours[name] == pytest.approx(np.nan if nothing else expected, nan_ok=True), name


@given(predictions())
def test_metrics_of_many_sums_at_once(drawn: tuple[int, np.ndarray, np.ndarray]) -> None:
    labels, truth, predicted = drawn
    config = Classification(labels=LABELS[:labels])
    sums = tallies(config, truth, predicted).sum(0)
    for name, values in config.metrics(np.stack([sums, sums * 3])).items():
        assert values == pytest.approx([float(config.metrics(sums)[name])] * 2, nan_ok=True)


def test_the_second_of_two_labels_is_the_positive_one() -> None:
    config = Classification(labels=("ham", "spam"))
    found = config.metrics(tallies(config, np.array([1, 1, 1, 0]), np.array([1, 0, 0, 0])).sum(0))
    assert (found["precision"], found["recall"]) == (1.0, pytest.approx(1 / 3))


def test_without_rows_nothing_is_defined() -> None:
    found = CONFIG.metrics(tallies(CONFIG, np.array([], int), np.array([], int)).sum(0))
    assert np.isnan(list(found.values())).all()


def test_probabilities_are_a_softmax_that_does_not_overflow() -> None:
    found = CONFIG.outputs(np.array([[1000.0, 1000.0], [0.0, np.log(3)]]))
    assert found == pytest.approx(np.array([[0.5, 0.5], [0.25, 0.75]]))


def test_the_answer_is_the_likeliest_label() -> None:
    labels, scores = CONFIG.answers(np.array([[0.7, 0.3], [0.1, 0.9]]))
    assert labels == ["ham", "spam"]
    assert scores == pytest.approx([0.7, 0.9])
    assert [CONFIG.valid(label) for label in ("ham", "eggs", None)] == [True, False, False]


@pytest.mark.parametrize("labels", [(), ("a",), ("a", "a")])
def test_two_different_labels_at_least(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        Classification(labels=labels)


def table(*labels: str) -> pa.Table:
    texts = [f"the film number {number} was good" for number in range(len(labels))]
    return pa.table({"row_id": [f"r{n}" for n in range(len(labels))], "text": texts, "label": list(labels)})


def test_a_label_may_be_absent_from_a_split_that_has_rows() -> None:
    config = Classification(labels=("a", "b"))
    config.check({"train": table("a", "b"), "validation": table("b", "a")})
    config.check({"train": table("a", "b"), "validation": table("a", "a")})
    with pytest.raises(NotEnoughDataError, match="the train split has no row"):
        config.check({"train": table(), "validation": table("a", "b")})
    with pytest.raises(NotEnoughDataError, match="every row of the train split has the label a"):
        config.check({"train": table("a", "a"), "validation": table("a", "b")})
    with pytest.raises(DataRejectedError, match=r"(?s)labels that task.labels does not name.*- 'c'"):
        config.check({"train": table("a", "b", "c")})


def test_rows_are_encoded_each_in_its_own_length_and_padded_together(tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny / "model")
    config, rows = Classification(labels=("a", "b")), table("b", "a", "b")
    rows = rows.set_column(1, "text", pa.array(["good", "the plot was bright", "bad " * 40]))
    features = config.encode(tokenizer, rows, 12)
    assert (features.lengths, features.truncated, features.tokens) == ([3, 6, 12], 1, 21)
    assert (list(features.row_ids), features[0]["labels"]) == (["r0", "r1", "r2"], 1)
    batch = config.collator(tokenizer)([features[0], features[1]])
    assert batch["input_ids"].shape == (2, 6)
    assert batch["attention_mask"].sum(-1).tolist() == [3, 6]
    assert batch["labels"].tolist() == [1, 0]
