"""The bootstrap over kinds of rows is the bootstrap over rows."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from statsmodels.stats import contingency_tables

from ftcore.statistics import intervals, resampling
from ftcore.tasks.classification import Classification

CONFIG = Classification(labels=("no", "yes"))
METRICS = CONFIG.metrics
RESAMPLES = 4000


def tallies(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    rows = pa.table({"label": pa.array([CONFIG.labels[number] for number in truth], pa.string())})
    return CONFIG.tallies(rows, np.eye(2)[predicted])


def estimate(truth: np.ndarray, predicted: np.ndarray, *how: int) -> dict[str, intervals.Estimate]:
    return intervals.estimate(METRICS, tallies(truth, predicted), *how)


def difference(name: str, truth: np.ndarray, before: np.ndarray, after: np.ndarray, *how: float) -> intervals.Estimate:
    return intervals.difference(METRICS, name, tallies(truth, before), tallies(truth, after), *how)


def sample(rows: int, right: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    truth = chance.integers(0, 2, rows)
    return truth, np.where(chance.random(rows) < right, truth, 1 - truth)


def metric(name: str, truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(METRICS(tallies(truth, predicted).sum(0))[name])


@pytest.mark.parametrize("name", ["accuracy", "f1"])
def test_intervals_agree_with_scipys_bootstrap_over_rows(name: str) -> None:
    truth, predicted = sample(300, 0.8, 1)
    ours = estimate(truth, predicted, RESAMPLES, 2)[name]
    theirs = stats.bootstrap(
        (truth, predicted),
        partial(metric, name),
        paired=True,
        vectorized=False,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(3),
    )
    # An end of the interval is a quantile of the resamples; its own standard error is about sd / 25 with 4,000 of them.
    error = 4 * theirs.standard_error / 25 * 2**0.5 + 1 / 300  # and it lies on one of few values
    assert ours.value == pytest.approx(metric(name, truth, predicted))
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=error)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=error)


@pytest.mark.parametrize("name", ["accuracy", "f1"])
def test_paired_differences_agree_with_scipys(name: str) -> None:
    truth, before = sample(2000, 0.75, 4)
    after = np.where(np.random.default_rng(5).random(2000) < 0.7, before, truth)

    def gain(truth: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
        return metric(name, truth, after) - metric(name, truth, before)

    ours = difference(name, truth, before, after, RESAMPLES, 6)
    theirs = stats.bootstrap(
        (truth, before, after),
        gain,
        paired=True,
        vectorized=False,
        n_resamples=RESAMPLES,
        confidence_level=0.9,
        method="percentile",
        rng=np.random.default_rng(7),
    )
    error = 3 * theirs.standard_error / 30 * 2**0.5 + 1 / 2000  # and it lies on one of few values
    assert ours.value == pytest.approx(gain(truth, before, after))
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=error)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=error)


def test_pairing_makes_the_interval_narrow() -> None:
    truth, before = sample(500, 0.8, 8)
    after = before.copy()
    after[:20] = truth[:20]
    paired = difference("accuracy", truth, before, after, RESAMPLES, 9)
    alone = estimate(truth, after, RESAMPLES, 9)["accuracy"]
    assert paired.high - paired.low < (alone.high - alone.low) / 2


def test_equal_models_differ_by_nothing_that_these_rows_show() -> None:
    """On 200 rows a difference of half a percent is easily missed: no interval has the width 0."""
    truth, predicted = sample(200, 0.8, 10)
    found = difference("f1", truth, predicted, predicted, RESAMPLES, 11)
    assert found.value == 0
    assert 0.005 < found.high == -found.low < 0.02


def test_swapping_the_models_turns_the_sign() -> None:
    truth, one = sample(200, 0.9, 12)
    _, other = sample(200, 0.6, 12)
    there = difference("accuracy", truth, one, other, RESAMPLES, 13)
    back = difference("accuracy", truth, other, one, RESAMPLES, 13)
    assert there.value == -back.value < 0
    assert there.low == pytest.approx(-back.high, abs=0.01)


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    truth, predicted = sample(200, 0.8, 14)
    order = np.random.default_rng(15).permutation(200)
    first = estimate(truth, predicted, 500, 16)
    assert first == estimate(truth[order], predicted[order], 500, 16)
    tallied = [tallies(truth, predicted)]
    drawn = [intervals.resample(METRICS, tallied, 500, seed)[0]["accuracy"].values for seed in (16, 16, 17)]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any(), "ends that the jackknife gives do not show it"


def test_more_confidence_is_a_wider_interval() -> None:
    truth, before = sample(300, 0.7, 18)
    _, after = sample(300, 0.8, 18)
    lows = [
        difference("accuracy", truth, before, after, RESAMPLES, 19, confidence).low for confidence in (0.8, 0.95, 0.99)
    ]
    assert lows[0] > lows[1] > lows[2]


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        truth, predicted = sample(200, 0.8, 1000 + seed)
        found = estimate(truth, predicted, 400, seed)["accuracy"]
        covered += found.low <= 0.8 <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_one_row_and_no_row() -> None:
    one = estimate(np.array([1]), np.array([1]), 100, 1)["accuracy"]
    assert (one.value, one.rows) == (1, 1)
    assert np.isnan([one.low, one.high]).all(), "of one row nothing is known but itself"
    none = estimate(np.array([], int), np.array([], int), 100, 1)["accuracy"]
    assert none.rows == 0
    assert np.isnan([none.low, none.high]).all()


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (0, 1), (3, 12), (40, 41), (200, 120)])
def test_mcnemar_agrees_with_statsmodels(lost: int, won: int) -> None:
    before = np.array([True] * lost + [False] * won + [True] * 30 + [False] * 10)
    after = np.array([False] * lost + [True] * won + [True] * 30 + [False] * 10)
    theirs = contingency_tables.mcnemar([[30, lost], [won, 10]], exact=True)
    assert intervals.mcnemar(before, after) == pytest.approx(theirs.pvalue, abs=1e-6)
    assert intervals.mcnemar(after, before) == intervals.mcnemar(before, after)


def correlation(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Pearson's r from sums of x, y, xx, yy, xy and 1."""
    x, y, xx, yy, xy, n = np.moveaxis(sums, -1, 0)
    return {"r": (n * xy - x * y) / np.sqrt((n * xx - x**2) * (n * yy - y**2))}


