"""Numbers for pairs, and several labels a text: metrics from sums are those of scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from pydantic import ValidationError
from scipy.stats import pearsonr

from ftcore.errors import DataRejectedError, NotEnoughDataError
from ftcore.tasks.multilabel import MultiLabel
from ftcore.tasks.pair import Pair
from tests.models import rows

LABELS = ("red", "green", "blue")
SEVERAL = MultiLabel(labels=LABELS, separator=";")


class TestPair:
    def test_metrics_are_scipys_and_scikit_learns(self) -> None:
        chance = np.random.default_rng(1)
        right = chance.normal(3, 2, 500)
        said = 0.6 * right + chance.normal(0, 1, 500)
        table = rows(*(("a", "b", repr(float(value))) for value in right))
        found = Pair().metrics(Pair().tallies(table, said).sum(0))
        assert found["pearson"] == pytest.approx(pearsonr(said, right).statistic)
        assert found["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(right, said))
        assert found["rmse"] == pytest.approx(sklearn.metrics.root_mean_squared_error(right, said))

    def test_a_model_that_says_one_number_has_no_correlation(self) -> None:
        tallies = Pair().tallies(rows(("a", None, "1"), ("b", None, "2")), np.array([1.5, 1.5]))
        found = Pair().metrics(tallies.sum(0))
        assert np.isnan(found["pearson"])
        assert found["mae"] == 0.5

    @pytest.mark.parametrize("label", [None, "", "red", "nan", "inf", "1,5"])
    def test_a_label_must_be_a_number(self, label: str | None) -> None:
        assert not Pair().valid(label)
        with pytest.raises(DataRejectedError):
            Pair().check({"train": rows(("a", None, "1"), ("b", None, label))})

    def test_the_answer_is_the_number(self) -> None:
        labels, scores = Pair().answers(np.array([0.25, -3]))
        assert labels == ["0.25", "-3"]
        assert scores.tolist() == [0.25, -3]


class TestSeveralLabels:
    def test_metrics_are_scikit_learns(self) -> None:
        chance = np.random.default_rng(1)
        right, said = chance.random((300, 3)) < 0.3, chance.random((300, 3))
        cells = [";".join(np.array(LABELS)[row]) or None for row in right]
        table = rows(*(("a", None, cell) for cell in cells))
        found = SEVERAL.metrics(SEVERAL.tallies(table, said).sum(0))
        applies = said >= 0.5
        assert found["f1_micro"] == pytest.approx(sklearn.metrics.f1_score(right, applies, average="micro"))
        assert found["f1_macro"] == pytest.approx(sklearn.metrics.f1_score(right, applies, average="macro"))
        assert found["subset_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(right, applies))

    def test_a_label_absent_from_rows_and_predictions_is_left_out_of_the_mean(self) -> None:
        tallies = SEVERAL.tallies(rows(("a", None, "red")), np.array([[0.9, 0.1, 0.1]]))
        assert SEVERAL.metrics(tallies.sum(0))["f1_macro"] == 1

    def test_outputs_are_probabilities_of_each_and_answers_their_names(self) -> None:
        made = SEVERAL.outputs(np.array([[0.0, 2, -2], [-1000, -3, -1]]))
        assert made[0] == pytest.approx([0.5, 0.880797, 0.119203])
        labels, scores = SEVERAL.answers(made)
        assert labels == ["red;green", ""]
        assert scores == pytest.approx([0.5, 0.731059], abs=1e-5)

    def test_a_row_may_have_no_label_but_no_unknown_one(self) -> None:
        assert SEVERAL.valid(None)
        assert SEVERAL.valid(" red ; blue;")
        assert not SEVERAL.valid("red;purple")
        every = ("a", None, "red;green;blue")
        SEVERAL.check({"train": rows(every, ("b", None, None))})
        with pytest.raises(DataRejectedError, match="does not name"):
            SEVERAL.check({"train": rows(every, ("b", None, "purple"))})
        SEVERAL.check({"train": rows(("b", None, "red"))})
        with pytest.raises(NotEnoughDataError, match="no row of the train split has a label"):
            SEVERAL.check({"train": rows(("b", None, None))})

    @pytest.mark.parametrize("labels", [["a", "a"], ["a;b", "c"], ["a ", "b"], ["", "b"]])
    def test_labels_must_be_told_apart(self, labels: list[str]) -> None:
        with pytest.raises(ValidationError):
            MultiLabel(labels=tuple(labels), separator=";")
