"""A tiny model and rows that it can learn, so that a whole training takes a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from ftcore.models.features import Features
from ftcore.recipe.training_sections import Train
from ftcore.training.job import Job
from tests import jobs

CONFIG = Train(
    epochs=2, learning_rate=3e-2, batch_size=8, precision="fp32", evaluations_per_epoch=2, patience=20, seed=5
)


@pytest.fixture
def job(tiny: Path, tmp_path: Path) -> Callable[..., Job]:
    """Make a job: 64 rows of 4 to 12 tokens in which the word for good or bad decides."""
    from transformers import DataCollatorWithPadding

    tokenizer = AutoTokenizer.from_pretrained(tiny / "model")
    good, bad, film = tokenizer.convert_tokens_to_ids(["good", "bad", "film"])

    def rows(count: int) -> Features:
        ids = [[2, *[film] * (1 + n % 9), good if n % 2 else bad, 3] for n in range(count)]
        return Features({"input_ids": ids, "labels": [n % 2 for n in range(count)]}, [f"row-{n}" for n in range(count)])

    def make(**changes: Any) -> Job:
        torch.manual_seed(11)
        torch.set_num_threads(1)
        model = AutoModelForSequenceClassification.from_pretrained(tiny / "model")
        config = CONFIG.model_copy(update=changes.pop("config", {}))
        parts = {"folder": tmp_path / "checkpoints", "identity": "this", **changes}
        data = parts.pop("rows", {"train": rows(64), "validation": rows(16)})
        return jobs.made(model, tokenizer, data, DataCollatorWithPadding(tokenizer), config, **parts)

    return make
