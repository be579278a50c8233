"""Each process has some of the layers; refused, since transformers has such pipelines for answers only.

Y. Huang et al. (2019), *GPipe*. transformers 5.23 sends hidden states on and no gradients back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ftcore.errors import TrainingError

if TYPE_CHECKING:
    from torch import nn

    from ftcore.recipe.model import Recipe
    from ftcore.recipe.training_sections import Train
    from ftcore.training.cost import Held, Shape
    from ftcore.training.loop import Job

SHARES_ROWS = False
REFUSAL = "transformers 5.23 runs pipelines for answers only: its stages send no gradients back; take fsdp2 or tensor"


def faults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Always one."""
    del recipe
    yield "train.distributed.strategy", REFUSAL


def held(shape: Shape, processes: int) -> Held:
    """A share of the state and of the activations."""
    from ftcore.training import cost

    return cost.Held({name: size / processes for name, size in cost.state_bytes(shape).items()}, 1 / processes)


def spread(
    model: nn.Module, build: Callable[[nn.Module], nn.Module], train: Train
) -> tuple[nn.Module, Callable[[nn.Module], nn.Module]]:
    """Refuse.

    Raises:
        TrainingError: always.
    """
    del model, build, train
    raise TrainingError(REFUSAL)


def fit(job: Job) -> dict[str, float]:
    """Refuse.

    Raises:
        TrainingError: always.
    """
    del job
    raise TrainingError(REFUSAL)
