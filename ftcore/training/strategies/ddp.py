"""Every process has the whole model and a share of each batch; gradients are averaged.

S. Li et al. (2020), *PyTorch Distributed: Experiences on Accelerating Data Parallel Training*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from ftcore.recipe.model import Recipe
    from ftcore.recipe.training_sections import Train
    from ftcore.training.cost import Held, Shape
    from ftcore.training.loop import Job

SHARES_ROWS = True


def faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """None: whatever trains in one process trains so."""
    del recipe
    yield from ()


def held(shape: Shape, processes: int) -> Held:
    """All of it, and the gradients once more in the buckets in which they travel."""
    from ftcore.training import cost

    del processes
    state = cost.state_bytes(shape)
    return cost.Held({**state, "gradients": 2 * state["gradients"]})


def spread(
    model: nn.Module, build: Callable[[nn.Module], nn.Module], train: Train
) -> tuple[nn.Module, Callable[[nn.Module], nn.Module]]:
    """The model as it is: Trainer wraps it."""
    del train
    return build(model), lambda trained: trained


def fit(job: Job) -> dict[str, float]:
    """Train in the common loop."""
    from ftcore.training import loop

    return loop.fit(job)
