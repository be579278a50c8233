"""Each gate passes, fails, and says undecided rather than guess."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from scipy.stats import binomtest

from ftcore.evaluation.gates import parity
from ftcore.evaluation.gates.beats_baseline import BeatsBaseline
from ftcore.evaluation.gates.beats_champion import BeatsChampion
from ftcore.evaluation.gates.calibration import Calibration
from ftcore.evaluation.gates.cost import Cost
from ftcore.evaluation.gates.fairness import Fairness
from ftcore.evaluation.gates.forgetting import Forgetting
from ftcore.evaluation.gates.latency import Latency
from ftcore.evaluation.gates.parity import Parity
from ftcore.evaluation.gates.size import Size
from ftcore.evaluation.gates.slice import Slice
from ftcore.evaluation.gates.threshold import Threshold
from ftcore.registry.verdict import TORCH, Evidence, Rule, Verdict, rules_of
from ftcore.statistics import calibration as calibrations
from ftcore.steps import gate as gate_step
from ftcore.tasks.classification import Classification

CONFIG = Classification(labels=("no", "yes"))


def test_rows_that_a_metric_is_not_about_count_for_nothing() -> None:
    given = evidence(400, right=0.5, champion=0.6)
    first = np.arange(400) < 100  # where candidate and champion are always right
    some = replace(given, about={"accuracy": first})
    for gate, settings in ((Threshold, {"minimum": 0.9}), (BeatsChampion, {"non_inferior": 0.05, "min_rows": 50})):
        config = gate.model_validate(settings)
        assert config.judge(given).passed is False
        rule = config.judge(some)
        assert (rule.passed, rule.rows) == (True, 100)
    config = Slice(max_loss=0.01)
    every = {"source=a": np.ones(400, bool)}
    assert config.judge(replace(given, slices=every)).passed is False
    assert config.judge(replace(some, slices=every)).rows == 100
    assert Threshold(minimum=0.9, min_rows=101).judge(some).passed is None


def evidence(
    rows: int = 400, right: float = 0.8, champion: float | None = None, export: float = 1.0, tweets: int = 0
) -> Evidence:
    """Candidate and champion get the first ``right`` of the rows right; the export agrees with torch on ``export``."""
    truth = np.arange(rows) % 2

    def predicted(share: float) -> np.ndarray:
        return np.where(np.arange(rows) < round(share * rows), truth, 1 - truth)

    served = predicted(right)
    torch = np.where(np.arange(rows) < round(export * rows), served, 1 - served)
    labels = pa.table({"label": [CONFIG.labels[number] for number in truth]})

    def tallies(numbers: np.ndarray) -> np.ndarray:
        return CONFIG.tallies(labels, np.eye(2)[numbers])

    return Evidence(
        dataset=np.array(["tweets"] * tweets + ["test"] * (rows - tweets)),
        candidate={"onnx-int8": tallies(served), "onnx-fp32": tallies(torch), TORCH: tallies(torch)},
        champion=None if champion is None else {"onnx-int8": tallies(predicted(champion)), TORCH: tallies(truth)},
        metrics=CONFIG.metrics,
        better=Classification.METRICS,
        resamples=500,
        seed=1,
    )


def test_every_reason_names_the_class_that_f1_is_about() -> None:
    settings: dict[Any, list[dict[str, Any]]] = {
        Threshold: [{"minimum": bound} for bound in (0.1, 0.8, 0.99)],
        BeatsChampion: [{}, {"non_inferior": 0.05}],
        BeatsBaseline: [{}],
        Slice: [{"max_loss": loss} for loss in (0.001, 0.01, 0.9)],
        Forgetting: [{"max_loss": loss} for loss in (0.001, 0.01, 0.9)],
        Fairness: [{"by": "source", "max_difference": most} for most in (0.001, 0.9)],
        Parity: [{"max_difference": 0.01}],
    }
    named = 0
    for rows, right, champion in ((400, 0.8, 0.7), (400, 0.6, 0.9), (40, 0.5, 0.5), (4000, 0.8, 0.8)):
        half = np.arange(rows) % 4 < 2
        given = evidence(rows, right, champion, export=right - 0.1)
        baselines = {"majority": CONFIG.tallies(pa.table({"label": ["yes"] * rows}), np.eye(2)[[0] * rows])}
        slices = {"source=a": half, "source=b": ~half}
        given = replace(given, titles={"f1": "f1 (of yes)"}, baselines=baselines, slices=slices)
        for gate, every in settings.items():
            for one in every:
                config = gate.model_validate({"metric": "f1", **one})
                reason = config.judge(given).reason
                assert "f1" not in reason.replace("f1 (of yes)", ""), reason
                named += "f1 (of yes)" in reason
    assert named > 30


def test_threshold_reached_and_missed() -> None:
    good = Threshold(minimum=0.75).judge(evidence(right=0.8))
    bad = Threshold(minimum=0.85).judge(evidence(right=0.8))
    near = Threshold(minimum=0.8).judge(evidence(right=0.8))
    assert (good.passed, bad.passed, near.passed) == (True, False, None)
    assert (good.measured, good.bound, good.rows, good.groups) == (pytest.approx(0.8), 0.75, 400, 400)
    assert good.low is not None
    assert good.high is not None
    assert good.low < 0.8 < good.high
    assert "accuracy 0.800 [" in good.reason
    assert "reaches 0.75" in good.reason
    assert "does not reach 0.85" in bad.reason
    assert near.reason.startswith("undecided: accuracy 0.800 [")
    assert Threshold(minimum=0.8, tolerance=0.05).judge(evidence(right=0.8)).passed is True


def test_a_threshold_asks_for_the_lower_end_as_certain_once_did() -> None:
    for rows, expected in [(100, None), (4000, True)]:
        config = Threshold.model_validate({"minimum": 0.77, "certain": True})
        assert config.judge(evidence(rows=rows, right=0.8)).passed is expected
    with pytest.raises(ValidationError, match="the interval decides: leave it out, and set `tolerance`"):
        Threshold.model_validate({"minimum": 0.77, "certain": False})


def test_a_threshold_looks_at_what_serves_and_at_its_datasets_only() -> None:
    # All of the first 100 rows, the tweets, are right; of the test rows two thirds.
    seen = evidence(rows=400, right=0.75, tweets=100)
    found = {
        names: Threshold(minimum=0.5, datasets=names).judge(seen)
        for names in [("test",), ("tweets",), ("test", "tweets")]
    }
    assert [rule.rows for rule in found.values()] == [300, 100, 400]
    assert [rule.measured for rule in found.values()] == [pytest.approx(2 / 3), 1.0, 0.75]


def test_a_dataset_that_was_not_evaluated_is_named() -> None:
    with pytest.raises(ValueError, match="no dataset mail; evaluated: test"):
        Threshold(minimum=0.5, datasets=("mail",)).judge(evidence())


@pytest.mark.parametrize(
    "config",
    [
        Threshold(minimum=0.1),
        Parity(max_difference=1),
        BeatsChampion(minimum_gain=0.5),
    ],
)
def test_too_few_rows_are_undecided_which_is_not_passed(config: Any) -> None:
    few = config.judge(evidence(rows=config.min_rows - 1, right=1.0, champion=0.0))
    assert few.passed is None
    assert few.reason.startswith(f"undecided: {config.min_rows - 1} rows are too few")
    assert config.judge(evidence(rows=config.min_rows, right=1.0, champion=0.0)).passed is True
    assert not Verdict(passed=all(r.passed for r in (few,)), rules=(few,), candidate=1, champion=None).passed


def test_a_first_model_has_nobody_to_beat() -> None:
    rule = BeatsChampion().judge(evidence(rows=10, champion=None))
    assert (rule.passed, rule.reason) == (True, "there is no champion to beat yet")


@pytest.mark.parametrize(
    ("right", "champion", "minimum_gain", "passed"),
    [
        (0.9, 0.8, 0.0, True),
        (0.8, 0.9, 0.0, False),
        (0.8, 0.8, 0.0, False),
        (0.805, 0.8, 0.0, False),
        (0.9, 0.8, 0.09, False),
    ],
)
def test_the_gain_must_not_be_chance(right: float, champion: float, minimum_gain: float, passed: bool) -> None:
    config = BeatsChampion(minimum_gain=minimum_gain)
    rule = config.judge(evidence(right=right, champion=champion))
    assert rule.passed is passed
    assert rule.measured == pytest.approx(right - champion)
    assert rule.low is not None
    assert (rule.low > minimum_gain) is passed
    assert ("does not surely beat" in rule.reason) is not passed
    assert "on 400 rows, paired, of test" in rule.reason


@pytest.mark.parametrize(("right", "margin", "passed"), [(0.79, 0.05, True), (0.79, 0.01, False), (0.7, 0.05, False)])
def test_as_good_as_the_champion_within_a_margin(right: float, margin: float, passed: bool) -> None:
    rule = BeatsChampion(non_inferior=margin).judge(evidence(right=right, champion=0.8))
    assert (rule.passed, rule.bound) == (passed, -margin)
    assert rule.reason.startswith("is as good as" if passed else "may be worse than")


def test_a_gain_and_a_margin_contradict_each_other() -> None:
    with pytest.raises(ValidationError, match="give one of them"):
        BeatsChampion(minimum_gain=0.01, non_inferior=0.01)


def falls(seen: Evidence) -> Evidence:
    """The same where the metric is the share of wrong answers."""
    wrong = lambda sums: {"error": 1 - seen.metrics(sums)["accuracy"]}  # noqa: E731
    return replace(seen, metrics=wrong, better={"error": "lower"})


def test_a_metric_that_is_better_when_lower() -> None:
    seen = falls(evidence(right=0.9, champion=0.8))
    rule = BeatsChampion(metric="error").judge(seen)
    assert (rule.passed, rule.measured) == (True, pytest.approx(0.1))
    assert BeatsChampion(metric="error").judge(falls(evidence(right=0.8, champion=0.9))).passed is False
    for maximum, passed in [(0.15, True), (0.11, None), (0.06, False)]:
        found = Threshold(metric="error", maximum=maximum).judge(seen)
        assert (found.passed, found.bound) == (passed, maximum)


def test_a_metric_that_is_not_defined_is_undecided() -> None:
    seen = replace(evidence(champion=0.5), metrics=lambda sums: {"accuracy": np.full(sums.shape[:-1], np.nan)})
    for kind in (Threshold(minimum=0.1), BeatsChampion(), Parity()):
        rule = kind.judge(seen)
        assert rule.passed is None
        assert "accuracy" in rule.reason
        assert "not defined" in rule.reason


@pytest.mark.parametrize("bounds", [{}, {"minimum": 0.1, "maximum": 0.2}])
def test_a_threshold_has_one_bound(bounds: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="either minimum or maximum"):
        Threshold(**bounds)


def test_the_champion_is_compared_as_it_serves() -> None:
    # As torch the champion is always right; what counts is its int8 export.
    assert BeatsChampion().judge(evidence(right=0.9, champion=0.8)).passed


@pytest.mark.parametrize(("export", "passed"), [(1.0, True), (0.99, True), (0.95, False)])
def test_exports_must_do_what_the_trained_model_does(export: float, passed: bool) -> None:
    rule = Parity(max_difference=0.01).judge(evidence(right=1.0, export=export))
    assert rule.passed is passed
    assert rule.measured == pytest.approx(1 - export, abs=1e-9)
    assert f"agrees on {export:.1%} of 400 rows" in rule.reason


def test_the_worst_export_is_reported_and_a_better_one_counts_too() -> None:
    seen = evidence(right=0.5, export=1.0)
    better = seen.candidate[TORCH].copy()
    better[300:] = evidence(right=1.0).candidate[TORCH][300:]
    found = Parity().judge(replace(seen, candidate=seen.candidate | {"onnx-fp32": better}))
    assert (found.passed, found.measured) == (False, pytest.approx(0.25))
    assert found.reason.startswith("onnx-fp32 differs from torch by +0.2500")


def test_of_scores_that_are_no_counts_no_agreement_is_told() -> None:
    seen = evidence(right=0.5, export=0.5)
    found = Parity().judge(replace(seen, candidate={name: t / 3 for name, t in seen.candidate.items()}))
    assert found.reason.endswith(" in accuracy on 400 rows; 0.01 is allowed")


@pytest.mark.parametrize(
    ("disagreeing", "allowed", "passed"),
    [(0, 0.03, True), (4, 0.03, True), (4, 0.02, None), (11, 0.03, None), (40, 0.03, False), (40, 0.2, True)],
)
def test_the_bounds_of_the_share_of_rows_with_another_answer_decide(
    disagreeing: int, allowed: float, passed: bool | None
) -> None:
    """Half of them gain and half lose, so that no mean differs."""
    seen = evidence(right=0.5)
    served = seen.candidate["onnx-int8"].copy()
    torch, half = seen.candidate[TORCH], disagreeing // 2
    wrong = torch[400 - 2 : 400]  # the tallies of a wrong row of each label
    served[:half] = wrong[np.arange(half) % 2]
    served[200 : 200 + disagreeing - half] = torch[np.arange(disagreeing - half) % 2]
    config = Parity(max_difference=0.01, max_disagreement=allowed)
    found = config.judge(replace(seen, candidate={"onnx-int8": served, TORCH: torch}))
    assert found.passed is passed
    assert f"onnx-int8 gives {disagreeing / 400:.1%} of the rows another answer" in found.reason
    if passed is not True:
        assert (found.measured, found.bound) == (disagreeing / 400, allowed)
        assert found.low < found.measured < found.high
        assert ("undecided" in found.reason) is (passed is None)


def test_without_any_disagreement_a_hundred_rows_are_enough() -> None:
    assert Parity().judge(evidence(100)).passed


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        (
            {"off": 57, "max_difference": 0.27},
            "computes in torch's precision, and differs from it on 57 of 59 rows, by",
        ),
        ({"alone": {"rows": 59, "off": 11, "max_difference": 0.29}}, "gives 11 of 59 rows other outputs alone than in"),
    ],
)
def test_rows_that_differ_in_float32_or_depend_on_their_batch_fail_whatever_the_means_say(
    figures: dict[str, Any], reason: str
) -> None:
    fine = {"exact": True, "rows": 59, "disagree": 0, "off": 0, "max_difference": 0.0, "alone": {"rows": 59, "off": 0}}
    seen = evidence(right=1.0)
    assert Parity().judge(replace(seen, figures={"agreement": {"onnx-fp32": fine}})).passed
    inexact = fine | figures | {"exact": False}
    found = Parity().judge(replace(seen, figures={"agreement": {"onnx-int8": inexact}}))
    assert found.passed is ("alone" not in figures), "int8 may differ from torch, but not from itself"
    found = Parity().judge(replace(seen, figures={"agreement": {"onnx-fp32": fine | figures}}))
    assert found.passed is False
    assert reason in found.reason


def test_exports_are_compared_on_the_rows_that_the_metric_is_about() -> None:
    seen = evidence(right=1.0, export=0.5)
    mine = np.arange(400) < 150
    found = Parity().judge(replace(seen, about={"accuracy": mine}))
    assert found.rows == 150
    assert "of 150 rows" in found.reason
    assert Parity(min_rows=151).judge(replace(seen, about={"accuracy": mine})).passed is None


def sliced(gains: dict[str, tuple[int, float]]) -> Evidence:
    """Slices by name: their rows, and the share of them that the candidate gains on a champion right on half."""
    sizes = [rows for rows, _ in gains.values()]
    edges = np.cumsum([0, *sizes])
    places = {name: np.arange(edges[-1]) - start for name, start in zip(gains, edges, strict=False)}
    inside = {name: (place >= 0) & (place < rows) for (name, place), rows in zip(places.items(), sizes, strict=True)}
    seen = evidence(rows=int(edges[-1]), champion=0.5)
    truth = seen.candidate[TORCH][:, -3:-1]
    right = {"candidate": np.zeros(edges[-1], bool), "champion": np.zeros(edges[-1], bool)}
    for name, (rows, gain) in gains.items():
        right["champion"] |= inside[name] & (places[name] < rows // 2)
        right["candidate"] |= inside[name] & (places[name] < rows // 2 + round(gain * rows))
    labels = pa.table({"label": [CONFIG.labels[number] for number in truth.argmax(-1)]})
    made = {role: CONFIG.tallies(labels, np.where(good[:, None], truth, 1 - truth)) for role, good in right.items()}
    dataset = np.concatenate([[name] * rows for name, (rows, _) in gains.items()])
    return replace(
        seen,
        dataset=dataset,
        candidate={"onnx-int8": made["candidate"]},
        champion={"onnx-int8": made["champion"]},
        slices=inside,
    )


@pytest.mark.parametrize("kind", [Slice(max_loss=0.05), Forgetting(max_loss=0.05)])
@pytest.mark.parametrize(
    ("gains", "passed", "named"),
    [
        ({"source=a": (400, 0.2), "source=b": (400, 0.0)}, True, "source=b"),
        ({"source=a": (400, 0.2), "source=b": (400, -0.1)}, False, "source=b"),
        ({"source=a": (400, -0.2), "source=b": (400, -0.1)}, False, "source=a"),
        ({"source=a": (400, 0.0), "source=b": (50, -0.06)}, True, "source=a"),  # three rows of fifty: may be chance
        ({"source=a": (400, 0.0), "source=b": (50, -0.3)}, False, "source=b"),  # fifteen of them: is not
        ({"source=a": (400, 0.0), "source=b": (1, -1.0)}, True, "source=a"),
    ],
)
def test_no_group_of_rows_may_lose(kind: Any, gains: dict[str, tuple[int, float]], passed: bool, named: str) -> None:
    rule = kind.judge(sliced(gains))
    assert rule.passed is passed, rule.reason
    assert rule.bound == -0.05
    if passed:
        assert f"the worst is {named}:" in rule.reason
    else:
        assert rule.reason.startswith(f"{named} loses more than 0.05 in accuracy")


def test_slices_without_a_champion_or_by_what_nobody_sliced() -> None:
    alone = replace(sliced({"source=a": (300, 0.0)}), champion=None)
    assert Slice().judge(alone).reason == "there is no champion to lose against yet"
    other = Slice(by=("language",)).judge(alone)
    said = "undecided: there is no slice by language. Not looked at: source=a (`by` names language)"
    assert (other.passed, other.reason) == (None, said)


def test_groups_of_a_few_rows_decide_nothing() -> None:
    rule = Slice().judge(sliced({"source=a": (29, -0.5), "source=b": (1, 0.0)}))
    left_out = "Left out: source=a (29 rows), source=b (1 rows)"
    why = "undecided: accuracy is defined on no part of 30 rows and 10 groups"
    assert (rule.passed, rule.reason) == (None, f"{why}. {left_out}")


def test_labels_are_looked_at_only_where_that_is_asked() -> None:
    seen = sliced({"source=a": (400, 0.0), "label=no": (400, -0.2)})
    assert Slice().judge(seen).passed is True
    assert Slice(by=("label",)).judge(seen).passed is False


def test_a_verdict_names_what_was_judged_and_what_was_not() -> None:
    seen = sliced({"source=a": (400, 0.0), "length=1-50": (300, 0.0), "source=b": (9, 0.0), "label=no": (400, -0.2)})
    by_default = Slice().judge(seen).reason
    assert "none of 2 parts loses more" in by_default
    assert by_default.endswith(
        "Judged: length=1-50, source=a. Left out: source=b (9 rows). "
        "Not looked at: label=no (labels only where `by` names them)"
    )
    labels = Slice(by=("label",)).judge(seen).reason
    assert labels.endswith("Judged: label=no. Not looked at: length=1-50, source=a, source=b (`by` names label)")
    many = sliced({f"source={place:02}": (40, 0.0) for place in range(14)})
    assert Slice().judge(many).reason.endswith("source=11 and 2 more")


def test_forgetting_needs_an_earlier_domain() -> None:
    rule = Forgetting().judge(evidence(champion=0.8))
    because = "undecided: no evaluate.holdouts has a row that judges, and there is no general_text"
    assert (rule.passed, rule.reason) == (None, because)


@pytest.mark.parametrize(
    ("rise", "rows", "passed"),
    [(0.1, 400, True), (0.8, 400, False), (-3.0, 400, True), (0.503, 50, True), (0.8, 50, False), (0.8, 20, None)],
)
def test_general_text_must_not_be_forgotten(rise: float, rows: int, passed: bool | None) -> None:
    """Perplexity that rises is a loss; of few texts only a sure one counts, of very few none."""
    figures = {"general_text": {"differences": {"champion": {"perplexity": estimated(rise, rows)}}}}
    seen = replace(evidence(champion=0.8), figures=figures, better={"accuracy": "higher", "perplexity": "lower"})
    rule = Forgetting(metric="perplexity", max_loss=0.5).judge(seen)
    assert rule.passed is passed, rule.reason
    if passed is not None:
        assert "general_text" in rule.reason
        assert (rule.measured, rule.rows) == (-rise, rows)
    assert Forgetting().judge(seen).passed is None, "accuracy is not measured on general text"
    assert Forgetting().judge(replace(seen, champion=None)).passed, "a first model"


@pytest.mark.parametrize(("linear", "passed"), [(0.7, True), (0.85, False), (0.95, False)])
def test_a_linear_model_must_be_beaten(linear: float, passed: bool) -> None:
    simple = {"majority": evidence(right=0.5), "linear": evidence(right=linear)}
    baselines = {name: seen.candidate["onnx-int8"] for name, seen in simple.items()}
    rule = BeatsBaseline().judge(replace(evidence(right=0.85), baselines=baselines))
    assert rule.passed is passed
    assert rule.measured == pytest.approx(0.85 - linear)
    assert "the linear baseline in accuracy" in rule.reason


def with_holdout(candidate: float, majority: float, rows: int = 500, test: float = 0.9) -> Evidence:
    """A test split of 1,000 rows on which the candidate is better, and a holdout; shares of rows that are right."""

    def joined(share: float, of_test: float) -> np.ndarray:
        served = [evidence(count, right=one).candidate["onnx-int8"] for count, one in ((1000, of_test), (rows, share))]
        return np.concatenate(served)

    dataset = np.array(["test"] * 1000 + ["tweets"] * rows)
    baselines = {"majority": joined(majority, 0.5), "linear": joined(min(majority, 0.5), 0.7)}
    return replace(evidence(), dataset=dataset, candidate={"onnx-int8": joined(candidate, test)}, baselines=baselines)


@pytest.mark.parametrize(
    ("candidate", "majority", "rows", "passed", "said"),
    [
        (
            0.672,
            0.759,
            500,
            False,
            "is worse than the majority baseline in accuracy on 500 rows of tweets: 0.672 against",
        ),
        (
            0.74,
            0.75,
            200,
            True,
            "may be worse than the majority baseline in accuracy on 200 rows of tweets: 0.740 again",
        ),
        (0.9, 0.75, 500, True, "is no worse than the majority baseline in accuracy on 500 rows of tweets: +0.150"),
        (0.2, 0.9, 60, True, "60 rows are too few to compare with a baseline on tweets"),
    ],
)
def test_every_dataset_is_judged_and_a_holdout_below_a_baseline_is_told(
    candidate: float, majority: float, rows: int, passed: bool, said: str
) -> None:
    seen = with_holdout(candidate, majority, rows)
    rule = BeatsBaseline().judge(seen)
    assert said in rule.reason
    assert "rows of test" in rule.reason
    assert rule.passed is passed
    if not passed:
        assert rule.reason.startswith(said), "what decided comes first"
        assert (rule.rows, rule.bound) == (rows, 0)
        assert rule.high is not None
        assert rule.high < 0
    assert BeatsBaseline(datasets=("test",)).judge(seen).passed is True, "the recipe's choice"


def test_no_more_holdouts_fail_by_chance_than_the_confidence_allows() -> None:
    """Eight holdouts on which candidate and majority are equally good: one of them fails in at most 5 %."""
    draw, failed = np.random.default_rng(7), 0
    hit = evidence(2).candidate["onnx-int8"][:1], evidence(2, right=0).candidate["onnx-int8"][:1]
    dataset = np.repeat(["test", *(f"h{n}" for n in range(8))], 200)
    for _ in range(100):
        mine, theirs = (draw.random(len(dataset)) < 0.7 for _ in range(2))
        mine[:200], theirs[:200] = True, False
        tallies = [np.where(right[:, None], hit[0], hit[1]) for right in (mine, theirs)]
        seen = replace(
            evidence(), dataset=dataset, candidate={"x": tallies[0]}, baselines={"majority": tallies[1]}, resamples=1000
        )
        failed += BeatsBaseline().judge(seen).passed is False
    assert failed <= 10


def test_each_dataset_that_must_be_beaten_is_beaten_by_itself() -> None:
    """Together the rows of both would pass: the loss on one is hidden by the gain on the other."""
    seen, both = with_holdout(0.70, 0.71, 300), BeatsBaseline(datasets=("test", "tweets"))
    rule = both.judge(seen)
    assert rule.passed is False
    assert (rule.rows, rule.bound) == (300, 0)
    few = both.judge(with_holdout(0.9, 0.5, 60))
    assert few.passed is None
    assert "60 rows are too few to compare with a baseline on tweets" in few.reason


def test_a_task_without_baselines_is_undecided() -> None:
    assert BeatsBaseline().judge(evidence()).passed is None


def estimated(value: float, rows: int) -> dict[str, Any]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "rows": rows, "groups": rows}


FIGURES: dict[str, Any] = {
    "latency": {"onnx-int8": {"p50_ms": 3, "p95_ms": 12.5, "rows_per_s": 300, "timed": 100}},
    "size_bytes": {"onnx-int8": 23_000_000},
    "cost_per_1000": {"onnx-int8": 0.002},
}
MEASURED = [
    (Latency(max_p95_ms=12.5), True),
    (Latency(max_p95_ms=12), False),
    (Latency(max_p95_ms=20, min_rows_per_s=301), False),
    (Size(max_bytes=23_000_000), True),
    (Size(max_bytes=22_999_999), False),
    (Cost(max_per_1000=0.002), True),
    (Cost(max_per_1000=0.0019), False),
]


@pytest.mark.parametrize(("config", "passed"), MEASURED)
def test_what_the_evaluation_measured_is_compared_with_a_bound(config: Any, passed: bool | None) -> None:
    rule = config.judge(replace(evidence(), figures=FIGURES))
    assert rule.passed is passed, rule.reason
    assert rule.reason.startswith("undecided: ") is (passed is None)


@pytest.mark.parametrize("kind", sorted({config.kind for config, _ in MEASURED}))
def test_what_nobody_measured_is_undecided(kind: str) -> None:
    config = next(config for config, _ in MEASURED if config.kind == kind)
    assert config.judge(evidence()).passed is None


def confident(rows: int, off: float, size: int = 1) -> Evidence:
    """Right on 80 % of its rows and by ``off`` less sure of all; ``size`` rows are a group."""
    return replace(evidence(rows), confidence=np.full(rows, 0.8 - off), group=np.arange(rows) % (rows // size))


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize(
    ("rows", "off", "settings", "passed"),
    [
        (2000, 0.0, {}, True),
        (2000, 0.3, {}, False),
        (500, 0.12, {}, None),
        (500, 0.12, {"margin": 0.1}, True),
        (2000, 0.3, {"min_rows": 2001}, None),
        (199, 0.3, {}, None),
    ],
)
def test_confidence_that_is_surely_off_fails(
    rows: int, off: float, settings: dict[str, Any], passed: bool | None, adaptive: bool
) -> None:
    config = Calibration(adaptive=adaptive, **settings)
    rule = config.judge(confident(rows, off))
    assert rule.passed is passed, rule.reason
    assert rule.reason.startswith("undecided: ") is (passed is None)
    assert (rule.measured, rule.rows, rule.groups) == (pytest.approx(off, abs=0.005), rows, rows)
    assert config.judge(replace(confident(rows, off, 100), dataset=np.full(rows, "test"))).passed is None


def test_without_probabilities_or_right_answers_there_is_no_calibration() -> None:
    seen = confident(400, 0.1)
    for blind in (replace(seen, confidence=None), replace(seen, metrics=lambda sums: {"loss": sums[..., 0] / 3})):
        rule = Calibration().judge(blind)
        assert (rule.passed, Calibration().comparisons(blind)) == (None, 0)
    scores = np.array([0.5, 0.9, 1.2])
    assert calibrations.probabilities(scores) is None, "a score of another kind"
    assert calibrations.probabilities(np.array([0.5, np.nan])) is None
    assert calibrations.probabilities(scores[:2]) is not None


def test_calibration_shares_its_error_rate_with_the_gates_about_losses() -> None:
    """It stood outside: together with the others it could refuse more than they promise."""
    gates = [Calibration(), Fairness(), Slice()]
    seen = sliced({"source=a": (600, 0.0), "source=b": (600, -0.02)})
    seen = replace(seen, confidence=np.full(1200, 0.5), dataset=np.full(1200, "test"))
    rules = {rule.gate: rule for rule in gate_step.judge(gates, seen)}
    parts = {"calibration": 1, "fairness": 1, "slice": 2}
    assert {kind: rules[kind].alpha for kind in parts} == {
        kind: pytest.approx(0.05 * count / 4) for kind, count in parts.items()
    }
    alone, shared = (gates[0].judge(replace(confident(600, 0.15), comparisons=n)) for n in (None, 20))
    assert (alone.low or 0) > (shared.low or 0)
    assert alone.high == shared.high


@pytest.mark.parametrize(
    ("rules", "on_undecided", "passed", "asks"),
    [
        ([True, True], "fail", True, False),
        ([True, None], "fail", False, False),
        ([True, None], "ask", True, True),
        ([False, None], "ask", False, False),
        ([True], "ask", True, False),
    ],
)
def test_undecided_rules_fail_or_ask(rules: list[bool | None], on_undecided: Any, passed: bool, asks: bool) -> None:
    said = [Rule(gate="g", passed=one, reason=f"is {one}") for one in rules]
    verdict = Verdict.of(said, on_undecided, candidate=1, champion=None)
    assert (verdict.passed, verdict.asks) == (passed, asks)
    assert ("is None" in verdict.reason) is (None in rules)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("accuracy 0.61 [0.58, 0.64] does not reach 0.8", "accuracy 0.61 [0.58, 0.64] does not reach 0.8"),
        ("source=a loses 0.2. Judged: source=a, source=b. Left out: source=c (3 rows)", "source=a loses 0.2"),
        ("beats the baseline; is worse on tweets", "beats the baseline"),
        ("word " * 50, ("word " * 31).strip() + " …"),
        ("", ""),
    ],
)
def test_a_rule_is_one_short_line_of_a_verdict(reason: str, said: str) -> None:
    rule = Rule(gate="g", passed=None, reason=reason)
    assert rule.line == f"g: {said}"
    assert len(rule.line) <= len("g: ") + 160


def test_the_lines_of_a_gate_are_told_apart_from_what_a_person_wrote() -> None:
    assert rules_of({"kind": "gate", "reason": "a: no\nb: no"}) == ["a: no", "b: no"]
    assert rules_of({"kind": "gate", "reason": "of an older ftcore; in one line"}) == [
        "of an older ftcore; in one line"
    ]
    assert rules_of({"kind": "reject", "reason": "bad\ngate: passed"}) == ["bad\ngate: passed"]


def test_a_verdict_gives_the_rules_that_did_not_pass() -> None:
    rules = tuple(
        Rule(gate=f"g{number}", passed=passed, reason=f"reason {number}")
        for number, passed in enumerate([True, False, None])
    )
    assert Verdict(passed=False, rules=rules, candidate=2, champion=1).reason == "g1: reason 1\ng2: reason 2"
    good = Verdict(passed=True, rules=rules[:1], candidate=2, champion=1)
    assert good.reason == "g0: reason 0"
    assert Verdict.model_validate(good.to_json()) == good


def by_group(rights: dict[str, tuple[int, float]], size: int = 1) -> Evidence:
    """A candidate that gets some share of the rows of each source right; ``size`` rows are a group."""
    rows = [count for count, _ in rights.values()]
    right = np.concatenate([np.arange(count) < round(share * count) for count, share in rights.values()])
    seen, edges = evidence(rows=sum(rows)), np.cumsum([0, *rows])
    truth = np.arange(sum(rows)) % 2
    labels = pa.table({"label": [CONFIG.labels[number] for number in truth]})
    tallies = CONFIG.tallies(labels, np.eye(2)[np.where(right, truth, 1 - truth)])
    places = np.arange(sum(rows))
    slices = {
        f"source={name}": (places >= start) & (places < stop)
        for name, start, stop in zip(rights, edges, edges[1:], strict=False)
    }
    return replace(seen, candidate={"onnx-int8": tallies}, slices=slices, group=places // size)


@pytest.mark.parametrize(
    ("rights", "settings", "passed"),
    [
        ({"a": (600, 0.9), "b": (600, 0.9)}, {}, True),
        ({"a": (600, 0.9), "b": (600, 0.6)}, {}, False),
        ({"a": (600, 0.9), "b": (600, 0.77)}, {"margin": 0.05}, None),
        ({"a": (600, 0.9), "b": (600, 0.72)}, {"max_difference": 0.5, "min_ratio": 0.9}, False),
        ({"a": (600, 0.9), "b": (600, 0.9), "c": (40, 0.75)}, {}, True),
        ({"a": (600, 0.9), "b": (600, 0.9), "c": (40, 0.3)}, {}, False),
        ({"a": (40, 0.9), "b": (40, 0.8)}, {}, None),
        ({"a": (600, 0.9), "b": (29, 0.1)}, {}, None),
    ],
)
def test_groups_differ_by_too_much_surely_or_not(
    rights: dict[str, tuple[int, float]], settings: dict[str, Any], passed: bool | None
) -> None:
    rule = Fairness(**settings).judge(by_group(rights))
    assert rule.passed is passed, rule.reason
    assert rule.reason.startswith("undecided: ") is (passed is None)
    if "c" in rights and passed:
        assert rule.reason.endswith("Too few rows to decide: c (40 rows)")


def test_the_four_fifths_rule_is_told_with_its_numbers() -> None:
    rule = Fairness(max_difference=0.5).judge(by_group({"a": (600, 0.9), "b": (600, 0.6)}))
    assert rule.passed is True
    assert "accuracy is 0.600 for b and 0.900 for a: 0.300 [" in rule.reason
    assert "in a ratio of 0.67" in rule.reason
    assert (rule.measured, rule.rows) == (pytest.approx(0.3), 1200)


@pytest.mark.parametrize(("size", "passed"), [(1, False), (100, None)])
def test_few_groups_of_rows_decide_nothing(size: int, passed: bool | None) -> None:
    """Six hundred rows of six customers are six observations."""
    rule = Fairness().judge(by_group({"a": (600, 0.9), "b": (600, 0.6)}, size))
    assert rule.passed is passed
    seen = evidence(right=0.9, champion=0.5)
    grouped = replace(seen, group=np.arange(400) // size)
    rule = BeatsChampion().judge(grouped)
    assert rule.passed is (True if size == 1 else None)
    assert rule.groups == 400 // size
    if size > 1:
        assert "400 rows in 4 groups are too few to compare" in rule.reason
        found = Threshold(minimum=0.1).judge(grouped)
        assert (found.passed, found.groups) == (None, 4)


def test_each_look_at_the_same_rows_asks_for_more() -> None:
    seen = evidence(right=0.84, champion=0.8)
    rules = [BeatsChampion().judge(replace(seen, looks=np.full(400, count))) for count in range(50)]
    lows = [rule.low for rule in rules]
    assert lows == sorted(lows, key=lambda low: -(low or 0))
    assert rules[0].passed is True
    assert rules[-1].passed is False
    assert [rules[0].look, rules[4].look] == [1, 5]
    assert sum(rule.alpha or 0 for rule in rules) == pytest.approx(rules[-1].alpha_spent)
    assert (rules[-1].alpha_spent or 1) < 0.05
    assert "look 5 at these rows spends 0.12% of the 5.00% error allowed over all looks" in rules[4].reason
    half = BeatsChampion().judge(replace(seen, looks=np.arange(400) % 2 * 4))
    assert half.look == 3
    assert half.alpha == pytest.approx(((rules[0].alpha or 0) + (rules[4].alpha or 0)) / 2), "new rows offer anew"


def test_gates_about_losses_share_one_error_rate() -> None:
    seen = sliced({"source=a": (400, 0.0), "source=b": (300, -0.07)})
    alone, shared = (Slice().judge(replace(seen, comparisons=n)) for n in (None, 40))
    assert (alone.alpha, shared.alpha) == (0.05, pytest.approx(0.05 * 2 / 40))
    assert Slice().comparisons(seen) == 2


def test_a_slice_of_too_few_rows_says_how_many_are_needed() -> None:
    draw = np.random.default_rng(3)
    rows, truth = 220, np.arange(220) % 2
    labels = pa.table({"label": [CONFIG.labels[number] for number in truth]})
    made = {}
    for role in ("candidate", "champion"):  # each is right on half of the rows: they differ on half
        said = np.where(draw.random(rows) < 0.5, truth, 1 - truth)
        made[role] = {"onnx-int8": CONFIG.tallies(labels, np.eye(2)[said])}
    seen = replace(evidence(rows=rows), **made, slices={"source=a": np.ones(rows, bool)})
    rule = Slice(max_loss=0.02).judge(seen)
    assert rule.passed is None
    assert "undecided: too few rows to see a loss of 0.07 in accuracy in source=a (220 rows, about" in rule.reason


@pytest.mark.parametrize(
    ("flipped", "size", "passed"), [(0, 1, True), (5, 1, True), (0, 20, True), (20, 20, None), (0, 400, None)]
)
def test_rows_of_one_group_that_an_export_answers_otherwise_are_few_observations(
    flipped: int, size: int, passed: bool | None
) -> None:
    """Twenty rows of one customer were twenty observations, and their share was known to a percent."""
    seen = evidence(400, right=0.8)
    torch = seen.candidate[TORCH].copy()
    served = torch.copy()
    served[:flipped] = evidence(400, right=0).candidate[TORCH][:flipped]
    seen = replace(seen, candidate={"onnx-int8": served, TORCH: torch}, group=np.arange(400) // size)
    rule = Parity(max_difference=1, max_disagreement=0.08).judge(seen)
    assert rule.passed is passed, rule.reason
    assert rule.groups == 400 // size


@pytest.mark.parametrize("hits", [0, 1, 7, 399, 400])
def test_without_groups_the_bounds_are_those_of_clopper_and_pearson(hits: int) -> None:
    apart = np.arange(400) < hits
    _, share, low, high = parity._disagreement({"a": apart[:, None] * 1.0}, np.zeros((400, 1)), None)
    theirs = binomtest(hits, 400).proportion_ci(0.9, method="exact")
    assert (share, low, high) == (hits / 400, pytest.approx(theirs.low), pytest.approx(theirs.high))


def test_a_sure_failure_needs_no_more_rows_and_an_undecided_rule_has_numbers() -> None:
    """Eighty-seven rows of which 68 % are right surely miss 95 %, may reach 75 %, and are too few to pass 50 %."""
    seen = evidence(rows=87, right=0.678)
    missed = Threshold(minimum=0.95).judge(seen)
    assert missed.passed is False
    assert "does not reach 0.95" in missed.reason
    for bound in (0.75, 0.5):
        rule = Threshold(minimum=bound).judge(seen)
        assert rule.passed is None
        assert rule.reason.startswith("undecided: 87 rows are too few to judge accuracy, at least 100 are needed")
        assert f"; accuracy 0.678 [{rule.low:.3f}, {rule.high:.3f}] on 87 rows, {bound:g} is required" in rule.reason
        assert (rule.measured, rule.bound, rule.rows, rule.groups) == (pytest.approx(0.678, abs=1e-3), bound, 87, 87)
    assert Threshold(minimum=0.95).judge(evidence(rows=29, right=0.5)).passed is None, "too few"
    few_groups = replace(evidence(rows=90, right=0.5), group=np.arange(90) // 10)
    assert Threshold(minimum=0.99).judge(few_groups).passed is None, "nine groups"


def test_a_candidate_that_is_surely_no_better_fails_on_few_rows() -> None:
    seen = evidence(rows=60, right=0.5, champion=0.9)
    worse = replace(seen, baselines={"majority": evidence(60, right=0.9).candidate["onnx-int8"]})
    for config in (BeatsBaseline(), BeatsChampion()):
        assert config.judge(worse).passed is False
    near = evidence(rows=60, right=0.85, champion=0.8)
    near = replace(near, baselines={"majority": evidence(60, right=0.8).candidate["onnx-int8"]})
    for config in (BeatsBaseline(), BeatsChampion()):
        rule = config.judge(near)
        assert rule.passed is None
        assert "60 rows are too few" in rule.reason
        assert rule.measured == pytest.approx(0.05)
        assert rule.low < 0.05 < rule.high
    sealed = BeatsChampion().judge(replace(seen, sealed=True))
    assert (sealed.passed, sealed.measured) == (None, None), "sealed rows are not looked at in vain"


def test_a_group_of_rows_on_both_sides_of_a_pair_is_counted_once() -> None:
    seen = replace(by_group({"a": (300, 0.9), "b": (300, 0.8)}, 1), group=np.arange(600) % 100)
    rule = Fairness().judge(seen)
    assert (rule.rows, rule.groups) == (600, 100)
    assert "apart on 600 rows in 100 groups" in rule.reason
