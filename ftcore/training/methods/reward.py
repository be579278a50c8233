"""Reward model: learn to score answers as people do, from pairs of which one was liked better.

R. A. Bradley and M. E. Terry (1952); N. Stiennon et al. (2020), *Learning to summarize from human feedback*.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.training.methods import _adapters, _preference

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from ftcore.recipe.model import Recipe
    from ftcore.training.effort import Effort
    from ftcore.training.exchanges import Exchange
    from ftcore.training.loop import Job

EXAMPLE = {"kind": "reward", "centre": 0.01}
TASKS = ("preference",)
ALONE = "it scores answers, which no part's task does"
LOSS = ("centre",)
apply, save = _preference.apply, _preference.save


class Config(_preference.Settings):
    """Bradley–Terry pairs by TRL. Other recipes name what comes out as a reward: ``models:/NAME@champion``."""

    kind: Literal["reward"] = "reward"
    centre: Annotated[float, Field(ge=0)] = 0
    """Weight of the squared sum of a pair's scores, which keeps their mean near 0 (Eisenstein et al. 2023)."""


def faults(config: Config, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Sources without worse answers."""
    yield from _preference.faults(config, recipe, pairs=True)


def effort(config: Config, recipe: Recipe, rows: int) -> Effort:
    """Two answers a pair, which the task encodes as two sequences."""
    del recipe, rows
    return _preference.effort(config, measured_at_once=2)


def fit(config: Config, job: Job) -> dict[str, float]:
    """Train by TRL's RewardTrainer; goes on from its checkpoints.

    Returns:
        The loop's figures; ``preferred_before`` and ``_after``, the share of validation pairs whose good answer scores
        higher, and ``margin_before`` and ``_after``, by how much in the mean.
    """
    from trl import RewardConfig, RewardTrainer

    data = _preference.pairs(job)
    settings = _preference.choices(
        job,
        len(data["train"]),
        center_rewards_coefficient=config.centre or None,
        max_length=job.config.max_length_tokens,
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


def margins(job: Job, rows: Sequence[Exchange]) -> np.ndarray:
    """Score of the good answer less that of the worse one, ``[rows]``, of the first validation rows."""
    import numpy as np
    import torch

    device, found = next(job.model.parameters()).device, []
    with _adapters.still(job.model), torch.no_grad():
        for one in rows[: _preference.MEASURED]:
            both = [_preference.ids(job.tokenizer, one.prompt, answer) for answer in (one.good, one.worse)]
            cut = [answer[-job.config.max_length_tokens :] for answer in both]
            batch = job.tokenizer.pad({"input_ids": cut}, padding_side="right", return_tensors="pt").to(device)
            good, worse = job.model(**batch).logits[:, 0].tolist()
            found.append(good - worse)
    return np.array(found)
