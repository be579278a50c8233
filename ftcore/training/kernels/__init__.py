"""Training kernels of our own, each in place of what torch, transformers or peft do in more passes over the numbers.

They calculate what the plain layers do, up to rounding. Each is a context manager that leaves nothing behind, says in
its docstring when it is to be deleted, and has its own share in ``make bench ONLY=train_kernels``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING

from ftcore.training.kernels import attention_dropout, byte_dropout, half_weights, low_rank

if TYPE_CHECKING:
    from torch import nn

    from ftcore.recipe.training_sections import Train

KERNELS: dict[str, Callable[[nn.Module, Train], AbstractContextManager[None]]] = {
    "byte_dropout": lambda model, _: byte_dropout.used(model),
    "half_weights": lambda model, train: half_weights.converted_once(model, train.precision),
    "low_rank": lambda model, _: low_rank.fused(model),
    "attention_dropout": lambda _, __: attention_dropout.used(),
}
"""By name, in the order in which they are put in."""


@contextmanager
def accelerated(model: nn.Module, config: Train) -> Iterator[None]:
    """Let a model train by these kernels; behind it model and libraries are as they were, however it ends.

    With ``train.kernels: torch`` there is none, nor with ``train.compile``: ``torch.compile`` finds its own, and would
    compile anew for each of these.
    """
    with ExitStack() as kernels:
        if config.kernels == "auto" and not config.compile:
            for kernel in KERNELS.values():
                kernels.enter_context(kernel(model, config))
        yield
