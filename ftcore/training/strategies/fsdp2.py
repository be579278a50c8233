"""Each process keeps a piece of every weight, of its gradient and its optimiser, and gathers layers as it needs them.

S. Rajbhandari et al. (2020), *ZeRO*; Y. Zhao et al. (2023), *PyTorch FSDP*; here torch's second form, ``fully_shard``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from ftcore.recipe.model import Recipe
    from ftcore.recipe.training_sections import Train
    from ftcore.training.cost import Held, Shape
    from ftcore.training.loop import Job

SHARES_ROWS = True


def faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Weights that cannot be cut."""
    if recipe.method.kind == "qlora":
        yield "train.distributed.strategy", "fsdp2 cannot cut four-bit weights; take ddp, or method lora"


def held(shape: Shape, processes: int) -> Held:
    """A share of it, and what is whole for a while: two blocks, one in use and one on its way, and the embeddings."""
    from ftcore.training import cost

    state = {name: size / processes for name, size in cost.state_bytes(shape).items()}
    number = 2 if shape.half else 4
    whole = 2 * shape.multiplied / shape.layers + max(shape.embedding_weights, shape.outputs * shape.width)
    return cost.Held({**state, "gathered": number * whole})


def spread(
    model: nn.Module, build: Callable[[nn.Module], nn.Module], train: Train
) -> tuple[nn.Module, Callable[[nn.Module], nn.Module]]:
    """Cut the model block by block, so that one block at a time is whole."""
    from ftcore.training import pieces, precision

    made = build(model)
    empty = pieces.emptied(made)
    _cut(made, half=precision.chosen(train.precision) == "bf16")
    return made, partial(pieces.whole, empty)


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


def fit(job: Job) -> dict[str, float]:
    """Train in the common loop, all processes in step."""
    from ftcore.training import loop, pieces

    return loop.fit(job, pieces.Shards)
