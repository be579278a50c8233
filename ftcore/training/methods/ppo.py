"""PPO: raise what answers are worth in small, clipped steps, with a learnt estimate of what is still to come.

J. Schulman et al. (2017), *Proximal Policy Optimization Algorithms*; D. Ziegler et al. (2019), *Fine-Tuning Language
Models from Human Preferences*. TRL ships it no longer: the trainer is ours, ``_ppo.py``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftcore.training.methods._ppo_settings import PpoSettings

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe
    from ftcore.training.effort import Effort
    from ftcore.training.job import Job
    from ftcore.training.strategies._base import Strategy


class Ppo(PpoSettings):
    """Clipped policy gradients with a value head on the last hidden state. Of the rows only the prompts are read."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "ppo", "rewards": [{"kind": "length", "most": 40}]}

    kind: Literal["ppo"] = "ppo"

    def effort(self, recipe: Recipe, rows: int) -> Effort:
        """An answer to each prompt of a batch, read twice and learnt from in each pass; all in float32."""
        batch = recipe.train.batch_size
        return replace(
            self.drawing(),
            rows=max(1, round(-(-rows // batch) * recipe.train.epochs)) * batch,  # a batch is filled up
            learnt=self.passes,
            read=2,
            batch=min(self.minibatch, batch),
            draws=batch,
            copies=int(self.adapter is None),
            loss="rewarded",
            plain=True,
        )

    def fit(self, job: Job, strategy: Strategy) -> dict[str, float]:
        """Train by our own trainer; goes on from its checkpoints, to the same weights.

        Raises:
            TrainingError: the loss is not a number, the disk is full, the checkpoints are another recipe's.
            TransientError: stopped by a signal; a checkpoint was written.
        """
        from ftcore.training.methods import _ppo

        return _ppo.Trainer(self, job).fit()
