"""What is said about predictions is what fairlearn, statsmodels and plain counting say."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fairlearn.metrics import MetricFrame
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from ftcore.evaluation import baselines, examples, measures, robustness
from ftcore.evaluation import slices as _slices
from ftcore.statistics.intervals import difference, estimate
from ftcore.tasks.classification import Classification

CONFIG = Classification(labels=("no", "yes"))
ROWS = 400
TRUTH = np.random.default_rng(1).integers(0, 2, ROWS)
LABELS = pa.table({"label": [CONFIG.labels[number] for number in TRUTH]})


def said(right: float, seed: int) -> np.ndarray:
    """Probabilities of a model that is right on about that share of the rows."""
    draw = np.random.default_rng(seed)
    answer = np.where(draw.random(ROWS) < right, TRUTH, 1 - TRUTH)
    sure = draw.uniform(0.5, 1, ROWS)
    return np.where(np.eye(2)[answer] == 1, sure[:, None], 1 - sure[:, None])


def judged(**outputs: np.ndarray) -> measures.Judged:
    tallies = {(role, "onnx"): CONFIG.tallies(LABELS, one) for role, one in outputs.items()}
    return measures.Judged(tallies, CONFIG.metrics, 300, 3)


CANDIDATE, CHAMPION = said(0.9, 4), said(0.7, 5)
BOTH = judged(candidate=CANDIDATE, champion=CHAMPION)


def test_metrics_differences_and_mcnemar_by_part() -> None:
    half = np.arange(ROWS) < ROWS // 2
    found = measures.by_part(BOTH, {"all": np.ones(ROWS, bool), "half": half})
    candidate, champion = CANDIDATE.argmax(-1), CHAMPION.argmax(-1)
    for role, predicted in {"candidate": candidate, "champion": champion}.items():
        measured = found["metrics"][role]["onnx"]["half"]
        assert measured["accuracy"]["value"] == pytest.approx(accuracy_score(TRUTH[half], predicted[half]))
        assert measured["f1"]["value"] == pytest.approx(f1_score(TRUTH[half], predicted[half]))
    gain = found["differences"]["onnx"]["all"]["accuracy"]
    assert gain["value"] == pytest.approx((candidate == TRUTH).mean() - (champion == TRUTH).mean())
    assert 0 < gain["low"] < gain["value"] < gain["high"]
    test = found["mcnemar"]["onnx"]["all"]
    assert test["only_candidate_right"] == ((candidate == TRUTH) & (champion != TRUTH)).sum()
    assert test["only_champion_right"] == ((candidate != TRUTH) & (champion == TRUTH)).sum()
    assert test["p_value"] < 1e-4


def test_a_metric_is_measured_on_the_rows_that_it_is_about() -> None:
    """As if there were no others: value, interval and count are those of its rows alone."""
    mine = np.arange(ROWS) < 150
    both = {name: np.hstack([t * mine[:, None], t * ~mine[:, None]]) for name, t in BOTH.tallies.items()}

    def metrics(sums: np.ndarray) -> dict[str, np.ndarray]:
        halves = zip("ab", np.split(sums, 2, axis=-1), strict=True)
        return {f"{p}/{n}": v for p, half in halves for n, v in CONFIG.metrics(half).items()}

    about = {f"{p}/{n}": rows for p, rows in (("a", mine), ("b", ~mine)) for n in Classification.METRICS}
    found = measures.by_part(measures.Judged(both, metrics, 300, 3, about), {"all": np.ones(ROWS, bool)})
    alone = {name: table[mine] for name, table in BOTH.tallies.items()}
    one = measures.Judged(alone, BOTH.metrics, 300, 3)
    wanted = measures.by_part(one, {"all": np.ones(150, bool)})
    for role in ("candidate", "champion"):
        assert found["metrics"][role]["onnx"]["all"]["a/f1"] == wanted["metrics"][role]["onnx"]["all"]["f1"]
    assert found["differences"]["onnx"]["all"]["a/f1"] == wanted["differences"]["onnx"]["all"]["f1"]
    assert found["metrics"]["candidate"]["onnx"]["all"]["b/f1"]["rows"] == ROWS - 150
    groups = {"odd": np.where(np.arange(ROWS) % 2, "odd", "even").astype(object)}
    judged = measures.Judged(both, metrics, 300, 3, about)
    fair = measures.fairness(judged, "onnx", groups)["odd"]["metrics"]
    plain = measures.fairness(one, "onnx", {"odd": groups["odd"][mine]})["odd"]["metrics"]
    assert fair["a/accuracy"].keys() == plain["accuracy"].keys()
    for name, figure in plain["accuracy"].items():  # the other sums are added in another order
        assert fair["a/accuracy"][name] == pytest.approx(figure)
    scores = judged.scores("candidate", "onnx", dict.fromkeys(about, "higher"))
    right = np.where(CANDIDATE.argmax(-1) == TRUTH, 1.0, 0.0)
    assert np.array_equal(scores, right), "each row by the first metric that is about it"


def test_slices_of_one_row_and_of_a_label_that_is_never_said() -> None:
    never = judged(candidate=np.tile([0.9, 0.1], (ROWS, 1)))
    one = np.arange(ROWS) == 7
    found = measures.by_slice(never, "onnx", {"one": one, "label=yes": TRUTH == 1, "none": np.zeros(ROWS, bool)})
    assert set(found["one"]) == {"rows", "candidate"}
    assert (found["one"]["rows"], found["none"]["rows"]) == (1, 0)
    accuracy = found["one"]["candidate"]["accuracy"]
    assert (accuracy["low"], accuracy["high"]) == (None, None), "of one row nothing is known but itself"
    nothing = {"value": None, "low": None, "high": None, "rows": 0, "groups": 0, "level": 0.95}
    assert found["none"]["candidate"]["accuracy"] == nothing
    f1 = found["label=yes"]["candidate"]["f1"]
    assert (f1["value"], f1["rows"]) == (0, int(TRUTH.sum()))
    assert f1["high"] is None or f1["high"] > 0


def test_fairness_is_fairlearns() -> None:
    group = np.where(np.arange(ROWS) < 300, np.where(TRUTH == 1, "x", "y"), "z").astype(object)
    group[:10] = "few"
    found = measures.fairness(BOTH, "onnx", {"source": group, "alike": np.full(ROWS, "same", object)})
    assert set(found) == {"source"}, "one group has nobody to differ from"
    assert set(found["source"]["groups"]) == {"x", "y", "z"}, "ten rows say nothing"
    large = group != "few"
    predicted = CANDIDATE.argmax(-1)
    theirs = MetricFrame(
        metrics=accuracy_score, y_true=TRUTH[large], y_pred=predicted[large], sensitive_features=group[large]
    )
    ours = found["source"]["metrics"]["accuracy"]
    assert ours["difference"]["value"] == pytest.approx(theirs.difference())
    assert ours["ratio"] == pytest.approx(theirs.ratio())
    assert ours["by_group"] == pytest.approx(theirs.by_group.to_dict())


def test_two_groups_of_the_same_rows_differ_by_chance() -> None:
    tallies = BOTH.tallies["candidate", "onnx"]
    twice = measures.Judged({("candidate", "onnx"): np.concatenate([tallies, tallies])}, BOTH.metrics, 300, 3)
    names = np.array(["a"] * ROWS + ["b"] * ROWS, object)
    found = measures.fairness(twice, "onnx", {"source": names})["source"]["metrics"]["accuracy"]["difference"]
    assert found["value"] == pytest.approx(0)
    error = (0.9 * 0.1 / ROWS) ** 0.5
    assert found["low"] == 0
    assert found["high"] == pytest.approx(1.96 * 2**0.5 * error, rel=0.25)


def test_calibration_by_role_with_bins_that_add_up() -> None:
    sure = {("candidate", "onnx"): CANDIDATE.max(-1), ("champion", "onnx"): CHAMPION.max(-1)}
    chosen = np.arange(ROWS) >= 50
    found = measures.calibrated(sure, BOTH, chosen)
    for role in ("candidate", "champion"):
        one = found[role]["onnx"]
        by_hand = sum(b["rows"] * abs(b["confidence"] - b["accuracy"]) for b in one["bins"]) / 350
        assert one["ece"]["value"] == pytest.approx(by_hand)
        assert one["ece"]["rows"] == sum(b["rows"] for b in one["bins"]) == 350
    assert measures.calibrated({}, BOTH, chosen) == {}


def test_a_metric_that_no_single_row_has() -> None:
    """A correlation: numbers instead of labels, nothing right or wrong, and undefined on one row."""
    draw = np.random.default_rng(6)

    def metrics(sums: np.ndarray) -> dict[str, np.ndarray]:
        x, y, xx, yy, xy, n = np.moveaxis(sums, -1, 0)
        return {"r": (n * xy - x * y) / np.sqrt((n * xx - x**2) * (n * yy - y**2))}

    x, noise = draw.normal(size=(2, ROWS))
    tallies = {
        (role, "onnx"): np.stack([x, y, x * x, y * y, x * y, np.ones(ROWS)], axis=-1)
        for role, y in {"candidate": x + noise, "champion": x + 3 * noise}.items()
    }
    numbers = measures.Judged(tallies, metrics, 300, 3)
    one, half = np.arange(ROWS) == 0, np.array(["a", "b"] * (ROWS // 2), object)
    found = measures.by_part(numbers, {"test": np.ones(ROWS, bool), "one": one})
    assert found["metrics"]["candidate"]["onnx"]["test"]["r"]["value"] == pytest.approx(np.corrcoef(x, x + noise)[0, 1])
    assert found["metrics"]["candidate"]["onnx"]["one"]["r"]["value"] is None
    assert found["differences"]["onnx"]["test"]["r"]["low"] > 0
    assert found["mcnemar"] == {}
    assert set(measures.fairness(numbers, "onnx", {"source": half})["source"]["metrics"]) == {"r"}
    assert measures.calibrated({("candidate", "onnx"): np.full(ROWS, 0.5)}, numbers, ~one) == {}


def test_examples_are_the_surest_right_and_wrong_and_where_the_two_disagree() -> None:
    ids = [f"r{number}" for number in range(ROWS)]
    rows = LABELS.append_column("row_id", pa.array(ids))
    for name in ("dataset", "source", "text"):
        rows = rows.append_column(name, pa.array(["x" * 5000] * ROWS))
    answers = {
        "candidate": CONFIG.answers(CANDIDATE),
        "champion": CONFIG.answers(CHAMPION),
    }
    right = {"candidate": CANDIDATE.argmax(-1) == TRUTH, "champion": CHAMPION.argmax(-1) == TRUTH}
    found = examples.pick(rows, {role: good.astype(float) for role, good in right.items()}, answers, 5)
    for name, good in {"best": True, "worst": False}.items():
        assert all((row["candidate"]["answer"] == row["label"]) is good for row in found[name])
        surest = CANDIDATE.max(-1)[right["candidate"] == good].max()
        assert found[name][0]["candidate"]["score"] == pytest.approx(surest, abs=1e-4)
    assert len(found["best"]) == 5
    assert all(row["champion"]["answer"] != row["label"] == row["candidate"]["answer"] for row in found["gained"])
    assert all(row["champion"]["answer"] == row["label"] != row["candidate"]["answer"] for row in found["lost"])
    assert {len(row["text"]) for row in found["best"]} == {2000}
    same = examples.pick(rows, {role: np.ones(ROWS) for role in right}, answers, 5)
    assert same["gained"] == same["lost"] == []


def test_groups_by_length_source_and_language() -> None:
    class Recipe:
        task = CONFIG

        class evaluate:  # noqa: N801
            slices = ("source", "label", "length", "language")

    texts = ["x" * 50, "This is an English sentence about the weather.", "y" * 501]
    rows = pa.table({"text": texts, "label": ["no", "yes", "yes"], "source": ["a", "b", "a"]})
    found = _slices.masks(_slices.groups(Recipe, rows))  # type: ignore[arg-type]
    assert found["source=a"].tolist() == [True, False, True]
    assert found["label=yes"].tolist() == [False, True, True]
    assert found["length=1-50"].tolist() == [True, True, False]
    assert found["length=501+"].tolist() == [False, False, True]
    assert found["language=en"][1]


@given(st.text(max_size=60), st.integers(0, 3))
def test_perturbed_texts_are_the_same_each_time_and_never_empty(text: str, seed: int) -> None:
    for name in robustness.PERTURBATIONS:
        once = robustness.perturb(name, [text], seed)
        assert once == robustness.perturb(name, [text], seed)
        assert bool(once[0]) is bool(text)


def test_perturbations_do_what_they_say() -> None:
    text = "Surely, this isn't the worst film of the year!"
    assert robustness.typos(text, random.Random(1)) != text
    assert len(robustness.typos(text, random.Random(1)).split()) == len(text.split())
    assert robustness.case(text, random.Random(1)).lower() == text.lower()
    assert robustness.punctuation(text, random.Random(1)) == "Surely this isnt the worst film of the year"
    assert robustness.punctuation("?!", random.Random(1)) == "?!"


def test_the_linear_baseline_learns_and_the_majority_does_not() -> None:
    good, bad = ["a great film", "great story"] * 30, ["a dull film", "dull story"] * 20
    train = pa.table({"text": good + bad, "label": ["yes"] * 60 + ["no"] * 40})
    found = baselines.predict(train, train.slice(0, 0), ["great end", "dull end"], CONFIG, 1)
    assert found["majority"] == pytest.approx(np.array([[0.4, 0.6]] * 2))
    assert found["linear"].argmax(-1).tolist() == [1, 0]


@pytest.mark.parametrize(
    "rows", [{"text": ["a film"] * 3, "label": ["yes"] * 3}, {"text": ["", "?"], "label": ["yes", "no"]}]
)
def test_where_nothing_can_be_learnt_there_is_only_the_majority(rows: dict[str, Any]) -> None:
    assert set(baselines.predict(pa.table(rows), pa.table(rows), ["x"], CONFIG, 1)) == {"majority"}


def test_a_label_that_no_training_row_has_gets_no_probability() -> None:
    train = pa.table({"text": ["one film", "two plots"] * 9, "label": ["a", "c"] * 9})
    found = baselines.predict(train, train, ["one film"], Classification(labels=("a", "b", "c")), 1)["linear"]
    assert found[0, 1] == 0
    assert found.sum() == pytest.approx(1)


def test_the_linear_baseline_is_as_strong_as_the_validation_rows_allow() -> None:
    """With scikit-learn's own C = 1 rare labels are hardly ever predicted."""
    draw, labels = random.Random(5), ["a", "b", "c", "d", "e"]

    def rows(count: int) -> pa.Table:
        found = []
        for _ in range(count):
            label = draw.choices(labels, [60, 20, 10, 6, 4])[0]
            words = [f"common{draw.randrange(80)}" for _ in range(12)] + [f"{label}{draw.randrange(30)}"] * 2
            found.append({"text": " ".join(draw.sample(words, len(words))), "label": label})
        return pa.Table.from_pylist(found)

    train, validation, test = rows(400), rows(150), rows(400)
    config = Classification(labels=tuple(labels))

    def accuracy(validation: pa.Table) -> float:
        said = baselines.predict(train, validation, test["text"].to_pylist(), config, 1)["linear"]
        return accuracy_score(test["label"].to_pylist(), [labels[place] for place in said.argmax(-1)])

    assert accuracy(validation) > accuracy(validation.slice(0, 0)) + 0.05


