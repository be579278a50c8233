"""evaluate: candidate and champion on the same rows, as trained and as exported, and no prediction twice."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from ftcore.compliance import forget
from ftcore.data import snapshot
from ftcore.errors import ExportError, FtcoreError, NotEnoughDataError
from ftcore.evaluation import predictions
from ftcore.recipe.kinds import kinds
from ftcore.registry import served, versions
from ftcore.registry import verdict as verdicts
from ftcore.serving import model as models
from ftcore.steps import evaluate, gate
from ftcore.store import store
from ftcore.store.records import Record, now
from ftcore.tracking.client import CHAMPION

if TYPE_CHECKING:
    from conftest import Product

FLAVOURS = ("onnx-int8", "onnx-fp32", "torch")
ALIKE = {"near_duplicates": None}
"""The made-up texts differ by a number only."""


def train(product: Product, tiny: Path, run_id: str, rows: int) -> int:
    """Leave behind what train and export leave: a version with its artefacts, and the records."""
    identity = product.publish(range(rows))
    folders = [tiny / name for name in ("model", "onnx-int8", "onnx-fp32")]
    number = product.register(run_id, identity, folders).number
    leave(product, run_id, number)
    return number


def leave(product: Product, run_id: str, number: int) -> None:
    """Leave the records of train and export."""
    sizes = dict.fromkeys(FLAVOURS, 1000)
    for step, figures in {"train": {"version": number}, "export": {"size_bytes": sizes}}.items():
        product.shelf.write_record(
            Record(step=step, recipe=product.name, run_id=run_id, fingerprint="", started_at=now(), figures=figures)
        )


def evaluated(product: Product, run_id: str = "r1") -> dict[str, Any]:
    outcome = evaluate.run(product.context("evaluate", run_id))
    found = store.read_json(product.shelf.root / outcome.paths["evaluation"])
    assert outcome.figures == {name: found[name] for name in evaluate.IN_RECORD}
    return found


@pytest.fixture
def second(product: Product, tiny: Path) -> Product:
    """A product with a champion that was evaluated, and a candidate trained on more rows."""
    product.change(evaluate={"resamples": 100, "perturbed_rows": 0}, prepare=ALIKE)
    train(product, tiny, "r1", 300)
    evaluated(product)
    product.tracking.set_alias(CHAMPION, product.tracking.version(1))
    product.promise(product.tracking.version(1))
    train(product, tiny, "r2", 400)
    return product


def test_a_first_candidate_is_measured_alone(product: Product, tiny: Path) -> None:
    train(product, tiny, "r1", 300)
    found = evaluated(product)
    assert (found["candidate"], found["champion"]) == (1, None)
    assert set(found["metrics"]) == {"candidate", "baseline"}
    assert set(found["metrics"]["candidate"]) == set(FLAVOURS)
    accuracy = found["metrics"]["candidate"]["onnx-int8"]["test"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["rows"] == found["rows"]["test"]


def test_no_prediction_is_made_twice(second: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, str, int]] = []
    real = models.Model.outputs

    def counting(self: models.Model, texts: list[str], *more: Any) -> Any:
        made.append((self.version, self.flavour, len(texts)))
        return real(self, texts, *more)

    monkeypatch.setattr(models.Model, "outputs", counting)
    found = evaluated(second, "r2")
    rows = found["rows"]["test"]
    before = store.read_json(second.shelf.folder("r1", "evaluate") / "evaluation.json")["rows"]["test"]
    assert rows > before > 0
    assert made == [(2, f, rows) for f in FLAVOURS] + [(1, f, rows - before) for f in FLAVOURS]


def test_what_was_known_and_what_is_new_stand_in_their_rows(second: Product) -> None:
    figures = evaluate.run(second.context("evaluate", "r2"))
    table = store.read_table(second.shelf.root / figures.paths["predictions"])
    for flavour in FLAVOURS:  # both versions are the same tiny model
        ours, theirs = (table[f"{role}.{flavour}"].to_pylist() for role in ("candidate", "champion"))
        assert [pytest.approx(row, abs=0.1) for row in ours] == theirs


def test_everything_that_the_page_and_the_gates_read_is_there(second: Product) -> None:
    second.change(evaluate={"resamples": 100, "perturbed_rows": 40, "slices": ["label"]})
    found = evaluated(second, "r2")
    assert list(found) == [
        *("candidate", "champion", "snapshot", "served", "labels", "better", "rows", "excluded"),
        *("trained_on", "prediction_settings", "unreadable", "metrics", "differences"),
        *(
            "mcnemar",
            "slices",
            "fairness",
            "calibration",
            "never_predicted",
            "examples",
            "robustness",
            "agreement",
            "latency",
            "size_bytes",
        ),
        "cost_per_1000",
    ]
    assert set(found["metrics"]["baseline"]) == {"majority", "linear"}
    assert set(found["slices"]) == {"label=negative", "label=positive"}
    assert set(found["slices"]["label=positive"]) == {"rows", "candidate", "champion", "difference"}
    assert set(found["robustness"]) == {"typos", "case", "punctuation"}
    assert set(found["robustness"]["typos"]["accuracy"]) == {"value", "low", "high", "rows", "groups", "level"}
    assert set(found["latency"]) == set(found["size_bytes"]) == set(FLAVOURS)
    assert found["cost_per_1000"] == {}, "nobody said what this machine costs"
    assert set(found["examples"]) == {"best", "worst", "gained", "lost"}
    assert found["differences"]["onnx-int8"]["test"]["accuracy"]["value"] == 0, "it is the same model"


def test_a_thousand_predictions_cost_what_the_setting_says(second: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTCORE_COST_PER_HOUR", "3.6")
    found = evaluated(second, "r2")
    for flavour, speed in found["latency"].items():
        assert found["cost_per_1000"][flavour] == pytest.approx(1 / speed["rows_per_s"])


def test_a_champion_with_other_labels_is_refused(second: Product, tmp_path: Path) -> None:
    folder = served.folder(second.tracking, second.tracking.version(1), "evaluation")
    shutil.copytree(folder, tmp_path / "evaluation")
    figures = store.read_json(tmp_path / "evaluation" / "evaluation.json") | {"labels": ["bad", "good"]}
    store.write_json(tmp_path / "evaluation" / "evaluation.json", figures)
    other = second.crown("r0", folders=[tmp_path / "evaluation"])
    with pytest.raises(ExportError, match="knows the labels bad, good, the recipe negative, positive"):
        evaluated(second, "r2")
    assert second.tracking.alias(CHAMPION).number == other.number
    assert not (second.shelf.folder("r2", "evaluate") / "evaluation.json").exists()


def test_a_snapshot_without_test_rows_is_refused(product: Product, tiny: Path) -> None:
    train(product, tiny, "r1", 1)
    with pytest.raises(NotEnoughDataError, match="has no test row to judge by"):
        evaluated(product)


def test_a_version_made_for_other_labels_does_not_answer(second: Product) -> None:
    second.change(task={"kind": "classification", "labels": ["positive", "negative"]})
    with pytest.raises(ExportError, match=r"version 2 of .* knows the labels negative, positive, the recipe positive"):
        evaluated(second, "r2")


@pytest.mark.parametrize("lost", ["evaluation", "onnx-int8", "model"])
def test_a_champion_whose_files_were_deleted_is_named_and_nothing_changes(second: Product, lost: str) -> None:
    run = second.tracking.client.get_run(second.tracking.version(1).run)
    for place in (Path(urlsplit(run.info.artifact_uri).path), second.settings.cache / "models"):
        shutil.rmtree(place / lost if place.name == "artifacts" else place, ignore_errors=True)
    before = versions.book(second.tracking)
    with pytest.raises(FtcoreError, match=f"version 1 of {second.name} has no artefact '{lost}'") as told:
        evaluated(second, "r2")
    assert "ftcore doctor" in told.value.hint
    assert versions.book(second.tracking) == before
    assert not (second.shelf.folder("r2", "evaluate") / "evaluation.json").exists()


def test_a_champion_that_was_never_exported_is_compared_as_it_was_trained(product: Product, tiny: Path) -> None:
    """A recipe with a champion that got another export could not be evaluated any more, after it was trained."""
    product.change(evaluate={"resamples": 100, "perturbed_rows": 0}, prepare=ALIKE, exports=[])
    first = product.register("r1", product.publish(range(300)), [tiny / "model"])
    leave(product, "r1", first.number)
    assert "stand_ins" not in evaluated(product)
    product.tracking.set_alias(CHAMPION, first)
    product.promise(first)
    product.change(exports=[{"kind": "onnx"}], gates=[{"kind": "beats_champion", "non_inferior": 0.1, "min_rows": 30}])
    train(product, tiny, "r2", 400)
    product.run("evaluate", "r2")
    found = store.read_json(product.shelf.folder("r2", "evaluate") / "evaluation.json")
    assert found["stand_ins"] == {"onnx-int8": "torch", "onnx-fp32": "torch"}
    table = store.read_table(product.shelf.folder("r2", "evaluate") / "predictions.parquet")
    assert table["champion.onnx-int8"].equals(table["champion.torch"])
    outcome = gate.run(product.context("gate", "r2"))
    assert outcome.figures["champion"] == 1
    assert outcome.figures["rules"][0]["rows"] == found["rows"]["test"]
    note = "The champion was never exported as onnx-int8: its outputs as torch are compared."
    assert note in verdicts.notes(outcome.figures)


def test_a_model_that_takes_half_a_minute_for_a_row_has_a_speed(
    product: Product, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounded to one decimal it was 0 rows a second, and the cost of a thousand predictions a division by 0."""
    monkeypatch.setenv("FTCORE_COST_PER_HOUR", "3.6")
    train(product, tiny, "r1", 300)
    clock = itertools.count(step=10_000.0)
    monkeypatch.setattr(predictions.time, "perf_counter", lambda: next(clock))
    found = evaluated(product)
    assert all(0 < speed["rows_per_s"] < 0.05 for speed in found["latency"].values())
    assert all(cost > 20 for cost in found["cost_per_1000"].values())


