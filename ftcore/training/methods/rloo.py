"""RLOO: raise what answers are worth; each is judged against the mean of the others to its prompt.

A. Ahmadian et al. (2024), *Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.training.methods import _reinforcement

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe
    from ftcore.training.effort import Effort
    from ftcore.training.job import Job
    from ftcore.training.strategies._base import Strategy


class Rloo(_reinforcement.Grouped):
    """Rewards by TRL. Of the rows only the prompts are read."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "rloo", "rewards": [{"kind": "length", "most": 40}]}

    kind: Literal["rloo"] = "rloo"
    beta: Annotated[float, Field(ge=0)] = 0.05
    """Weight of the divergence from the reference, a penalty on the reward."""
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How far the probability of an answer may move in a step, as a share."""

    def effort(self, recipe: Recipe, rows: int) -> Effort:
        """A group of answers to each prompt, read before they are learnt from and by the reference."""
        return self.grouped(reference=self.beta > 0, read=1)

    def fit(self, job: Job, strategy: Strategy) -> dict[str, float]:
        """Train by TRL's RLOOTrainer; goes on from its checkpoints, with answers drawn anew."""
        from trl import RLOOConfig, RLOOTrainer

        return _reinforcement.fit(self, job, RLOOTrainer, RLOOConfig, beta=self.beta, epsilon=self.clip)
