"""RLOO: raise what answers are worth; each is judged against the mean of the others to its prompt.

A. Ahmadian et al. (2024), *Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback*.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.methods import _preference, _reinforcement

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from ftcore.recipe import Recipe
    from ftcore.training.loop import Job

EXAMPLE = {"kind": "rloo", "rewards": [{"kind": "length", "most": 40}]}
TASKS = _reinforcement.TASKS


class Config(_reinforcement.Grouped):
    """Rewards by TRL. Of the rows only the prompts are read."""

    kind: Literal["rloo"] = "rloo"
    beta: Annotated[float, Field(ge=0)] = 0.05
    """Weight of the divergence from the reference, a penalty on the reward."""
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How far the probability of an answer may move in a step, as a share."""


def faults(config: Config, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """An adapter that changes the reference, and no room for a prompt."""
    return _reinforcement.faults(config, recipe)


def reads(config: Config, recipe: Recipe, rows: int) -> float:
    """How many rows are read in all: every answer is drawn, read by the reference and learnt from."""
    return 2 * config.generations * rows * recipe.train.epochs


def apply(config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    """The model with adapters, or all of its weights, to train."""
    del tokenizer
    return _preference.apply(config, model)


def fit(config: Config, job: Job) -> dict[str, float]:
    """Train by TRL's RLOOTrainer; goes on from its checkpoints, with answers drawn anew.

    Returns:
        The loop's figures without a validation loss; ``reward_before`` and ``_after``, the mean of validation prompts.
    """
    from trl import RLOOConfig, RLOOTrainer

    return _reinforcement.fit(config, job, RLOOTrainer, RLOOConfig, beta=config.beta, epsilon=config.clip)


def save(config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the adapter, where there is one, and the whole model, both as safetensors."""
    _preference.save(config, model, tokenizer, folder)
