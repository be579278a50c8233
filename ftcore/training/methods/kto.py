"""KTO: learn from answers that are good or bad by themselves; a pair is one of each.

K. Ethayarajh et al. (2024), *KTO: Model Alignment as Prospect Theoretic Optimization*.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.training.methods import _preference

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe
    from ftcore.training.effort import Effort
    from ftcore.training.exchanges import PreferenceExample
    from ftcore.training.job import Job
    from ftcore.training.strategies._base import Strategy

LEAST = 2
"""Fewest pairs that tell a divergence: TRL reads each answer beside the prompt of another."""


class Kto(_preference.ReferenceSettings):
    """Desirable and undesirable answers by TRL, made from pairs."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "kto", "undesirable_weight": 1.2}
    LOSS: ClassVar[tuple[str, ...]] = ("beta", "desirable_weight", "undesirable_weight")

    kind: Literal["kto"] = "kto"
    desirable_weight: Annotated[float, Field(gt=0)] = 1
    """Weight of the chosen answers in the loss."""
    undesirable_weight: Annotated[float, Field(gt=0)] = 1
    """Weight of the rejected answers in the loss."""

    def faults(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """Sources without worse answers, and a batch that is not of two or more whole pairs."""
        yield from super().faults(recipe)
        if recipe.train.batch_size < 2 * LEAST or recipe.train.batch_size % 2:
            yield (
                "train.batch_size",
                "kto reads chosen and rejected answers of several pairs at once: use 4, 6, 8 or more",
            )

    def effort(self, recipe: Recipe, rows: int) -> Effort:
        """Two answers a pair and two with another's prompt, each read by model and reference; two are learnt."""
        batch, copies = recipe.train.batch_size // 2, int(self.adapter is None)
        return replace(_preference.PAIRS, batch=batch, least=LEAST, read=3, judged=4, loss="tiled", copies=copies)

    def fit(self, job: Job, strategy: Strategy) -> dict[str, float]:
        """Train by TRL's KTOTrainer, each pair as two rows; goes on from its checkpoints."""
        from trl import KTOConfig, KTOTrainer

        settings = _preference.choices(
            job,
            2 * len(job.data.exchanges["train"]),
            beta=self.beta,
            desirable_weight=self.desirable_weight,
            undesirable_weight=self.undesirable_weight,
            max_length=job.run.config.max_length_tokens,
            **_preference.in_parts(job, job.run.config.batch_size // 2, LEAST, rows=2),
        )
        read = partial(unpaired, job=job, half=settings["per_device_train_batch_size"] // 2)
        reference = self.reference(job.trained.model)
        return _preference.fit(job, KTOTrainer, KTOConfig(**settings), read, ref_model=reference)


def unpaired(rows: Sequence[PreferenceExample], job: Job, half: int) -> Any:
    """Each pair as two rows, in an order drawn once: the good answers of ``half`` a batch, then the worse ones.

    TRL reads them in this order, and sets each answer beside the prompt of the row behind it for its estimate of the
    divergence: in this order that is never the answer's own prompt.
    """
    from datasets import Dataset

    order = random.Random(job.run.config.seed).sample(list(rows), len(rows))  # noqa: S311 - an order, no secret
    made = []
    for start in range(0, len(order), half):
        for good in (True, False):
            for one in order[start : start + half]:
                answer = _preference.as_answers(one.prompt, str(one.good if good else one.worse))
                made.append({"prompt": one.prompt, "completion": answer, "label": good})
    return Dataset.from_list(made)
