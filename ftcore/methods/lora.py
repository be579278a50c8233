"""LoRA: train low-rank updates of the linear layers, and merge them into the weights afterwards.

E. J. Hu et al. (2021), *LoRA: Low-Rank Adaptation of Large Language Models*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore._find import Config as Base

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

EXAMPLE = {"kind": "lora", "rank": 8}


class Config(Base):
    """Low-rank adaptation through peft."""

    kind: Literal["lora"] = "lora"
    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank of each update."""
    alpha: Annotated[float, Field(gt=0)] = 32
    """Scale: an update counts ``alpha / rank`` times."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Dropout on the input of each update."""
    targets: str | tuple[str, ...] = "all-linear"
    """Names of the layers to adapt, or ``all-linear``."""


def apply(config: Config, model: nn.Module) -> nn.Module:
    """The model with adapters to train; the classification head trains whole."""
    from peft import LoraConfig, TaskType, get_peft_model

    targets = config.targets if isinstance(config.targets, str) else list(config.targets)
    return get_peft_model(
        model,  # type: ignore[arg-type]
        LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=targets,
        ),
    )


def save(config: Config, model: nn.Module, folder: Path) -> None:
    """Write the adapter to ``folder/adapter`` and the merged model to ``folder/model``, both as safetensors."""
    from peft import PeftModel

    del config
    assert isinstance(model, PeftModel), "apply made it one"
    model.save_pretrained(folder / "adapter", safe_serialization=True)
    model.merge_and_unload().save_pretrained(folder / "model", safe_serialization=True)
