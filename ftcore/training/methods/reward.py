"""Reward model: learn to score answers as people do, from pairs of which one was liked better.

R. A. Bradley and M. E. Terry (1952); N. Stiennon et al. (2020), *Learning to summarize from human feedback*.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.training.methods import _adapters, _preference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from transformers import PreTrainedTokenizerBase

    from ftcore.recipe.model import Recipe
    from ftcore.training.effort import Effort
    from ftcore.training.exchanges import PreferenceExample
    from ftcore.training.job import Job
    from ftcore.training.strategies._base import Strategy


class RewardModel(_preference.Paired):
    """Bradley–Terry pairs by TRL. Other recipes name what comes out as a reward: ``models:/NAME@champion``."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "reward", "centre": 0.01}
    TASKS: ClassVar[tuple[str, ...]] = ("preference",)
    MULTITASK_REASON: ClassVar[str] = "it scores answers, which no part's task does"
    LOSS: ClassVar[tuple[str, ...]] = ("centre",)

    kind: Literal["reward"] = "reward"
    centre: Annotated[float, Field(ge=0)] = 0
    """Weight of the squared sum of a pair's scores, which keeps their mean near 0 (Eisenstein et al. 2023)."""

    def effort(self, recipe: Recipe, rows: int) -> Effort:
        """Two answers a pair, which the task encodes as two sequences."""
        return replace(_preference.PAIRS, measured_at_once=2)

    def lengths(self, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Iterable[PreferenceExample]) -> None:
        """None: the task encodes both answers."""

    def fit(self, job: Job, strategy: Strategy) -> dict[str, float]:
        """Train by TRL's RewardTrainer; goes on from its checkpoints.

        Returns:
            The loop's figures; ``preferred_before`` and ``_after``, the share of validation pairs whose good answer
            scores higher, and ``margin_before`` and ``_after``, by how much in the mean.
        """
        from trl import RewardConfig, RewardTrainer

        data = _preference.pairs(job)
        settings = _preference.choices(
            job,
            len(data["train"]),
            center_rewards_coefficient=self.centre or None,
            max_length=job.run.config.max_length_tokens,
        )
        before = _preference.told(margins(job, data["validation"]), "before")
        figures = _preference.run(
            job,
            RewardTrainer,
            _preference.tokens(job, data["train"]),
            args=RewardConfig(**settings),
            train_dataset=_preference.dataset(data["train"]),
            eval_dataset=_preference.dataset(data["validation"]),
        )
        after = _preference.told(margins(job, data["validation"]), "after")
        return {**_preference.learnt_from(job, "pairs", data["train"]), **figures, **before, **after}


def margins(job: Job, rows: Sequence[PreferenceExample]) -> np.ndarray:
    """Score of the good answer less that of the worse one, ``[rows]``, of the first validation rows."""
    import numpy as np
    import torch

    device, found = next(job.trained.model.parameters()).device, []
    with _adapters.still(job.trained.model), torch.no_grad():
        for one in rows[: _preference.MEASURED]:
            both = [_preference.ids(job.trained.tokenizer, one.prompt, answer) for answer in (one.good, one.worse)]
            cut = [answer[-job.run.config.max_length_tokens :] for answer in both]
            batch = job.trained.tokenizer.pad({"input_ids": cut}, padding_side="right", return_tensors="pt").to(device)
            good, worse = job.trained.model(**batch).logits[:, 0].tolist()
            found.append(good - worse)
    return np.array(found)