def test_one_quantity_has_one_interval_in_every_table_and_gate() -> None:
    """The same rows and model gave other ends as a part, as a slice, beside other models, and to a gate."""
    everything = np.ones(ROWS, bool)
    alone = judged(candidate=CANDIDATE)
    with_baseline = measures.Judged(
        {**BOTH.tallies, ("baseline", "simple"): BOTH.tallies["champion", "onnx"]}, BOTH.metrics, 300, 3
    )
    part = measures.by_part(with_baseline, {"all": everything})
    slice_ = measures.by_slice(BOTH, "onnx", {"source=all": everything})["source=all"]
    by_itself = measures.by_part(alone, {"all": everything})["metrics"]["candidate"]["onnx"]["all"]
    gates = estimate(BOTH.metrics, BOTH.tallies["candidate", "onnx"], 300, 3)
    for metric, one in part["metrics"]["candidate"]["onnx"]["all"].items():
        assert one == slice_["candidate"][metric] == by_itself[metric] == gates[metric].model_dump()
    both = [BOTH.tallies[role, "onnx"] for role in ("champion", "candidate")]
    gain = difference(BOTH.metrics, "accuracy", *both, 300, 3, 0.975).model_dump()
    assert part["differences"]["onnx"]["all"]["accuracy"] == slice_["difference"]["accuracy"] == pytest.approx(gain)


def test_metrics_that_tell_labels_apart_are_undefined_where_there_is_one() -> None:
    labelled = measures.Judged(BOTH.tallies, BOTH.metrics, 300, 3, labels=TRUTH)
    found = measures.by_slice(labelled, "onnx", {"label=yes": TRUTH == 1, "mixed": np.arange(ROWS) < 50})
    for role in ("candidate", "champion", "difference"):
        one = found["label=yes"][role]
        assert one["accuracy"]["value"] is not None
        for metric in ("f1", "precision", "recall"):
            assert (one[metric]["value"], one[metric]["low"], one[metric]["high"]) == (None, None, None)
            assert one[metric]["undefined"] == "every row has the same label"
        assert found["mixed"][role]["f1"]["value"] is not None
