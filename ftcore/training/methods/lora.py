"""LoRA: train low-rank updates of the linear layers, and merge them into the weights afterwards.

E. J. Hu et al. (2021), *LoRA: Low-Rank Adaptation of Large Language Models*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ftcore.training.methods import _lora

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedTokenizerBase

EXAMPLE = {"kind": "lora", "rank": 8}


class Config(_lora.Settings):
    """Low-rank adaptation through peft."""

    kind: Literal["lora"] = "lora"


def apply(config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    """The model with adapters to train; the head trains whole."""
    del tokenizer
    return _lora.apply(config, model)


def sketch(config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    """What ``apply`` makes of a model without weights, to count what would train."""
    del tokenizer
    return _lora.sketch(config, model)


def save(config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the adapter to ``folder/adapter`` and the merged model to ``folder/model``, both as safetensors."""
    _lora.save(config, model, tokenizer, folder)
