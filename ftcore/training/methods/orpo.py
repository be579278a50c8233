"""ORPO: learn good answers and shun worse ones in one go, without a reference model.

J. Hong, N. Lee and J. Thorne (2024), *ORPO: Monolithic Preference Optimization without Reference Model*.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.training.methods import _preference

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe
    from ftcore.training.effort import Effort
    from ftcore.training.job import Job
    from ftcore.training.strategies._base import Strategy


class Orpo(_preference.Paired):
    """Preference pairs by TRL, where ORPO counts as experimental."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "orpo", "beta": 0.1}
    LOSS: ClassVar[tuple[str, ...]] = ("beta",)

    kind: Literal["orpo"] = "orpo"
    beta: Annotated[float, Field(gt=0)] = 0.1
    """Weight of the odds ratio relative to the likelihood of the chosen answer; the paper's λ."""

    def effort(self, recipe: Recipe, rows: int) -> Effort:
        """Two answers a pair."""
        return _preference.PAIRS

    def fit(self, job: Job, strategy: Strategy) -> dict[str, float]:
        """Train by TRL's ORPOTrainer; goes on from its checkpoints."""
        os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # the lock file pins what it could warn of
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

        settings = _preference.choices(
            job, len(job.data.exchanges["train"]), beta=self.beta, max_length=job.run.config.max_length_tokens
        )
        return _preference.fit(job, ORPOTrainer, ORPOConfig(**settings))
