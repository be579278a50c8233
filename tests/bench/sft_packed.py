"""Speed of instruction tuning: SmolLM2, LoRA, editorials; ours packed beside the stock Trainer with padded batches."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from tests import jobs
from tests.bench._measure import Result, by_turns, machine
from tests.bench._sentences import load

ROWS, BATCH, LENGTH = 96, 16, 256
"""Rows of an epoch, rows of an optimiser step, and most tokens of a sequence."""


def run() -> Result:
    """Tokens of rows a second in one epoch over the same rows, with the same model, method, seed and rows a step."""
    (ours, our_loss), (baseline, their_loss), ratio, peak = by_turns(_ours, _baseline, lambda found: found[0])
    note = (
        f"stock Trainer, {BATCH} rows a batch in random order, padded to the longest of each; medians of three rounds "
        f"by turns; mean training loss {our_loss:.3f} ours, {their_loss:.3f} baseline"
    )
    return Result("sft_packed", "tokens/s, more is better", ours, baseline, ratio, ROWS, peak, machine(), note)


def _parts() -> tuple[Any, Any, Any, Any, Any]:
    from transformers import set_seed

    from ftcore.models import base, loading

    recipe, conf, context = load("assistant")
    set_seed(recipe.train.seed)
    folder = base.resolve(recipe.base, conf, context.recipe_path.parent)
    words = loading.tokenizer(folder)
    source = recipe.sources[0].model_copy(update={"max_rows": ROWS})
    (table,) = source.read(context)
    encoded = recipe.task.encode(words, table, LENGTH)
    model = loading.model(lambda: recipe.task.load(folder), folder, words)
    model = recipe.method.apply(model, words)
    return recipe, words, model, encoded, recipe.task.collator(words)


def _ours() -> tuple[float, float]:
    from ftcore.models.features import Features
    from ftcore.training import batches, loop

    recipe, words, model, encoded, collate = _parts()
    few = Features({name: values[:2] for name, values in encoded.columns.items()}, encoded.row_ids[:2], packable=True)
    sequences = BATCH * len(batches.Packed(encoded, LENGTH)) / ROWS  # that hold as many rows
    changes = {"epochs": 1, "batch_size": max(1, round(sequences)), "max_length_tokens": LENGTH}
    config = recipe.train.model_copy(update={**changes, "evaluations_per_epoch": 1})
    with tempfile.TemporaryDirectory() as folder:
        rows = {"train": encoded, "validation": few}
        figures = loop.fit(jobs.made(model, words, rows, collate, config, Path(folder)))
    return figures["tokens_per_s"], figures["train_loss"]


def _baseline() -> tuple[float, float]:
    from transformers import Trainer, TrainingArguments

    recipe, _, model, encoded, collate = _parts()
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
        data = [encoded[number] for number in range(len(encoded))]
        trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=collate)
        clock = time.perf_counter()
        result = trainer.train()
        seconds = time.perf_counter() - clock
    return encoded.tokens / seconds, result.training_loss
