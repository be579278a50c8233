"""Numbers for pairs, and several labels a text: metrics from sums are those of scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from pydantic import ValidationError
from scipy.stats import pearsonr

from ftcore.errors import DataRejectedError, NotEnoughDataError
from ftcore.tasks import multilabel, pair
from tests.unit.tasks._small import rows

LABELS = ("red", "green", "blue")
SEVERAL = multilabel.Config(labels=LABELS, separator=";")


class TestPair:
    def test_metrics_are_scipys_and_scikit_learns(self) -> None:
        chance = np.random.default_rng(1)
        right = chance.normal(3, 2, 500)
        said = 0.6 * right + chance.normal(0, 1, 500)
        table = rows(*(("a", "b", repr(float(value))) for value in right))
        found = pair.metrics(pair.Config(), pair.tallies(pair.Config(), table, said).sum(0))
        assert found["pearson"] == pytest.approx(pearsonr(said, right).statistic)
        assert found["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(right, said))
        assert found["rmse"] == pytest.approx(sklearn.metrics.root_mean_squared_error(right, said))

    def test_a_model_that_says_one_number_has_no_correlation(self) -> None:
        tallies = pair.tallies(pair.Config(), rows(("a", None, "1"), ("b", None, "2")), np.array([1.5, 1.5]))
        found = pair.metrics(pair.Config(), tallies.sum(0))
        assert np.isnan(found["pearson"])
        assert found["mae"] == 0.5

    @pytest.mark.parametrize("label", [None, "", "red", "nan", "inf", "1,5"])
    def test_a_label_must_be_a_number(self, label: str | None) -> None:
        assert not pair.valid(pair.Config(), label)
        with pytest.raises(DataRejectedError):
            pair.check(pair.Config(), {"train": rows(("a", None, "1"), ("b", None, label))})

    def test_the_answer_is_the_number(self) -> None:
        labels, scores = pair.answers(pair.Config(), np.array([0.25, -3]))
        assert labels == ["0.25", "-3"]
        assert scores.tolist() == [0.25, -3]


class TestSeveralLabels:
    def test_metrics_are_scikit_learns(self) -> None:
        chance = np.random.default_rng(1)
        right, said = chance.random((300, 3)) < 0.3, chance.random((300, 3))
        cells = [";".join(np.array(LABELS)[row]) or None for row in right]
        table = rows(*(("a", None, cell) for cell in cells))
        found = multilabel.metrics(SEVERAL, multilabel.tallies(SEVERAL, table, said).sum(0))
        applies = said >= 0.5
        assert found["f1_micro"] == pytest.approx(sklearn.metrics.f1_score(right, applies, average="micro"))
        assert found["f1_macro"] == pytest.approx(sklearn.metrics.f1_score(right, applies, average="macro"))
        assert found["subset_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(right, applies))

    def test_a_label_absent_from_rows_and_predictions_is_left_out_of_the_mean(self) -> None:
        tallies = multilabel.tallies(SEVERAL, rows(("a", None, "red")), np.array([[0.9, 0.1, 0.1]]))
        assert multilabel.metrics(SEVERAL, tallies.sum(0))["f1_macro"] == 1

    def test_outputs_are_probabilities_of_each_and_answers_their_names(self) -> None:
        made = multilabel.outputs(SEVERAL, np.array([[0.0, 2, -2], [-1000, -3, -1]]))
        assert made[0] == pytest.approx([0.5, 0.880797, 0.119203])
        labels, scores = multilabel.answers(SEVERAL, made)
        assert labels == ["red;green", ""]
        assert scores == pytest.approx([0.5, 0.731059], abs=1e-5)

    def test_a_row_may_have_no_label_but_no_unknown_one(self) -> None:
        assert multilabel.valid(SEVERAL, None)
        assert multilabel.valid(SEVERAL, " red ; blue;")
        assert not multilabel.valid(SEVERAL, "red;purple")
        every = ("a", None, "red;green;blue")
        multilabel.check(SEVERAL, {"train": rows(every, ("b", None, None))})
        with pytest.raises(DataRejectedError, match="does not name"):
            multilabel.check(SEVERAL, {"train": rows(every, ("b", None, "purple"))})
        multilabel.check(SEVERAL, {"train": rows(("b", None, "red"))})
        with pytest.raises(NotEnoughDataError, match="no row of the train split has a label"):
            multilabel.check(SEVERAL, {"train": rows(("b", None, None))})

    @pytest.mark.parametrize("labels", [["a", "a"], ["a;b", "c"], ["a ", "b"], ["", "b"]])
    def test_labels_must_be_told_apart(self, labels: list[str]) -> None:
        with pytest.raises(ValidationError):
            multilabel.Config(labels=tuple(labels), separator=";")
