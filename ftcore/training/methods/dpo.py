"""DPO: make good answers likelier than worse ones, without a reward model.

R. Rafailov et al. (2023), *Direct Preference Optimization: Your Language Model is Secretly a Reward Model*.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.training.methods import _preference

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe
    from ftcore.training.effort import Effort
    from ftcore.training.loop import Job

EXAMPLE = {"kind": "dpo", "beta": 0.1}
TASKS, ALONE = ("chat",), _preference.ALONE
LOSS = ("beta", "loss", "label_smoothing")
apply, save, lengths = _preference.apply, _preference.save, _preference.lengths


class Config(_preference.Anchored):
    """Preference pairs by TRL: ``label`` is the good answer, ``rejected`` the worse one."""

    kind: Literal["dpo"] = "dpo"
    loss: Literal["sigmoid", "ipo", "hinge"] = "sigmoid"
    """``sigmoid`` is DPO; ``ipo`` (Azar et al. 2023) overfits less on pairs of which one side always wins; ``hinge`` is
    SLiC's (Zhao et al. 2023)."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0
    """Share of the pairs that people are believed to have mixed up (Mitchell 2023); with ``sigmoid`` alone."""


def faults(config: Config, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Sources without worse answers, and what does not fit together."""
    yield from _preference.faults(config, recipe, pairs=True)
    if config.label_smoothing and config.loss != "sigmoid":
        yield "method.label_smoothing", f"the loss {config.loss} has none"


def effort(config: Config, recipe: Recipe, rows: int) -> Effort:
    """Two answers a pair, read by the reference as well."""
    del recipe, rows
    return _preference.effort(config, read=1, judged=2, loss="tiled", copies=int(config.adapter is None))


def fit(config: Config, job: Job) -> dict[str, float]:
    """Train by TRL's DPOTrainer; goes on from its checkpoints.

    Returns:
        The loop's figures; ``preferred_before`` and ``_after``, the share of validation pairs whose good answer is the
        likelier one, and ``margin_before`` and ``_after``, by how many nats in the mean.
    """
    from trl import DPOConfig, DPOTrainer

    settings = _preference.choices(
        job,
        len(job.exchanges["train"]),
        beta=config.beta,
        loss_type=[config.loss],
        label_smoothing=config.label_smoothing,
        max_length=job.config.max_length_tokens,
    )
    reference = _preference.frozen(job, config)
    return _preference.fit(job, DPOTrainer, DPOConfig(**settings), ref_model=reference)
