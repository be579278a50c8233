"""Training speed: MiniLM with LoRA on movie sentences, ours beside the stock Trainer padded to the maximum length."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench._measure import Result, machine, side
from tests.bench._sentences import load, rows

ROWS, TEST_ROWS, MAX_LENGTH, BATCH = 960, 500, 64, 32


def run() -> Result:
    """Samples a second of one epoch over the same rows with the same seed, model, method and batch size."""
    (ours, ours_accuracy), peak = side(_ours)
    (baseline, baseline_accuracy), _ = side(_baseline)
    note = (
        f"stock Trainer padded to {MAX_LENGTH} tokens; accuracy on {TEST_ROWS} other rows "
        f"{ours_accuracy:.3f} ours, {baseline_accuracy:.3f} baseline"
    )
    return Result(
        "train_classifier", "samples/s, more is better", ours, baseline, ours / baseline, ROWS, peak, machine(), note
    )


def _parts() -> tuple[Any, Any, Any, Any]:
    import pyarrow as pa
    from transformers import AutoTokenizer, set_seed

    from ftcore import base
    from ftcore.methods import lora
    from ftcore.tasks import classification

    recipe, conf, context = load()
    set_seed(recipe.train.seed)
    folder = base.resolve(recipe.base, conf, context.recipe_path.parent)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = lora.apply(recipe.method, classification.load(recipe.task, folder))
    table = pa.Table.from_pylist(rows("movie", ROWS + TEST_ROWS))
    return recipe, tokenizer, model, (table.slice(0, ROWS), table.slice(ROWS))


def _ours() -> tuple[float, float]:
    from ftcore.tasks import classification
    from ftcore.training import loop

    recipe, tokenizer, model, (train, test) = _parts()
    labels = recipe.task.labels
    encoded = {
        "train": classification.encode(recipe.task, tokenizer, train, MAX_LENGTH),
        "validation": classification.encode(recipe.task, tokenizer, test.slice(0, 2), MAX_LENGTH),
    }
    collate = classification.collator(recipe.task, tokenizer)
    config = recipe.train.model_copy(update={"epochs": 1, "batch_size": BATCH, "evaluations_per_epoch": 1})
    with tempfile.TemporaryDirectory() as folder:
        figures = loop.fit(loop.Job(model, tokenizer, encoded, collate, config, Path(folder)))
    return figures["rows_per_s"], _accuracy(model, tokenizer, test, labels)


def _baseline() -> tuple[float, float]:
    from transformers import Trainer, TrainingArguments

    recipe, tokenizer, model, (train, test) = _parts()
    labels = recipe.task.labels
    encoded = tokenizer(train["text"].to_pylist(), padding="max_length", truncation=True, max_length=MAX_LENGTH)
    numbers = [labels.index(label) for label in train["label"].to_pylist()]
    data = [
        {"input_ids": i, "attention_mask": m, "labels": n}
        for i, m, n in zip(encoded["input_ids"], encoded["attention_mask"], numbers, strict=True)
    ]
    config = recipe.train
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            learning_rate=config.learning_rate,
            per_device_train_batch_size=BATCH,
            warmup_steps=config.warmup,
            weight_decay=config.weight_decay,
            seed=config.seed,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=data)
        clock = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - clock
    return ROWS / seconds, _accuracy(model, tokenizer, test, labels)


def _accuracy(model: Any, tokenizer: Any, test: Any, labels: tuple[str, ...]) -> float:
    import torch

    right = 0
    model.eval()
    for start in range(0, test.num_rows, BATCH):
        part = test.slice(start, BATCH)
        batch = tokenizer(
            part["text"].to_pylist(), padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt"
        )
        with torch.inference_mode():
            said = model(**batch).logits.argmax(-1).tolist()
        right += sum(labels[s] == t for s, t in zip(said, part["label"].to_pylist(), strict=True))
    return right / test.num_rows
