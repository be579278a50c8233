"""Calibration agrees with torchmetrics, and its error falls where a model is honest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from ftcore.statistics import calibration


def sample(rows: int, labels: int, seed: int, sharpen: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities ``[rows, labels]`` and truth drawn from them; ``sharpen`` makes the stated ones too sure."""
    draw = np.random.default_rng(seed)
    honest = draw.dirichlet(np.ones(labels), rows)
    truth = (honest.cumsum(-1) < draw.random(rows)[:, None]).sum(-1)
    stated = honest**sharpen
    return stated / stated.sum(-1, keepdims=True), truth


def ece(probabilities: np.ndarray, truth: np.ndarray, bins: int = 15, *, adaptive: bool = False) -> float:
    sure, right = probabilities.max(-1), probabilities.argmax(-1) == truth
    edges = calibration.edges(sure, adaptive=adaptive, bins=bins)
    return float(calibration.error(calibration.tallies(sure, right, edges).sum(0)))


@pytest.mark.parametrize(("labels", "bins", "sharpen"), [(2, 15, 1.0), (3, 10, 2.0), (7, 15, 0.5)])
def test_equal_width_bins_agree_with_torchmetrics(labels: int, bins: int, sharpen: float) -> None:
    probabilities, truth = sample(5000, labels, labels, sharpen)
    theirs = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(truth), num_classes=labels, n_bins=bins, norm="l1"
    )
    assert ece(probabilities, truth, bins) == pytest.approx(float(theirs), abs=1e-6)


def test_adaptive_bins_hold_equally_many_rows() -> None:
    probabilities, truth = sample(3000, 3, 5, 2.0)
    sure = probabilities.max(-1)
    bins = calibration.reliability(sure, probabilities.argmax(-1) == truth, calibration.edges(sure, adaptive=True))
    assert {one["rows"] for one in bins} == {200}
    by_hand = sum(one["rows"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / 3000
    assert ece(probabilities, truth, adaptive=True) == pytest.approx(by_hand)


def test_an_honest_model_is_better_calibrated_than_one_that_boasts() -> None:
    errors = [ece(*sample(4000, 2, 6, sharpen)) for sharpen in (1.0, 1.5, 3.0)]
    assert errors[0] < 0.03 < errors[1] < errors[2]


def test_sure_answers_and_equal_ones_fall_into_bins() -> None:
    sure, right = np.array([1.0, 1.0, 0.0, 0.5]), np.array([True, False, False, True])
    for adaptive in (False, True):
        edges = calibration.edges(sure, adaptive=adaptive)
        assert sum(one["rows"] for one in calibration.reliability(sure, right, edges)) == 4
    same = np.full(50, 0.7)
    edges = calibration.edges(same, adaptive=True)
    assert calibration.error(calibration.tallies(same, np.ones(50, bool), edges).sum(0)) == pytest.approx(0.3)


def test_without_rows_there_is_no_error_to_speak_of() -> None:
    none = np.zeros(0)
    assert calibration.reliability(none, none.astype(bool), calibration.edges(none, adaptive=True)) == []
    assert np.isnan(calibration.error(calibration.tallies(none, none, calibration.edges(none)).sum(0)))


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("stated", [0.0, 0.97, 0.99])
def test_a_calibrated_model_is_not_surely_off_however_sure_it_is(stated: float, adaptive: bool) -> None:
    """Where a bin's rows were all right its gap had no noise: 11 % of honest models were surely off by more than 0."""
    draw, low = np.random.default_rng(4), 0
    for seed in range(150):
        sure = np.full(200, stated) if stated else 1 - draw.beta(0.3, 12, 200)
        right = draw.random(200) < sure
        tallies = calibration.tallies(sure, right, calibration.edges(sure, adaptive=adaptive))
        truth = calibration.tallies(sure, sure, calibration.edges(sure, adaptive=adaptive))
        low += calibration.estimate(tallies, seed).low > calibration.error(truth.sum(0))
    assert low / 150 <= 0.04


def test_the_lower_end_keeps_its_own_chance() -> None:
    draw = np.random.default_rng(4)
    sure = draw.uniform(0.5, 1, 400)
    tallies = calibration.tallies(sure, draw.random(400) < sure - 0.2, calibration.edges(sure))
    found = [calibration.estimate(tallies, 1, alpha=alpha) for alpha in (0.05, 0.025, 0.001)]
    assert found[0].low > found[1].low > found[2].low
    assert len({one.high for one in found}) == 1
    assert calibration.estimate(tallies, 1) == found[1]
