"""How this method trains, in one sentence: it is what `ftcore ls` shows. Name the paper that it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ftcore._find import Config as Base

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

EXAMPLE = {"kind": "NAME"}


class Config(Base):
    """What a recipe says about this method."""

    kind: Literal["NAME"] = "NAME"


def apply(config: Config, model: PreTrainedModel) -> PreTrainedModel:
    """The model with what is to be trained marked by ``requires_grad``."""
    del config
    return model


def save(config: Config, model: PreTrainedModel, folder: Path) -> None:
    """Write the whole model to ``folder/model`` as safetensors, and what else is worth keeping beside it."""
    del config
    model.save_pretrained(folder / "model", safe_serialization=True)
