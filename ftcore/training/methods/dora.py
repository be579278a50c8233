"""DoRA: LoRA that learns the length of each weight vector apart from its direction; better than LoRA at low ranks.

S.-Y. Liu et al. (2024), *DoRA: Weight-Decomposed Low-Rank Adaptation*.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from ftcore.training.methods._lora import LowRank


class Dora(LowRank):
    """Weight-decomposed low-rank adaptation through peft."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "dora", "rank": 4}
    DORA: ClassVar[bool] = True

    kind: Literal["dora"] = "dora"
