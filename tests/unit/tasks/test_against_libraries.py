"""Metrics from sums of tallies are those of scikit-learn, seqeval and torchmetrics, in value and in every resample."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import metrics as seqeval
from torchmetrics.text import SQuAD

from ftcore.statistics.intervals import values
from ftcore.tasks.classification import Classification
from ftcore.tasks.multilabel import MultiLabel
from ftcore.tasks.pair import Pair
from ftcore.tasks.qa import QuestionAnswering
from ftcore.tasks.tagging import Tagging
from tests.models import rows

LABELS = ("a", "b", "c", "d", "e", "f")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-X", "I-X")
FEW = settings(max_examples=60)
SCORES = {
    "f1": sklearn.metrics.f1_score,
    "precision": sklearn.metrics.precision_score,
    "recall": sklearn.metrics.recall_score,
}


@st.composite
def choices(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """A number of labels, the right ones of few of them, probabilities with ties, and weights of three resamples."""
    count, size = draw(st.integers(2, 6)), draw(st.integers(1, 12))
    some = st.sampled_from(range(draw(st.integers(1, count))))
    truth = np.array(draw(st.lists(some, min_size=size, max_size=size)))
    coarse = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=count, max_size=count)
    outputs = np.array(draw(st.lists(coarse, min_size=size, max_size=size)))
    weights = st.lists(st.integers(0, 3), min_size=size, max_size=size)
    return count, truth, outputs, np.array(draw(st.lists(weights, min_size=3, max_size=3)))


def expected(score: object, truth: np.ndarray, said: np.ndarray, count: int) -> float:
    """Scikit-learn's score; undefined where the positive label, or every label, is absent."""
    if not len(truth) or (count == 2 and 1 not in {*truth.tolist(), *said.tolist()}):
        return math.nan
    binary = {"average": "binary", "pos_label": 1, "labels": [0, 1]} if count == 2 else {"average": "macro"}
    return float(score(truth, said, zero_division=0, **binary))  # type: ignore[operator]


class TestClassification:
    @FEW
    @given(choices())
    def test_scores_are_scikit_learns_over_the_labels_present(
        self, drawn: tuple[int, np.ndarray, np.ndarray, np.ndarray]
    ) -> None:
        count, truth, outputs, weights = drawn
        config = Classification(labels=LABELS[:count])
        table = rows(*(("x", None, LABELS[number]) for number in truth))
        tallies = config.tallies(table, outputs)
        found = values(config.metrics, np.vstack([tallies.sum(0), weights @ tallies]))
        said = outputs.argmax(-1)
        for place, weight in enumerate([np.ones(len(truth), int), *weights]):
            right, guess = np.repeat(truth, weight), np.repeat(said, weight)
            for name, score in SCORES.items():
                assert found[name][place] == pytest.approx(expected(score, right, guess, count), nan_ok=True), name
            accuracy = sklearn.metrics.accuracy_score(right, guess) if len(right) else math.nan
            assert found["accuracy"][place] == pytest.approx(accuracy, nan_ok=True)

    def test_a_slice_with_few_of_the_labels_is_measured_on_those(self) -> None:
        labels = tuple(f"l{number}" for number in range(20))
        config, chance = Classification(labels=labels), np.random.default_rng(0)
        truth = chance.integers(0, 4, 400)
        said = np.where(chance.random(400) < 0.95, truth, (truth + 1) % 4)
        table = rows(*(("x", None, labels[number]) for number in truth))
        found = config.metrics(config.tallies(table, np.eye(20)[said]).sum(0))
        assert found["f1"] == pytest.approx(sklearn.metrics.f1_score(truth, said, average="macro"))
        assert found["f1"] > 0.9


