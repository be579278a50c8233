"""LoRA's layers in one step of autograd: what peft calculates, in fewer passes over the numbers.

peft adds an update to what the layer says in a dozen operations, most of whose results autograd keeps. Here a layer and
its update are one function: the update is added inside of a matrix product, backward too, and of what is as large as
the layer's input only that input is kept, which query, key and value share. D. Han and M. Han do so on GPUs (Unsloth).

To be deleted when peft has such a layer, or when leaving it out costs a step less than 5 % and no memory in
``make bench ONLY=train_kernels``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ftcore.training.kernels import byte_dropout


@contextmanager
def fused(model: nn.Module) -> Iterator[None]:
    """Let each plain LoRA layer over a frozen linear one calculate so while training; others stay peft's."""
    layers = [module for module in model.modules() if _is_plain(module)]
    for layer in layers:
        layer.forward = partial(_forward, layer, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _is_plain(module: nn.Module) -> bool:
    """Whether it is LoRA's usual layer, its weight whole and frozen; a sharded weight knows its own place."""
    if not hasattr(module, "lora_A"):
        return False
    from peft.tuners.lora import Linear

    if type(module) is not Linear or module.fan_in_fan_out:
        return False
    base = module.base_layer
    own = list(base.parameters())
    return type(base) is nn.Linear and all(type(one) is nn.Parameter and not one.requires_grad for one in own)


def _forward(layer: Any, plain: Callable[..., torch.Tensor], values: torch.Tensor, **options: Any) -> torch.Tensor:
    """One layer: ``[…, inputs]`` to ``[…, outputs]``; by peft's ``plain`` way where it is not one plain update."""
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    unusual = options or len(active) != 1 or layer.disable_adapters or layer.merged or layer.lora_variant
    if unusual or layer.lora_bias[active[0]] or not torch.is_grad_enabled():
        return plain(values, **options)
    device = values.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        values = values.to(torch.get_autocast_dtype(device))
    down, up = layer.lora_A[active[0]].weight, layer.lora_B[active[0]].weight
    dropped = layer.lora_dropout[active[0]]
    chance = dropped.p if dropped.training and isinstance(dropped, nn.Dropout) else 0.0
    base = layer.base_layer
    made: torch.Tensor = _Layer.apply(values, base.weight, base.bias, down, up, layer.scaling[active[0]], chance)
    return made


class _Layer(torch.autograd.Function):  # type: ignore[misc] # torch is skipped by mypy
    """``values·Wᵀ + bias + scale · drop(values)·Aᵀ·Bᵀ``, and its gradients for values, ``A`` (down) and ``B`` (up)."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, weight: torch.Tensor, bias: Any, *update: Any) -> torch.Tensor:
        kind, flat = values.dtype, values.reshape(-1, values.shape[-1])
        down, up, scale, chance = update
        kept, factor = byte_dropout.drawn(flat, chance) if chance else (None, 1.0)
        weight, down, up = weight.to(kind), down.to(kind), up.to(kind)
        low = _left(flat, kept) @ down.T
        said = functional.linear(flat, weight, None if bias is None else bias.to(kind))
        said.addmm_(low, up.T, alpha=scale * factor)
        ctx.save_for_backward(flat, kept, low, weight, down, up)
        ctx.scale, ctx.learns = scale * factor, (update[0].dtype, update[1].dtype)
        return said.view(*values.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        flat, kept, low, weight, down, up = ctx.saved_tensors
        shape = gradient.shape[:-1]
        gradient = gradient.reshape(-1, gradient.shape[-1])
        inner = (gradient @ up).mul_(ctx.scale)
        to_down = (inner.T @ _left(flat, kept)).to(ctx.learns[0])
        to_up = (gradient.T @ low).mul_(ctx.scale).to(ctx.learns[1])
        if not ctx.needs_input_grad[0]:
            return None, None, None, to_down, to_up, None, None
        to_values = gradient @ weight
        if kept is None:
            to_values.addmm_(inner, down)
        else:
            to_values.add_((inner @ down).mul_(kept))
        return to_values.view(*shape, -1), None, None, to_down, to_up, None, None


def _left(values: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
    return values if kept is None else values * kept
