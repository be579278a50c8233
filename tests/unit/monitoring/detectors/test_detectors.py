"""The detectors and the comparison that runs them, through real Evidently."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from ftcore.monitoring.detectors import text_drift, value_drift
from ftcore.monitoring.detectors._base import Detector
from ftcore.monitoring.drift import compare
from ftcore.monitoring.findings import Threshold, above_chance, finding

FILM = ["film", "plot", "actor", "scene", "script", "director", "camera", "comedy", "drama", "story", "ending", "role"]
TWEET = ["lol", "omg", "today", "weekend", "coffee", "traffic", "monday", "gym", "phone", "selfie", "brunch", "haha"]
ALL = (text_drift.TextDrift(), value_drift.ValueDrift(column="score"), value_drift.ValueDrift(column="label"))


def log(rows: int, seed: int, words: list[str] = FILM, positive: float = 0.5, sure: float = 5.0) -> pd.DataFrame:
    """A prediction log whose texts are eight words drawn from ``words``."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "text": [" ".join(random.choice(words, 8)) for _ in range(rows)],
            "label": np.where(random.random(rows) < positive, "positive", "negative"),
            "score": random.beta(sure, 1.5, rows),
            "at": pd.Timestamp("2026-01-01", tz="UTC"),
        }
    )


REFERENCE = log(600, 0)


def test_no_alarm_where_nothing_changed(tmp_path: Path) -> None:
    for seed in range(1, 6):
        findings = compare(REFERENCE, log(300, seed), ALL, folder=tmp_path, seed=seed)
        assert [one.alarm for one in findings] == [False, False, False], findings


def test_every_detector_sees_its_own_change(tmp_path: Path) -> None:
    for words, positive, sure, expected in [
        (FILM[:7] + TWEET, 0.5, 5.0, [True, False, False]),
        (FILM, 0.5, 2.0, [False, True, False]),
        (FILM, 0.8, 5.0, [False, False, True]),
    ]:
        findings = compare(REFERENCE, log(300, 7, words, positive, sure), ALL, folder=tmp_path, seed=1)
        assert [one.alarm for one in findings] == expected, findings


def test_findings_carry_what_was_compared(tmp_path: Path) -> None:
    window = log(300, 7, TWEET)
    window.loc[:9, "score"] = np.nan
    window.loc[10:11, "score"] = np.inf
    text, score, label = compare(REFERENCE, window, ALL, folder=tmp_path, seed=1)
    assert (text.kind, text.name) == ("text_drift", "text_drift_text")
    assert text.score > 0.95 > text.threshold >= 0.55
    assert (text.rows_reference, text.rows_current) == (600, 300)
    assert (score.rows_current, label.rows_current) == (288, 300)
    assert "12 rows of the window have no usable value" in score.reason
    assert f"ROC AUC {text.score:.3f}, threshold {text.threshold:.3f}" in text.reason


def test_the_same_seed_gives_the_same_findings(tmp_path: Path) -> None:
    window = log(200, 3)
    first, second, other = (compare(REFERENCE, window, ALL, folder=tmp_path, seed=seed) for seed in (1, 1, 2))
    assert first == second
    assert first[1].score == other[1].score
    found = ALL[0].samples(REFERENCE, window, 1)
    assert ALL[0].calibrate(found, 1) != ALL[0].calibrate(found, 2)


def test_a_sorted_reference_does_not_change_the_chance(tmp_path: Path) -> None:
    window = log(300, 4)
    ordered = REFERENCE.sort_values("text")
    for config in ALL[:2]:
        as_is, by_text = (config.calibrate(config.samples(r, window, 1), 1) for r in (REFERENCE, ordered))
        assert abs(as_is.value - by_text.value) < 0.05


