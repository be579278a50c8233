"""PPO: raise what answers are worth in small, clipped steps, with a learnt estimate of what is still to come.

J. Schulman et al. (2017), *Proximal Policy Optimization Algorithms*; D. Ziegler et al. (2019), *Fine-Tuning Language
Models from Human Preferences*. TRL ships it no longer: the trainer is ours, ``_ppo.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.training.methods import _preference, _reinforcement

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe
    from ftcore.training.effort import Effort
    from ftcore.training.loop import Job

EXAMPLE = {"kind": "ppo", "rewards": [{"kind": "length", "most": 40}]}
TASKS, ALONE = _reinforcement.TASKS, _reinforcement.ALONE
faults, lengths = _reinforcement.faults, _reinforcement.lengths
apply, save = _preference.apply, _preference.save


class Config(_reinforcement.Settings):
    """Clipped policy gradients with a value head on the last hidden state. Of the rows only the prompts are read."""

    kind: Literal["ppo"] = "ppo"
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How far the probability of a token may move in a step, as a share."""
    value_clip: Annotated[float, Field(gt=0)] = 0.2
    """How far the estimate of what is to come may move in a step."""
    value_weight: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the value head's squared error in the loss."""
    kl: Annotated[float, Field(ge=0)] = 0.05
    """Penalty on the reward for each nat by which a token is likelier than to the reference."""
    discount: Annotated[float, Field(gt=0, le=1)] = 1
    """What a reward one token later is worth: γ."""
    gae: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Trust in rewards that came against values that were estimated: λ of generalised advantage estimation."""
    passes: Annotated[int, Field(ge=1)] = 2
    """How often the answers of a batch are learnt from."""
    minibatch: Annotated[int, Field(ge=1)] = 8
    """Answers of an optimiser step; a batch is ``train.batch_size`` prompts with an answer each."""


def effort(config: Config, recipe: Recipe, rows: int) -> Effort:
    """An answer to each prompt of a batch, read twice and learnt from in each pass; in float32, nothing done twice."""
    batch = recipe.train.batch_size
    return _reinforcement.effort(
        config,
        rows=max(1, round(-(-rows // batch) * recipe.train.epochs)) * batch,  # a batch is filled up
        learnt=config.passes,
        read=2,
        batch=min(config.minibatch, batch),
        draws=batch,
        copies=int(config.adapter is None),
        loss="rewarded",
        plain=True,
    )


def fit(config: Config, job: Job) -> dict[str, float]:
    """Train by our own trainer; goes on from its checkpoints, to the same weights.

    Returns:
        The loop's figures without a validation loss; ``reward_before`` and ``_after``, the mean of validation prompts.

    Raises:
        TrainingError: the loss is not a number, the disk is full, the checkpoints are another recipe's.
        TransientError: stopped by a signal; a checkpoint was written.
    """
    from ftcore.training.methods import _ppo

    return _ppo.Trainer(config, job).fit()
