"""Attention on a CPU whose dropout is drawn as bytes.

To be deleted when torch's fused attention for CPUs has dropout (2.13 goes the plain way for it), or when leaving it out
costs a step less than 5 % in ``make bench ONLY=train_kernels``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ftcore.training.kernels import byte_dropout

HIDDEN = -3e38
"""What is added to the score of a token that may not be seen."""
SPECIAL = ("position_bias", "cache", "softcap")
"""What some models want of attention besides; transformers' own knows."""


@contextmanager
def used() -> Iterator[None]:
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
    drawn, factor = byte_dropout.drawn(shares, chance)
    return shares * drawn.to(shares.dtype).mul_(factor)
