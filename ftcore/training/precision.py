"""In which numbers to calculate: bfloat16 where the hardware multiplies it, else float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

Precision = Literal["auto", "bf16", "fp32"]


def bf16_is_fast() -> bool:
    """Whether matrix products in bfloat16 are done by the hardware: a GPU since Ampere, AMX or AVX512-BF16."""
    if torch.cuda.is_available():
        return bool(torch.cuda.get_device_capability() >= (8, 0))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())  # noqa: SLF001


def chosen(wanted: Precision) -> Literal["bf16", "fp32"]:
    """What ``auto`` comes to on this machine; weights and optimiser stay float32 either way."""
    if wanted != "auto":
        return wanted
    return "bf16" if bf16_is_fast() else "fp32"


def expected(wanted: Precision, device: str) -> Literal["bf16", "fp32"]:
    """The same for a worker's ``device``, which need not be this machine's: a GPU is taken for one since Ampere."""
    if wanted == "auto" and device == "cuda" and not torch.cuda.is_available():
        return "bf16"
    return chosen(wanted)


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