def pairs(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=rows)
    y = x + draw.normal(size=rows)
    return x, y, np.stack([x, y, x * x, y * y, x * y, np.ones(rows)], axis=-1)


def test_a_correlation_is_bootstrapped_through_its_sums() -> None:
    x, y, rows = pairs(400, 20)
    ours = intervals.estimate(correlation, rows, RESAMPLES, 21)["r"]
    theirs = stats.bootstrap(
        (x, y),
        lambda x, y: stats.pearsonr(x, y).statistic,
        paired=True,
        vectorized=False,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(22),
    )
    assert ours.value == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
    error = 4 * theirs.standard_error / 25 * 2**0.5
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=error)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=error)


def test_many_kinds_of_rows_are_drawn_in_pieces_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pairs(200, 23)[2]
    at_once = intervals.estimate(correlation, rows, 300, 24)
    monkeypatch.setattr(resampling, "CELLS", 1000)
    resampling.forget()
    piecemeal = intervals.estimate(correlation, rows, 300, 24)
    assert piecemeal["r"].low == pytest.approx(at_once["r"].low)


def test_a_metric_that_is_not_defined_is_null_in_json() -> None:
    (constant,) = intervals.estimate(correlation, np.ones((50, 6)), 100, 25).values()
    assert not constant.defined
    assert constant.model_dump() == {"value": None, "low": None, "high": None, "rows": 50, "groups": 50, "level": 0.95}
    assert intervals.Estimate.model_validate(constant.model_dump()).rows == 50


