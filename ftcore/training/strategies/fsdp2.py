"""Each process keeps a piece of every weight, of its gradient and its optimiser, and gathers layers as it needs them.

S. Rajbhandari et al. (2020), *ZeRO*; Y. Zhao et al. (2023), *PyTorch FSDP*; here torch's second form, ``fully_shard``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from ftcore.training.strategies._sharded import Sharded

if TYPE_CHECKING:
    from torch import nn

    from ftcore.recipe.training_sections import Train
    from ftcore.training.job import Job


class Fsdp2(Sharded):
    """Pieces of every weight, by torch."""

    kind: Literal["fsdp2"] = "fsdp2"

    def spread(
        self, model: nn.Module, build: Callable[[nn.Module], nn.Module], train: Train
    ) -> tuple[nn.Module, Callable[[nn.Module], nn.Module]]:
        """Cut the model block by block, so that one block at a time is whole."""
        from ftcore.training import pieces, precision

        made = build(model)
        empty = pieces.emptied(made)
        _cut(made, half=precision.chosen(train.precision) == "bf16")
        return made, partial(pieces.whole, empty)

    def fit(self, job: Job) -> dict[str, float]:
        """Train in the common loop, all processes in step."""
        from ftcore.training import loop, pieces

        return loop.fit(job, pieces.Shards)


def _cut(model: Any, *, half: bool) -> None:
    """Cut each block that transformers says must not be split, then what is left over.

    In 16 bits the blocks travel as such; what each process keeps, and the sums of gradients, stay float32.
    """
    import torch
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    from ftcore.training import pieces

    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if half else MixedPrecisionPolicy()
    cut = partial(fully_shard, mesh=pieces.mesh("shards"), mp_policy=policy)
    # By this accelerate knows the blocks too; a model of several parts has them in its body.
    blocks = {name for module in model.modules() for name in getattr(module, "_no_split_modules", None) or ()}
    for module in list(model.modules()):
        if type(module).__name__ in blocks:
            cut(module)
    cut(model)
    pieces.mark(model)
