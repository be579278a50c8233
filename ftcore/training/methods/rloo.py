"""RLOO: raise what answers are worth; each is judged against the mean of the others to its prompt.

A. Ahmadian et al. (2024), *Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.training.methods import _preference, _reinforcement

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe
    from ftcore.training.effort import Effort
    from ftcore.training.loop import Job

EXAMPLE = {"kind": "rloo", "rewards": [{"kind": "length", "most": 40}]}
TASKS, ALONE = _reinforcement.TASKS, _reinforcement.ALONE
faults, lengths = _reinforcement.faults, _reinforcement.lengths
apply, save = _preference.apply, _preference.save


class Config(_reinforcement.Grouped):
    """Rewards by TRL. Of the rows only the prompts are read."""

    kind: Literal["rloo"] = "rloo"
    beta: Annotated[float, Field(ge=0)] = 0.05
    """Weight of the divergence from the reference, a penalty on the reward."""
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How far the probability of an answer may move in a step, as a share."""


def effort(config: Config, recipe: Recipe, rows: int) -> Effort:
    """A group of answers to each prompt, read before they are learnt from and by the reference."""
    del recipe, rows
    return _reinforcement.grouped(config, reference=config.beta > 0, read=1)


def fit(config: Config, job: Job) -> dict[str, float]:
    """Train by TRL's RLOOTrainer; goes on from its checkpoints, with answers drawn anew.

    Returns:
        The loop's figures without a validation loss; ``reward_before`` and ``_after``, the mean of validation prompts.
    """
    from trl import RLOOConfig, RLOOTrainer

    return _reinforcement.fit(config, job, RLOOTrainer, RLOOConfig, beta=config.beta, epsilon=config.clip)
