"""What the strategies share that cut every weight into pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ftcore.training import cost
from ftcore.training.strategies._base import Strategy

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe
    from ftcore.training.cost import ModelShape, ProcessMemory


class Sharded(Strategy):
    """Each process keeps a piece of every weight, of its gradient and its optimiser."""

    def faults(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """Weights that cannot be cut."""
        if recipe.method.kind == "qlora":
            yield "train.distributed.strategy", f"{self.kind} cannot cut four-bit weights; take ddp, or method lora"

    def held(self, shape: ModelShape, processes: int) -> ProcessMemory:
        """A share, and what is whole for a while: two blocks, one in use and one on its way, and the embeddings."""
        state = {name: size / processes for name, size in cost.state_bytes(shape).items()}
        number = 2 if shape.half else 4
        whole = 2 * shape.multiplied / shape.layers + max(shape.embedding_weights, shape.outputs * shape.width)
        return cost.ProcessMemory({**state, "gathered": number * whole})
