"""DoRA: LoRA that learns the length of each weight vector apart from its direction; better than LoRA at low ranks.

S.-Y. Liu et al. (2024), *DoRA: Weight-Decomposed Low-Rank Adaptation*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ftcore.training.methods import _lora

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedTokenizerBase

EXAMPLE = {"kind": "dora", "rank": 4}


class Config(_lora.Settings):
    """Weight-decomposed low-rank adaptation through peft."""

    kind: Literal["dora"] = "dora"


def apply(config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    """The model with adapters to train; the head trains whole."""
    del tokenizer
    return _lora.apply(config, model, dora=True)


def sketch(config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    """What ``apply`` makes of a model without weights, to count what would train."""
    del tokenizer
    return _lora.sketch(config, model, dora=True)


def save(config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the adapter to ``folder/adapter`` and the merged model to ``folder/model``, both as safetensors."""
    _lora.save(config, model, tokenizer, folder)
