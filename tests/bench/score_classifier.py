"""Scoring speed: our int8 export beside transformers' ``pipeline`` on the same model, sentences and batch size."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.bench._measure import Result, machine, side
from tests.bench._sentences import load, rows

ROWS, BATCH = 1500, 32


def run() -> Result:
    """Rows a second over the same sentences, tokenising included, loading not."""
    with tempfile.TemporaryDirectory() as folder:
        side(_make, folder)
        ours, peak = side(_ours, folder)
        baseline, _ = side(_baseline, folder)
    note = f"transformers pipeline, batches of {BATCH}"
    return Result(
        "score_classifier", "rows/s, more is better", ours, baseline, ours / baseline, ROWS, peak, machine(), note
    )


def _texts() -> list[str]:
    return [row["text"] for domain in ("movie", "tweets", "amazon") for row in rows(domain, ROWS // 3)]


def _make(folder: str) -> None:
    from transformers import AutoTokenizer

    from ftcore.export.exporters import onnx
    from ftcore.models import base

    recipe, conf, context = load()
    found = base.resolve(recipe.base, conf, context.recipe_path.parent)
    model, tokenizer = recipe.task.load(found).eval(), AutoTokenizer.from_pretrained(found)
    model.save_pretrained(Path(folder) / "model")
    tokenizer.save_pretrained(Path(folder) / "model")
    onnx.Onnx(precisions=("int8",)).export(model, tokenizer, Path(folder))


def _ours(folder: str) -> float:
    import os

    from ftcore.export.exporters import onnx
    from ftcore.serving.model import Model

    recipe, _, _ = load()
    run = onnx.Onnx.load(Path(folder) / "onnx-int8", recipe.train.max_length_tokens, os.cpu_count() or 1)
    model = Model(1, "onnx-int8", recipe.task.labels, lambda texts: recipe.task.outputs(run(texts)["logits"]))
    texts = _texts()
    model.outputs(texts[:BATCH])
    clock = time.perf_counter()
    model.outputs(texts)
    return len(texts) / (time.perf_counter() - clock)


def _baseline(folder: str) -> float:
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(Path(folder) / "model"), device=-1)
    texts = _texts()
    classify(texts[:BATCH], batch_size=BATCH)
    clock = time.perf_counter()
    classify(texts, batch_size=BATCH, truncation=True)
    return len(texts) / (time.perf_counter() - clock)
