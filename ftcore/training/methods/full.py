"""Full fine-tuning: every weight learns; the most memory, and on much data the best."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from ftcore.errors import TrainingError
from ftcore.models import base
from ftcore.recipe.kinds import Config as Base

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedTokenizerBase

EXAMPLE = {"kind": "full", "freeze": ["embeddings"]}


class Config(Base):
    """All weights, or all but some."""

    kind: Literal["full"] = "full"
    freeze: tuple[str, ...] = ()
    """Regular expressions; weights with a name that one of them is found in stay as they are."""


def apply(config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    """The model with every weight to train but the frozen ones.

    Raises:
        TrainingError: a pattern matches no weight, or nothing is left to train.
    """
    del tokenizer
    names = [name for name, _ in model.named_parameters()]
    for pattern in config.freeze:
        if not any(re.search(pattern, name) for name in names):
            raise TrainingError(f"method.freeze: no weight matches {pattern!r}", hint=f"one of them is {names[0]}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not any(re.search(pattern, name) for pattern in config.freeze)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError("method.freeze leaves nothing to train")
    return model


def save(config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the model to ``folder/model`` as safetensors."""
    del config
    base.write_model(model, tokenizer, folder / "model")
