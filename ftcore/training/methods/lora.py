"""LoRA: train low-rank updates of the linear layers, and merge them into the weights afterwards.

E. J. Hu et al. (2021), *LoRA: Low-Rank Adaptation of Large Language Models*.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from ftcore.training.methods._lora import LowRank


class Lora(LowRank):
    """Low-rank adaptation through peft."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "lora", "rank": 8}

    kind: Literal["lora"] = "lora"
