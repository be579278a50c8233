"""Which implementation of attention a model trains by: FlashAttention on a GPU where it is, else its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn
from transformers.utils import is_flash_attn_2_available

from ftcore.errors import TrainingError
from ftcore.training import precision

log = logging.getLogger(__name__)

Attention = Literal["auto", "eager", "sdpa", "flash_attention_2"]


@contextmanager
def chosen(model: nn.Module, wanted: Attention, numbers: precision.Precision) -> Iterator[str]:
    """Give the model the implementation that is ``wanted`` while it trains; ``auto`` takes FlashAttention where it is.

    Behind it the model has its own again: FlashAttention calculates in 16 bits only, and a merge is checked in 32.

    Yields:
        What the model has meanwhile; empty where it does not say.

    Raises:
        TrainingError: FlashAttention is wanted and not there, or the model has no such implementation.
    """
    flash = torch.cuda.is_available() and is_flash_attn_2_available() and precision.chosen(numbers) == "bf16"
    if wanted == "flash_attention_2" and not flash:
        raise TrainingError(
            "train.attention is flash_attention_2, which needs a GPU, the package flash-attn and bfloat16",
            hint="set train.attention to auto, or install flash-attn on the GPU workers",
        )
    before = str(getattr(getattr(model, "config", None), "_attn_implementation", ""))
    offered = flash and before == "sdpa" and getattr(model, "_supports_flash_attn", False)
    taken = "flash_attention_2" if wanted == "auto" and offered else before if wanted == "auto" else wanted
    if taken == before:
        yield before
        return
    try:
        model.set_attn_implementation(taken)
    except (ValueError, ImportError, AttributeError) as error:
        raise TrainingError(
            f"{type(model).__name__} cannot calculate attention by {taken}: {error}",
            hint="set train.attention to auto",
        ) from error
    log.info("attention by %s", taken)
    try:
        yield taken
    finally:
        model.set_attn_implementation(before)
