"""Frozen weights, and what adapters read, converted to bfloat16 once instead of in every step.

To be deleted when autocast keeps what it converted of frozen weights from one step to the next, or when leaving it out
costs a step less than 5 % in ``make bench ONLY=train_kernels``; on a GPU look at the memory, too, which plans count on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ftcore.training.precision import Precision, chosen


@contextmanager
def converted_once(model: nn.Module, wanted: Precision) -> Iterator[None]:
    """Convert to bfloat16 once what autocast would convert in every step: frozen weights, and what adapters read.

    Conversions took a quarter of a LoRA step on a CPU, and a GPU holds frozen weights in half the memory. Linear layers
    calculate what they would have; an adapter's dropout comes after the rounding instead of before. Frozen weights are
    float32 again behind it, and the model is where it was; till then they wait in the machine's own memory.
    """
    if chosen(wanted) != "bf16":
        yield
        return
    before = [(module, name, weight, weight.device) for module in model.modules() for name, weight in _frozen(module)]
    # peft's own switch of this name trips over layers that have none.
    adapted = [module for module in model.modules() if hasattr(module, "cast_input_dtype_enabled")]
    reading = _Reading()
    hooks = [module.register_forward_pre_hook(reading) for module in adapted]
    for module in adapted:
        module.cast_input_dtype_enabled = False
    for module, name, weight, _ in before:
        setattr(module, name, nn.Parameter(weight.to(torch.bfloat16), requires_grad=False))
    looked_up = {id(weight) for weight in model.parameters()}  # an embedding may be the last layer's weight as well
    for _, _, weight, _ in before:
        if id(weight) not in looked_up:
            weight.data = weight.data.cpu()
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module in adapted:
            module.cast_input_dtype_enabled = True
        if before and before[0][3] != next(model.parameters()).device:
            model.to(before[0][3])
        for module, name, weight, device in before:
            weight.data = weight.data.to(device)
            setattr(module, name, weight)


def _frozen(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Weight and bias of a linear layer that does not learn; of an embedding they are looked up, not multiplied.

    Weights in pieces are left alone: they are gathered in 16 bits, or know their own place.
    """
    whole = type(module) is nn.Linear and type(module.weight) is nn.Parameter
    if not whole or module.weight.requires_grad or module.weight.dtype != torch.float32:
        return []
    return [(name, weight) for name, weight in module.named_parameters(recurse=False)]


class _Reading:
    """Rounds what an adapter's layer reads; query, key and value read the same, which is rounded once."""

    def __init__(self) -> None:
        self.last: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, module: nn.Module, read: tuple[Any, ...]) -> tuple[Any, ...]:
        del module
        values = read[0]
        if values.dtype != torch.float32 or not torch.is_autocast_enabled(values.device.type):
            return read
        if self.last is None or self.last[0] is not values:
            self.last = values, values.to(torch.bfloat16)
        return self.last[1], *read[1:]
