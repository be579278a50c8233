"""Attention by the fastest kernels there are: FlashAttention on a GPU, and on a CPU dropout that does not cost more."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import is_flash_attn_2_available

from ftcore.errors import TrainingError
from ftcore.training import dropout, precision

log = logging.getLogger(__name__)

Attention = Literal["auto", "eager", "sdpa", "flash_attention_2"]
HIDDEN = -3e38
"""What is added to the score of a token that may not be seen."""
SPECIAL = ("position_bias", "cache", "softcap")
"""What some models want of attention besides; transformers' own knows."""


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


@contextmanager
def cheap_dropout() -> Iterator[None]:
    """Let torch's attention on a CPU draw its dropout as bytes, by which a step took a fifth less time.

    torch's kernel for CPUs knows no dropout, so with it torch goes the plain way anyway.
    """
    ALL_ATTENTION_FUNCTIONS["sdpa"] = _attention
    try:
        yield
    finally:
        del ALL_ATTENTION_FUNCTIONS["sdpa"]


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it: ``[rows, heads, tokens, width]`` to ``[rows, tokens, heads, width]``."""
    mask, special = attention_mask, any(options.get(name) is not None for name in SPECIAL)
    if special or not dropout or query.is_cuda or key.shape[1] != query.shape[1]:
        found: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, mask, dropout=dropout, scaling=scaling, **options
        )
        return found
    causal = options.get("is_causal")
    if mask is None and (getattr(module, "is_causal", True) if causal is None else causal):
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(2, 3)
    if mask is not None:
        seen = mask if mask.is_floating_point() else torch.zeros(mask.shape).masked_fill_(~mask, HIDDEN)
        scores = scores + seen.to(scores.dtype)
    kept = _kept(torch.softmax(scores, -1), dropout)
    return (kept @ value).transpose(1, 2).contiguous(), None


def _kept(shares: torch.Tensor, chance: float) -> torch.Tensor:
    """What is left of the attention's shares."""
    drawn, factor = dropout.drawn(shares, chance)
    return shares * drawn.to(shares.dtype).mul_(factor)