def test_the_report_is_evidentlys_and_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))
    findings = compare(REFERENCE, log(300, 7, TWEET), ALL, folder=tmp_path / "new", seed=1)
    saved = json.loads((tmp_path / "new" / "drift.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in saved["findings"]] == [one.name for one in findings]
    metrics = saved["evidently"]["metrics"]
    assert [metric["value"] for metric in metrics] == [one.score for one in findings]
    assert [test["status"] for test in saved["evidently"]["tests"]] == [
        "FAIL" if one.alarm else "SUCCESS" for one in findings
    ]
    page = (tmp_path / "new" / "drift.html").read_text(encoding="utf-8")
    assert 'src="http' not in page
    assert '<link rel="stylesheet" href="http' not in page
    assert asked == []


@pytest.mark.parametrize("examples", [False, True])
def test_whole_texts_are_shown_only_when_asked_for(tmp_path: Path, examples: bool) -> None:
    window = log(300, 7, TWEET)
    compare(REFERENCE, window, [text_drift.TextDrift(examples=examples)], folder=tmp_path, seed=1)
    page = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert "current: characteristic words" in page
    assert any(text in page for text in window["text"]) is examples
    assert not any(text in (tmp_path / "drift.json").read_text(encoding="utf-8") for text in window["text"])


def test_without_detectors_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert compare(REFERENCE, REFERENCE, [], folder=tmp_path / "new", seed=1) == []
    assert not (tmp_path / "new").exists()


def test_the_same_detector_twice_gives_two_findings(tmp_path: Path) -> None:
    twice = [value_drift.ValueDrift(), value_drift.ValueDrift(), value_drift.ValueDrift(method="psi", threshold=0.5)]
    first, second, psi = compare(REFERENCE, log(100, 1), twice, folder=tmp_path, seed=1)
    assert first == second
    assert (psi.name, psi.threshold) == ("value_drift_score_psi", 0.5)
    assert psi.score != first.score


def test_constant_columns_are_findings(tmp_path: Path) -> None:
    still = REFERENCE.assign(score=0.5, label="positive")
    assert [one.score for one in compare(still, still[:100], ALL[1:], folder=tmp_path, seed=1)] == [0.0, 0.0]
    assert all(one.alarm for one in compare(REFERENCE, still[:100], ALL[1:], folder=tmp_path, seed=1))


def test_identical_texts_in_the_window_are_drift(tmp_path: Path) -> None:
    (one,) = compare(REFERENCE, log(100, 1).assign(text="film plot"), ALL[:1], folder=tmp_path, seed=1)
    assert one.alarm


@pytest.mark.parametrize(
    ("window", "unable", "message"),
    [
        (
            log(0, 1),
            (0, 1, 2),
            "each side: the reference has 600 in 600 rows, the window 0 in 0 rows",
        ),
        (log(1, 1), (0, 1, 2), "the window 1 in 1 rows"),
        (log(100, 1).assign(text=None), (0,), "text_drift on 'text' needs 30 values"),
        (log(100, 1).assign(text=" "), (0,), "the window 0 in 100 rows"),
        (log(100, 1).assign(score=np.nan), (1,), "value_drift on 'score' needs 30 values"),
        (log(100, 1).drop(columns="score"), (1,), "the window has no column 'score'; it has text, label, at"),
        (log(100, 1).astype({"score": str}), (1,), "'score' holds numbers on one side"),
    ],
)
def test_a_detector_that_cannot_tell_does_not_silence_the_others(
    tmp_path: Path, window: pd.DataFrame, unable: tuple[int, ...], message: str
) -> None:
    findings = compare(REFERENCE, window, ALL, folder=tmp_path, seed=1)
    assert tuple(number for number, one in enumerate(findings) if one.score is None) == unable
    assert all(message in findings[number].reason for number in unable[:1])
    assert not any(findings[number].alarm for number in unable)
    assert findings[unable[0]].summary.startswith(f"{findings[unable[0]].name} was not measured: ")
    saved = json.loads((tmp_path / "drift.json").read_text(encoding="utf-8"))
    assert [one["score"] for one in saved["findings"]] == [one.score for one in findings]
    assert (tmp_path / "drift.html").exists() is (len(unable) < len(ALL))


@pytest.mark.parametrize("threshold", [None, 0.7])
def test_texts_without_words_are_not_measured(tmp_path: Path, threshold: float | None) -> None:
    same = REFERENCE.assign(text="the same film")
    detectors = [text_drift.TextDrift(threshold=threshold), ALL[1]]
    text, score = compare(same, same[:100], detectors, folder=tmp_path, seed=1)
    assert "700 texts, 1 of them different" in text.reason
    assert (text.score, score.alarm) == (None, False)
    assert score.score is not None


def test_detectors_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    detectors = [
        ALL[0],
        value_drift.ValueDrift(column="text"),
        value_drift.ValueDrift(column="label", method="wasserstein"),
    ]
    text, twice, label = compare(REFERENCE, log(100, 1), detectors, folder=tmp_path, seed=1)
    assert text.score is not None
    assert "another detector reads 'text' as text with (600, 100) values, this one as cat" in twice.reason
    assert "wasserstein needs numbers" in label.reason


def test_large_logs_are_sampled() -> None:
    config = text_drift.TextDrift(max_rows=100)
    found = config.samples(REFERENCE, log(50, 1), 3)
    assert found.rows == (100, 50)
    assert found.reference.index.tolist() != list(range(100))
    assert found.reference.equals(config.samples(REFERENCE, log(50, 1), 3).reference)


@pytest.mark.filterwarnings("ignore:Maximum number of iteration")
def test_the_null_is_evidentlys_own_statistic() -> None:
    """The shortcut that fits only the classifier again gives, to the last bit, what Evidently's pipeline gives."""
    from evidently.legacy.utils.data_drift_utils import roc_auc_domain_classifier
    from sklearn.model_selection import train_test_split

    config = text_drift.TextDrift(permutations=10)
    found = config.samples(REFERENCE, log(100, 1), 1)
    texts = pd.concat([found.reference, found.current]).to_numpy()
    random = np.random.default_rng(5)
    expected = []
    for _ in range(config.permutations):
        sides = random.permutation(np.repeat([0, 1], found.rows))
        halves = train_test_split(texts, sides, test_size=0.5, random_state=42, shuffle=True)
        expected.append(roc_auc_domain_classifier(*halves)[0])
    assert config._shuffled_scores(found, 5, 10) == expected


def test_chance_is_measured_with_reference_first_and_at_its_size() -> None:
    """Wasserstein's unit is the reference's standard deviation, so the order of the sides shows in the number."""
    from scipy.stats import wasserstein_distance

    config = value_drift.ValueDrift(permutations=10)
    found = config.samples(REFERENCE, log(40, 1, sure=2.0), 1)
    values = np.concatenate([found.reference, found.current])
    random = np.random.default_rng(5)
    expected = []
    for _ in range(config.permutations):
        shuffled = values[random.permutation(len(values))]
        reference, current = shuffled[: len(REFERENCE)], shuffled[len(REFERENCE) :]
        expected.append(wasserstein_distance(reference, current) / np.std(reference))
    assert config.calibrate(found, 5).null_mean == pytest.approx(np.mean(expected))


def test_threshold_is_mean_and_deviations_but_never_below_the_floor() -> None:
    assert above_chance([1.0, 2.0, 3.0], 2, 0.0) == Threshold(4.0, 2.0, 1.0)
    assert above_chance([1.0, 2.0, 3.0], 2, 9.0).value == 9.0
    found = ALL[1].samples(REFERENCE, log(100, 1), 1)
    assert not finding("value_drift", "n", "d", 0.2, Threshold(0.2), found).alarm
    assert finding("value_drift", "n", "d", 0.21, Threshold(0.2), found).alarm


def test_a_given_threshold_is_not_measured() -> None:
    found = ALL[1].samples(REFERENCE, log(100, 1), 1)
    assert value_drift.ValueDrift(threshold=0.3).calibrate(found, 1) == Threshold(0.3)
    assert str(Threshold(0.3)) == "0.300 (given)"


@pytest.mark.parametrize("kind", [text_drift.TextDrift, value_drift.ValueDrift])
def test_examples_are_valid_and_misspellings_are_not(kind: type[Detector]) -> None:
    assert kind.model_validate(kind.EXAMPLE).kind == kind.EXAMPLE["kind"]
    with pytest.raises(ValidationError):
        kind.model_validate(kind.EXAMPLE | {"treshold": 0.6})
    with pytest.raises(ValidationError):
        kind.model_validate({"threshold": 0})
