"""A tiny job for methods that train in their own way or in the common loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import jobs

if TYPE_CHECKING:
    from ftcore.training.job import Job


@pytest.fixture
def training_job(tiny: Path, tmp_path: Path) -> Callable[..., Job]:
    """Make a job: 64 rows to train on and 16 to validate, in which the word for good or bad decides."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

    from ftcore.models.features import Features
    from ftcore.recipe.training_sections import Train

    tokenizer = AutoTokenizer.from_pretrained(tiny / "model")
    good, bad, film = tokenizer.convert_tokens_to_ids(["good", "bad", "film"])
    config = Train(
        epochs=3, learning_rate=2e-2, batch_size=8, precision="fp32", evaluations_per_epoch=1, patience=20, seed=5
    )

    def rows(count: int) -> Features:
        ids = [[2, *[film] * (1 + n % 9), good if n % 2 else bad, 3] for n in range(count)]
        return Features({"input_ids": ids, "labels": [n % 2 for n in range(count)]}, [f"row-{n}" for n in range(count)])

    def make(**changes: Any) -> Job:
        torch.manual_seed(11)
        torch.set_num_threads(1)
        model = AutoModelForSequenceClassification.from_pretrained(tiny / "model")
        data = {"train": rows(64), "validation": rows(16)}
        collate = DataCollatorWithPadding(tokenizer)
        return jobs.made(
            model,
            tokenizer,
            data,
            collate,
            config.model_copy(update=changes),
            tmp_path / "checkpoints",
            identity="this",
        )

    return make