def test_a_model_that_has_lost_its_weights_is_told(second: Product, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(served.folder(second.tracking, second.tracking.version(2), "model"), model)
    (model / "model.safetensors").unlink()
    run = second.tracking.version(2).run
    (
        Path(urlsplit(second.tracking.client.get_run(run).info.artifact_uri).path) / "model" / "model.safetensors"
    ).unlink()
    second.tracking.log_folder(run, model, "model")
    with pytest.raises(ExportError, match=r"cannot be loaded: .*model.safetensors"):
        evaluated(second, "r2")


def test_a_candidate_that_answers_nan_is_refused(second: Product, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    model = tmp_path / "model"
    shutil.copytree(served.folder(second.tracking, second.tracking.version(2), "model"), model)
    weights = load_file(model / "model.safetensors")
    weights["classifier.bias"][1] = float("nan")
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    second.tracking.log_folder(second.tracking.version(2).run, model, "model")
    before = versions.book(second.tracking)
    with pytest.raises(ExportError, match=r"version 2 as torch answers (\d+) of \1 rows with NaN"):
        evaluated(second, "r2")
    assert versions.book(second.tracking) == before
    assert second.shelf.record("r2", "evaluate") is None


def test_a_holdout_that_a_gate_judges_on_and_that_is_empty_is_refused(second: Product, tmp_path: Path) -> None:
    (second.path.parent / "mail.csv").write_text("text,label\n")
    holdouts = {"mail": {"kind": "files", "path": "mail.csv"}}
    second.change(evaluate={"resamples": 100, "perturbed_rows": 0, "holdouts": holdouts})
    second.change(gates=[{"kind": "threshold", "minimum": 0.1, "datasets": ["test", "mail"]}])
    with pytest.raises(NotEnoughDataError, match="the gate threshold judges on mail, which has no row") as told:
        evaluated(second, "r2")
    assert "evaluate.holdouts.mail" in told.value.hint


def test_rows_of_whoever_was_forgotten_meanwhile_are_left_out(second: Product) -> None:
    rows = snapshot.read(second.shelf, second.tracking.version(2).snapshot, ["test"])
    hers = rows["row_id"][0].as_py()
    forget.forget(second.recipe, second.shelf, second.settings, forget.ErasureRequest(hers))
    found = evaluated(second, "r2")
    assert found["rows"]["test"] == rows.num_rows - 1
    table = store.read_table(second.shelf.folder("r2", "evaluate") / "predictions.parquet")
    assert hers not in table["row_id"].to_pylist()


def test_a_champion_whose_evaluation_is_gone_is_named(second: Product) -> None:
    second.crown("r0")
    with pytest.raises(FtcoreError, match=r"version 3 of .* has no artefact 'evaluation'"):
        evaluated(second, "r2")


def test_every_gate_reads_a_real_evaluation(second: Product) -> None:
    """The champion is the same model, so nothing is lost and nothing gained; and nobody trained it."""
    gates = {
        "threshold": {"minimum": 0.0, "min_rows": 30},
        "beats_champion": {"non_inferior": 0.1, "min_rows": 30},
        "beats_baseline": {"min_rows": 30},
        "slice": {"max_loss": 0.0},
        "forgetting": {},
        "fairness": {"by": "length", "max_difference": 1, "min_rows": 30},
        "calibration": {"max_ece": 1, "min_rows": 30},
        "parity": {"max_difference": 1, "max_disagreement": 1, "min_rows": 30},
        "latency": {"max_p95_ms": 60_000},
        "size": {"max_bytes": 1000},
        "cost": {"max_per_1000": 1},
    }
    assert set(gates) == set(kinds("gates")), "a new gate belongs here"
    second.change(gates=[{"kind": kind} | config for kind, config in gates.items()])
    second.run("evaluate", "r2")
    outcome = gate.run(second.context("gate", "r2"))
    passed = {rule["gate"]: rule["passed"] for rule in outcome.figures["rules"]}
    undecided = {"forgetting", "cost", "fairness"}  # no holdout, no rate, texts of one length only
    assert {kind for kind, said in passed.items() if said is None} == undecided
    assert [kind for kind, said in passed.items() if said is False] == ["beats_baseline"]
    assert not outcome.proceed


def test_sealed_rows_are_in_no_figure_and_only_predicted(second: Product) -> None:
    gates = [{"kind": "beats_champion"}]
    second.change(evaluate={"resamples": 100, "perturbed_rows": 40, "examples": 1000}, prepare=ALIKE, gates=gates)
    every = evaluated(second, "r2")["rows"]["test"]
    second.change(evaluate={"resamples": 100, "perturbed_rows": 40, "examples": 1000, "sealed": 0.5}, gates=gates)
    found = evaluated(second, "r2")
    rows = store.read_table(second.shelf.folder("r2", "evaluate") / "predictions.parquet")
    sealed = {row["row_id"] for row in rows.to_pylist() if row["dataset"] == "sealed"}
    assert found["rows"] == {"test": every - len(sealed), "sealed": len(sealed)}
    assert 0 < len(sealed) < every
    assert not any(rows[f"{role}.torch"].null_count for role in ("candidate", "champion"))
    for roles in found["metrics"].values():
        for parts in roles.values():
            assert list(parts) == ["test"]
            assert {one["rows"] for one in parts["test"].values()} == {every - len(sealed)}
    assert sum(one["rows"] for name, one in found["slices"].items() if name.startswith("label=")) == every - len(sealed)
    assert {one["rows"] for one in found["agreement"].values()} == {every - len(sealed)}
    assert not sealed & {one["row_id"] for several in found["examples"].values() for one in several}
    assert all(row_id not in str({**found, "unreadable": {}}) for row_id in sealed)


def test_where_all_test_rows_are_sealed_nothing_is_measured(second: Product) -> None:
    second.change(evaluate={"resamples": 100, "sealed": 0.9999}, gates=[{"kind": "beats_champion"}])
    with pytest.raises(NotEnoughDataError, match="are sealed, so that none is left to measure on"):
        evaluated(second, "r2")
