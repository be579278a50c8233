"""In which numbers to calculate: bfloat16 where the hardware multiplies it, else float32."""

from __future__ import annotations

from typing import Literal

import torch

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