class TestMultilabel:
    @FEW
    @given(st.data())
    def test_scores_are_scikit_learns_over_the_labels_present(self, data: st.DataObject) -> None:
        size = data.draw(st.integers(1, 8))
        config = MultiLabel(labels=LABELS[:4])
        cell = st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0]), min_size=4, max_size=4)
        truth, outputs = (np.array(data.draw(st.lists(cell, min_size=size, max_size=size))) for _ in range(2))
        right, said = truth > 0.5, outputs >= 0.5
        table = rows(*(("x", None, ",".join(np.array(LABELS[:4])[row])) for row in right))
        sums = config.tallies(table, outputs).sum(0)
        found = values(config.metrics, sums[None])
        present = (right | said).any(0)
        for average in ("micro", "macro"):
            score = (
                sklearn.metrics.f1_score(
                    right[:, present].astype(int), said[:, present].astype(int), average=average, zero_division=0
                )
                if present.sum() > 1
                else sklearn.metrics.f1_score(right[:, present].ravel(), said[:, present].ravel(), zero_division=0)
                if present.any()
                else math.nan
            )
            assert found[f"f1_{average}"][0] == pytest.approx(score, nan_ok=True), average
        assert found["subset_accuracy"][0] == pytest.approx((right == said).all(-1).mean())


class TestTagging:
    @FEW
    @given(st.data())
    def test_scores_are_seqevals(self, data: st.DataObject) -> None:
        config = Tagging(labels=TAGS)
        sentence = st.lists(st.sampled_from(TAGS), min_size=1, max_size=6)
        right = data.draw(st.lists(sentence, min_size=1, max_size=4))
        # Of a text that was cut the last words get no tag, which counts as O.
        said = [data.draw(st.lists(st.sampled_from(TAGS), max_size=len(row))) for row in right]
        table = rows(*((" ".join("x" for _ in row), None, " ".join(row)) for row in right))
        found = values(config.metrics, config.tallies(table, said).sum(0)[None])
        whole = [[*tags, *["O"] * (len(row) - len(tags))] for tags, row in zip(said, right, strict=True)]
        nothing = {tag for row in [*right, *whole] for tag in row} == {"O"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # seqeval warns of ratios of nothing
            for name in ("f1", "precision", "recall"):
                score = getattr(seqeval, f"{name}_score")(right, whole, zero_division=0)
                assert found[name][0] == pytest.approx(math.nan if nothing else score, nan_ok=True), name
            assert found["accuracy"][0] == pytest.approx(seqeval.accuracy_score(right, whole))


class TestPair:
    @FEW
    @given(st.lists(st.tuples(*[st.sampled_from([0.1, 0.2, 0.2, 3.0, -7.5])] * 2), min_size=2, max_size=10))
    def test_scores_are_scipys_and_undefined_without_variance(self, pairs: list[tuple[float, float]]) -> None:
        from scipy.stats import pearsonr

        said, right = (np.array(column) for column in zip(*pairs, strict=True))
        table = rows(*(("x", None, repr(float(value))) for value in right))
        sums = Pair().tallies(table, said).sum(0)[None]
        found = values(lambda one: Pair().metrics(one), sums)
        constant = np.ptp(said) == 0 or np.ptp(right) == 0
        score = math.nan if constant else pearsonr(said, right).statistic
        assert found["pearson"][0] == pytest.approx(score, nan_ok=True, abs=1e-6)
        assert found["rmse"][0] == pytest.approx(sklearn.metrics.root_mean_squared_error(right, said), abs=1e-9)

    def test_the_root_of_large_numbers_squared_differences_is_exact(self) -> None:
        right = np.array([1e7, 1e7 + 2, 1e7 + 5])
        table = rows(*(("x", None, repr(float(value))) for value in right))
        found = Pair().metrics(Pair().tallies(table, right + 0.001).sum(0))
        assert found["rmse"] == pytest.approx(0.001, rel=1e-4)


@FEW
@given(st.lists(st.tuples(*[st.text("aAthe n.,'!x9-", max_size=8)] * 2), min_size=1, max_size=5))
def test_answers_in_english_are_judged_as_squads_are(pairs: list[tuple[str, str]]) -> None:
    said, right = [one for one, _ in pairs], [other for _, other in pairs]
    table = rows(*(("q", "p", label) for label in right))
    found = QuestionAnswering().metrics(QuestionAnswering().tallies(table, said).sum(0))
    squad = SQuAD()
    squad.update(
        [{"prediction_text": one, "id": str(n)} for n, one in enumerate(said)],
        [{"answers": {"answer_start": [0], "text": [one]}, "id": str(n)} for n, one in enumerate(right)],
    )
    score = squad.compute()
    assert float(found["f1"]) * 100 == pytest.approx(float(score["f1"]), abs=1e-3)
    assert float(found["exact_match"]) * 100 == pytest.approx(float(score["exact_match"]), abs=1e-3)