def test_huge_numbers_keep_their_intervals() -> None:
    loss = lambda sums: {"loss": sums[..., 0] / sums[..., 1]}  # noqa: E731
    rows = np.stack([np.geomspace(1, 1e300, 60), np.ones(60)], axis=-1)
    found = intervals.estimate(loss, rows, 200, 26)["loss"]
    assert found.defined
    assert found.low < found.value < found.high
    rows[7, 0] = np.inf
    assert not intervals.estimate(loss, rows, 200, 26)["loss"].defined


@pytest.mark.parametrize("rows", [2, 30, 400])
def test_a_share_of_all_or_none_has_an_interval_like_clopper_and_pearsons(rows: int) -> None:
    truth = np.arange(rows) % 2
    theirs = stats.binomtest(rows, rows).proportion_ci(method="exact").low
    wilson = stats.binomtest(rows, rows).proportion_ci(method="wilson").low
    right, wrong = (estimate(truth, said, 300, 1)["accuracy"] for said in (truth, 1 - truth))
    assert right.high == 1
    assert right.low <= min(theirs, wilson) + 0.01
    assert (right.low, right.high) == pytest.approx((1 - wrong.high, 1 - wrong.low))


def test_a_ratio_that_cannot_vary_on_one_label_has_no_interval() -> None:
    """Where only one label is there, no false alarm is possible: the precision of 1 tells nothing."""
    truth, predicted = np.ones(100, int), (np.arange(100) % 3 > 0).astype(int)
    found = estimate(truth, predicted, 300, 2)
    assert found["accuracy"].defined
    assert not found["precision"].defined


def test_groups_are_resampled_and_counted() -> None:
    """Ten copies of each row are no more evidence than the row."""
    truth, before = sample(100, 0.7, 30)
    _, after = sample(100, 0.8, 31)
    after = np.where(np.random.default_rng(32).random(100) < 0.5, before, after)
    copies, group = [np.repeat(one, 10) for one in (truth, before, after)], np.repeat(np.arange(100), 10)
    alone = difference("accuracy", truth, before, after, RESAMPLES, 33)
    tables = [tallies(copies[0], said) for said in copies[1:]]
    grouped = intervals.difference(METRICS, "accuracy", *tables, RESAMPLES, 33, group=group)
    assert (grouped.value, grouped.rows, grouped.groups) == (pytest.approx(alone.value), 1000, 100)
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high), abs=0.01)
    assert str(grouped).endswith("on 1,000 rows in 100 groups")
    order = np.random.default_rng(34).permutation(1000)
    shuffled = [table[order] for table in tables]
    again = intervals.difference(METRICS, "accuracy", *shuffled, RESAMPLES, 33, group=group[order])
    assert again == grouped


@pytest.mark.parametrize(("groups", "size"), [(15, 10), (40, 5)])
def test_intervals_cover_the_truth_where_rows_are_alike_and_groups_few(groups: int, size: int) -> None:
    """Rows of a group share their fate with a chance of 0.7: over rows as if independent, 95 % would be some 65 %."""
    group, covered = np.repeat(np.arange(groups), size), 0
    for seed in range(150):
        draw = np.random.default_rng([seed, groups])
        fate, own = draw.random(groups) < 0.8, draw.random(len(group)) < 0.8
        right = np.where(draw.random(len(group)) < 0.7, fate[group], own)
        truth = draw.integers(0, 2, len(group))
        table = tallies(truth, np.where(right, truth, 1 - truth))
        found = intervals.estimate(METRICS, table, 200, seed, group)["accuracy"]
        covered += found.low <= 0.8 <= found.high
    assert covered / 150 >= 0.92


def test_the_jackknife_is_the_textbooks() -> None:
    x = np.random.default_rng(35).normal(size=40)
    left_out = (x.sum() - x) / 39
    assert intervals.jackknife_error(left_out, np.ones(40, int)) == pytest.approx(x.std(ddof=1) / 40**0.5)
