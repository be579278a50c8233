"""Every process has the whole model and a share of each batch; gradients are averaged.

S. Li et al. (2020), *PyTorch Distributed: Experiences on Accelerating Data Parallel Training*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ftcore.training import cost
from ftcore.training.strategies._base import Strategy

if TYPE_CHECKING:
    from ftcore.training.cost import ModelShape, ProcessMemory


class Ddp(Strategy):
    """The whole model in each process: whatever trains in one process trains so."""

    kind: Literal["ddp"] = "ddp"

    def held(self, shape: ModelShape, processes: int) -> ProcessMemory:
        """All of it, and the gradients once more in the buckets in which they travel."""
        state = cost.state_bytes(shape)
        return cost.ProcessMemory({**state, "gradients": 2 * state["gradients"]})
