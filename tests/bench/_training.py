"""MiniLM with LoRA on movie sentences: our loop, and the stock Trainer in two ways, on the same rows and seed."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests import jobs
from tests.bench._sentences import load, rows

ROWS, EPOCHS, TEST_ROWS, MAX_LENGTH, BATCH = 960, 2, 1000, 64, 32
VALIDATION_ROWS = 64
"""Of rows that are neither: our loop keeps the best of its checkpoints."""


class Trained(NamedTuple):
    """What one side did."""

    samples_per_s: float
    tokens_per_s: float
    """Real tokens, no padding."""
    accuracy: float
    """On ``TEST_ROWS`` other rows."""
    precision: str

    @property
    def interval(self) -> str:
        """The accuracy with its 95 % interval, that of the normal approximation."""
        return f"{self.accuracy:.3f} ± {1.96 * (self.accuracy * (1 - self.accuracy) / TEST_ROWS) ** 0.5:.3f}"


def ours(numbers: str = "auto", kernels: str = "auto") -> Trained:
    """Our loop, as the recipe would run it, products in these ``numbers`` and by these ``kernels``."""
    from ftcore.training import loop, precision

    recipe, tokenizer, model, (train, test, validation) = _parts()
    encoded = {
        "train": recipe.task.encode(tokenizer, train, MAX_LENGTH),
        "validation": recipe.task.encode(tokenizer, validation, MAX_LENGTH),
    }
    collate = recipe.task.collator(tokenizer)
    config = recipe.train.model_copy(
        update={"epochs": EPOCHS, "batch_size": BATCH, "evaluations_per_epoch": 1}
        | {"precision": numbers, "kernels": kernels}
    )
    with tempfile.TemporaryDirectory() as folder:
        figures = loop.fit(jobs.made(model, tokenizer, encoded, collate, config, Path(folder)))
    accuracy = _accuracy(model, tokenizer, test, recipe.task.labels)
    return Trained(figures["rows_per_s"], figures["tokens_per_s"], accuracy, precision.chosen(config.precision))


def stock(*, grouped: bool, numbers: str = "fp32") -> Trained:
    """The stock Trainer: grouped by length and padded to the longest of the batch, or all padded to the maximum.

    Args:
        grouped: which of both.
        numbers: ``fp32``, or ``bf16``, which is its own autocast.
    """
    import torch
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    recipe, tokenizer, model, (train, test, _) = _parts()
    padding = False if grouped else "max_length"
    encoded = tokenizer(train["text"].to_pylist(), padding=padding, truncation=True, max_length=MAX_LENGTH)
    truth = [recipe.task.labels.index(label) for label in train["label"].to_pylist()]
    data = [
        {"input_ids": ids, "attention_mask": mask, "labels": number}
        for ids, mask, number in zip(encoded["input_ids"], encoded["attention_mask"], truth, strict=True)
    ]
    config = recipe.train
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=EPOCHS,
            learning_rate=config.learning_rate,
            per_device_train_batch_size=BATCH,
            warmup_steps=config.warmup,
            weight_decay=config.weight_decay,
            seed=config.seed,
            train_sampling_strategy="group_by_length" if grouped else "random",
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            bf16=numbers == "bf16",
            use_cpu=not torch.cuda.is_available(),
        )
        trainer = Trainer(
            model=model, args=arguments, train_dataset=data, data_collator=DataCollatorWithPadding(tokenizer)
        )
        clock = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - clock
    tokens = sum(sum(row["attention_mask"]) for row in data)
    accuracy = _accuracy(model, tokenizer, test, recipe.task.labels)
    return Trained(EPOCHS * ROWS / seconds, EPOCHS * tokens / seconds, accuracy, numbers)


def _parts() -> tuple[Any, Any, Any, Any]:
    import pyarrow as pa
    from transformers import AutoTokenizer, set_seed

    from ftcore.models import base

    recipe, conf, context = load()
    set_seed(recipe.train.seed)
    folder = base.resolve(recipe.base, conf, context.recipe_path.parent)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = recipe.method.apply(recipe.task.load(folder), tokenizer)
    table = pa.Table.from_pylist(rows("movie", ROWS + TEST_ROWS + VALIDATION_ROWS))
    return recipe, tokenizer, model, (table.slice(0, ROWS), table.slice(ROWS, TEST_ROWS), table.slice(ROWS + TEST_ROWS))


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
