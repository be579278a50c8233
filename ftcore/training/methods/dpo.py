"""DPO: make good answers likelier than worse ones, without a reward model.

R. Rafailov et al. (2023), *Direct Preference Optimization: Your Language Model is Secretly a Reward Model*.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.training.methods import _preference

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe
    from ftcore.training.effort import Effort
    from ftcore.training.job import Job
    from ftcore.training.strategies._base import Strategy


class Dpo(_preference.ReferenceSettings):
    """Preference pairs by TRL: ``label`` is the good answer, ``rejected`` the worse one."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "dpo", "beta": 0.1}
    LOSS: ClassVar[tuple[str, ...]] = ("beta", "loss", "label_smoothing")

    kind: Literal["dpo"] = "dpo"
    loss: Literal["sigmoid", "ipo", "hinge"] = "sigmoid"
    """``sigmoid`` is DPO; ``ipo`` (Azar et al. 2023) overfits less on pairs of which one side always wins; ``hinge`` is
    SLiC's (Zhao et al. 2023)."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0
    """Share of the pairs that people are believed to have mixed up (Mitchell 2023); with ``sigmoid`` alone."""

    def faults(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """Sources without worse answers, and what does not fit together."""
        yield from super().faults(recipe)
        if self.label_smoothing and self.loss != "sigmoid":
            yield "method.label_smoothing", f"the loss {self.loss} has none"

    def effort(self, recipe: Recipe, rows: int) -> Effort:
        """Two answers a pair, read by the reference as well."""
        return replace(_preference.PAIRS, read=1, judged=2, loss="tiled", copies=int(self.adapter is None))

    def fit(self, job: Job, strategy: Strategy) -> dict[str, float]:
        """Train by TRL's DPOTrainer; goes on from its checkpoints."""
        from trl import DPOConfig, DPOTrainer

        settings = _preference.choices(
            job,
            len(job.data.exchanges["train"]),
            beta=self.beta,
            loss_type=[self.loss],
            label_smoothing=self.label_smoothing,
            max_length=job.run.config.max_length_tokens,
        )
        reference = self.reference(job.trained.model)
        return _preference.fit(job, DPOTrainer, DPOConfig(**settings), ref_model=reference)
