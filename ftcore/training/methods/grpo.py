"""GRPO: raise what answers are worth; each is judged against the mean and the spread of its prompt's group.

Z. Shao et al. (2024), *DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models*.
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


class Grpo(_reinforcement.Grouped):
    """Rewards by TRL. Of the rows only the prompts are read."""

    EXAMPLE: ClassVar[dict[str, Any]] = {
        "kind": "grpo",
        "rewards": [{"kind": "regex", "pattern": r"^\d+$", "weight": 2}],
    }

    kind: Literal["grpo"] = "grpo"
    generations: Annotated[int, Field(ge=2)] = 8
    """Answers that are drawn for each prompt."""
    beta: Annotated[float, Field(ge=0)] = 0.04
    """Weight of the divergence from the reference in the loss, as in the paper; 0 needs no reference."""
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Clip range of a token's probability ratio in a step."""
    loss: Literal["grpo", "dr_grpo", "dapo"] = "dapo"
    """What a batch's tokens are a mean over: ``grpo`` each answer by itself; ``dr_grpo`` a constant, which favours no
    length (Liu et al. 2025); ``dapo`` all tokens of the batch (Yu et al. 2025)."""

    def effort(self, recipe: Recipe, rows: int) -> Effort:
        """A group of answers to each prompt, read by the reference."""
        return self.grouped(reference=self.beta > 0, read=0)

    def fit(self, job: Job, strategy: Strategy) -> dict[str, float]:
        """Train by TRL's GRPOTrainer; goes on from its checkpoints, with answers drawn anew."""
        from trl import GRPOConfig, GRPOTrainer

        settings = {"beta": self.beta, "epsilon": self.clip, "loss_type": self.loss}
        return _reinforcement.fit(self, job, GRPOTrainer, GRPOConfig, **settings)
