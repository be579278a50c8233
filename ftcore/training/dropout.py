"""Dropout that a CPU can afford: eight decisions from each random number instead of one."""

from __future__ import annotations

import torch
from torch import nn

from ftcore.errors import TrainingError

LEVELS = 256


class ByteDropout(nn.Dropout):  # type: ignore[misc] # torch is skipped by mypy
    """Dropout whose chance is a multiple of 1/256, drawn as bytes from torch's own generator.

    torch draws one number of its Mersenne twister for each value, which took a quarter of the time of a LoRA step on a
    CPU. The chance is rounded to the nearest 1/256 (0.05 becomes 0.0508), and the values are scaled by what was kept.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Values with some set to zero and the others scaled up, so that the mean stays."""
        if not (self.training and round(self.p * LEVELS)):
            return values
        kept, factor = drawn(values, self.p)
        return values * kept.to(values.dtype).mul_(factor)


def drawn(values: torch.Tensor, chance: float) -> tuple[torch.Tensor, float]:
    """For each value a 1 where it stays and a 0 where it is dropped, as bytes, and what makes up for the dropped ones.

    On a GPU each decision is drawn by itself.
    """
    if values.device.type != "cpu":
        return torch.empty_like(values, dtype=torch.uint8).bernoulli_(1 - chance), 1 / (1 - chance)
    dropped = round(chance * LEVELS)
    numbers = torch.empty(-(-values.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    # Comparing and converting to bytes took five times as long.
    kept = numbers.view(torch.uint8)[: values.numel()].view(values.shape).clamp_(dropped - 1, dropped).sub_(dropped - 1)
    return kept, LEVELS / (LEVELS - dropped)


def set_chance(model: nn.Module, chance: float) -> None:
    """Give every dropout of a model the same chance.

    Raises:
        TrainingError: it has none.
    """
    found = 0
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p, found = chance, found + 1
        elif isinstance(getattr(module, "attention_dropout", None), float):  # no module of its own
            module.attention_dropout, found = chance, found + 1
    if not found:
        raise TrainingError(
            f"{type(model).__name__} has no dropout that train.dropout could set",
            hint="leave train.dropout out; methods such as lora have a dropout of their own",
        )


def use(model: nn.Module) -> None:
    """Draw all of a model's dropout layers this way; only sensible on a CPU."""
    for module in model.modules():
        if type(module) is nn.Dropout and not module.inplace and round(module.p * LEVELS) < LEVELS:
            module.__class__ = ByteDropout
