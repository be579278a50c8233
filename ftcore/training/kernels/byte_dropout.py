"""Dropout that a CPU can afford: eight decisions from each random number instead of one.

To be deleted when torch draws dropout on a CPU as bytes or in several threads, or when leaving it out costs a step of
LoRA less than 5 % in ``make bench ONLY=train_kernels``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

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


def use(model: nn.Module) -> list[ByteDropout]:
    """Draw all of a model's dropout layers this way; returns those that were torch's own."""
    plain = [one for one in model.modules() if type(one) is nn.Dropout and not one.inplace]
    found = [one for one in plain if round(one.p * LEVELS) < LEVELS]
    for one in found:
        one.__class__ = ByteDropout
    return found


@contextmanager
def used(model: nn.Module) -> Iterator[None]:
    """The same while it lasts, where there is no GPU."""
    found = [] if torch.cuda.is_available() else use(model)
    try:
        yield
    finally:
        for one in found:
            one.__class__ = nn.Dropout
