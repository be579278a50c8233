"""The abstract class of every strategy: how several processes train one model."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from ftcore.recipe.kinds import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from ftcore.recipe.model import Recipe
    from ftcore.recipe.training_sections import Train
    from ftcore.training.cost import ModelShape, ProcessMemory
    from ftcore.training.job import Job


class Strategy(Config):
    """How several processes train one model; ``train.distributed.strategy`` names it, and it has no settings."""

    SHARES_ROWS: ClassVar[bool] = True
    """Whether each process reads rows of its own; else all read the same."""
    DEVICES: ClassVar[tuple[str, ...]] = ()
    """Kinds of device that it can train on; empty means all."""

    kind: str

    def faults(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """What it cannot do, as ``(path in the YAML, message)``."""
        yield from ()

    @abstractmethod
    def held(self, shape: ModelShape, processes: int) -> ProcessMemory:
        """For the plan: what one process holds."""

    def spread(
        self, model: nn.Module, build: Callable[[nn.Module], nn.Module], train: Train
    ) -> tuple[nn.Module, Callable[[nn.Module], nn.Module]]:
        """What the method makes of the base, spread over the processes; here as it is, since Trainer wraps it.

        Args:
            model: the base model.
            build: the method's ``apply``.
            train: the recipe's settings.

        Returns:
            The model to train, and what makes a whole model of it again in the first process; all must call it.

        Raises:
            TrainingError: this model, or this machine, cannot be trained so.
            MissingExtraError: a package is not installed.
        """
        return build(model), lambda trained: trained

    def fit(self, job: Job) -> dict[str, float]:
        """Train in the common loop; returns its figures.

        Raises:
            TrainingError: the loss is not a number, memory or disk do not suffice, the checkpoints are of another
                recipe.
            TransientError: stopped by a signal; a checkpoint was written.
        """
        from ftcore.training import loop

        return loop.fit(job)
