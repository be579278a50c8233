"""One training: what is trained, on which data, and how it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ftcore.training.exchanges import not_asked

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase, TrainerCallback

    from ftcore.models.features import Collator, Features
    from ftcore.recipe.training_sections import Train
    from ftcore.training.callbacks import Track
    from ftcore.training.exchanges import PreferenceExample, ReferenceModel


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What is trained."""

    model: nn.Module
    """Trained in place."""
    tokenizer: PreTrainedTokenizerBase
    whole: Callable[[nn.Module], nn.Module] = lambda model: model
    """Makes one whole model, in the first process, of what several trained in pieces; all must call it."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """What it is trained and validated on."""

    rows: Mapping[str, Features]
    """``train`` and ``validation``, as the task encodes them."""
    collate: Collator
    """The task's collator."""
    exchanges: Mapping[str, Sequence[PreferenceExample]] = field(default_factory=dict)
    """The same rows as words, for methods that train in their own way; empty where the task has no prompts."""
    class_weights: torch.Tensor | None = None
    """Weight of each label in the loss, ``[labels]``."""
    judging_weights: torch.Tensor | None = None
    """The same in the validation loss, which chooses the checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """How it runs, and who hears of it."""

    config: Train
    folder: Path
    """Local folder of the checkpoints."""
    identity: str = ""
    """What the checkpoints belong to: a hash of recipe, base model and snapshot."""
    track: Track = lambda points: None
    """Called with points of the curve."""
    callbacks: Sequence[TrainerCallback] = ()
    """Who else looks on, and may end the training."""
    ask: Callable[[str], ReferenceModel] = not_asked
    """Finds a model by a reference such as ``models:/name@alias``, for methods that need its opinion."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is trained, on what and how."""

    trained: Trained
    data: Data
    run: Run

    def gathered(self) -> Job:
        """The same with the whole model; every process must call it."""
        whole = self.trained.whole(self.trained.model)
        return replace(self, trained=replace(self.trained, model=whole))
