"""What a forward pass keeps for the backward one, counted on a model that has shapes and no numbers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from ftcore.training.cost import ActivationMemory
from ftcore.training.kernels import attention_dropout, low_rank

log = logging.getLogger(__name__)

LENGTHS = (16, 32)
"""Tokens of a row in two passes, from which what grows with its length is told from what grows with its square. Each is
done with one row and with two, to tell what does not grow with the rows."""


class _Fused(torch.autograd.Function):  # type: ignore[misc] # torch is skipped by mypy
    """Attention that keeps its inputs and its output and no matrix (Dao et al. 2022, *FlashAttention*)."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        rows, heads, tokens, _ = query.shape
        answers = query.new_empty((rows, tokens, heads, value.shape[-1])).transpose(1, 2)  # as torch's kernels lay it
        ctx.save_for_backward(query, key, value, answers)
        return answers

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        raise NotImplementedError("only what is kept is counted")


class _Attention(TorchFunctionMode):  # type: ignore[misc]
    """Calculates attention as the device would: fused, but with dropout a CPU keeps its matrix (torch 2.13)."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        settings = kwargs or {}
        plain = self.device == "cpu" and settings.get("dropout_p")
        if func is torch.nn.functional.scaled_dot_product_attention and not plain:
            return _Fused.apply(*args[:3])
        return func(*args, **settings)


def kept(model: Any, device: str, *, half: bool, kernels: bool = True) -> ActivationMemory | None:
    """What a model on the ``meta`` device keeps, calculated on ``device``; None where it cannot be counted.

    Parameters count nothing here: they are there anyway. Neither do the logits of a language model and its loss. The
    model is left in training mode, and with ``half`` in 16 bits. Our own ``kernels`` keep less.
    """
    model.train().to(torch.bfloat16 if half else torch.float32)
    short, long = LENGTHS
    try:
        counts = [[_bytes(model, rows, tokens, device, kernels=kernels) for rows in (1, 2)] for tokens in LENGTHS]
    except Exception as error:  # any model may ask for numbers; then a formula must do
        log.info("activations are estimated by a formula, since %s cannot be counted: %s", type(model).__name__, error)
        return None
    one, longer = (two - first for first, two in counts)
    by_pair = max(0.0, (longer - one * long / short) / (long**2 - short * long))
    # What all rows share and grows with their length, such as sines of positions, is too little to count.
    shared, shared_longer = (2 * first - two for first, two in counts)
    once = max(0.0, shared - (shared_longer - shared) * short / (long - short))
    return ActivationMemory((one - by_pair * short**2) / short, by_pair, once)


def _bytes(model: Any, rows: int, tokens: int, device: str, *, kernels: bool) -> float:
    """Bytes that a forward pass keeps, each tensor once."""
    own = {id(parameter) for parameter in model.parameters()}
    found: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        whole = tensor if tensor._base is None else tensor._base  # noqa: SLF001
        if id(whole) not in own:
            storage = tensor.untyped_storage()
            found[storage._cdata] = storage  # noqa: SLF001 # held on to, so that no other takes its address
        return tensor

    ids = torch.zeros(rows, tokens, dtype=torch.long, device="meta")
    inputs = {"input_ids": ids} | ({"decoder_input_ids": ids} if model.config.is_encoder_decoder else {})
    identity: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor  # noqa: E731
    update = low_rank.fused(model) if kernels else nullcontext()
    dropout = attention_dropout.used() if kernels and device == "cpu" else nullcontext()
    with torch.device("meta"), update, dropout, _Attention(device), saved_tensors_hooks(keep, identity):
        outputs = model(**inputs)
    del outputs
    return float(sum(storage.nbytes() for storage in found.values()))
