"""The abstract class of every method: what a recipe's ``method`` can be asked, and the answer of most of them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from ftcore.models import base
from ftcore.recipe.kinds import Config
from ftcore.training.effort import ONE_PASS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from ftcore.context import Context
    from ftcore.recipe.model import Recipe
    from ftcore.training.effort import Effort
    from ftcore.training.exchanges import PreferenceExample
    from ftcore.training.job import Job
    from ftcore.training.strategies._base import Strategy


class Method(Config):
    """A way to train: its fields are what a recipe may say, its methods what is done."""

    EXAMPLE: ClassVar[dict[str, Any]]
    """What a recipe could say."""
    TASKS: ClassVar[tuple[str, ...]] = ()
    """Kinds of task that it fits; empty means all. It fits ``multitask`` if the kinds of all parts are named, too."""
    MULTITASK_REASON: ClassVar[str] = "it trains one task"
    """Why it does not fit ``multitask``, where ``TASKS`` does not name it."""
    DEVICES: ClassVar[tuple[str, ...]] = ()
    """Kinds of device that it can train on; empty means all."""
    WEIGHT_BYTES: ClassVar[float] = 4
    """For the plan's estimate: bytes of a weight of the base model."""
    LOSS: ClassVar[tuple[str, ...]] = ()
    """Fields that change what the loss means, so that no ``search`` can compare it."""
    OWN_LOSS: ClassVar[bool] = False
    """Whether the loss is the method's, without class weights."""
    OWN_LOOP: ClassVar[bool] = False
    """Whether ``fit`` trains in its own way, in one process, in place of the common loop."""
    REPLACEABLE: ClassVar[bool] = True
    """Whether ``lora`` trains for the same end with less memory."""

    kind: str

    @abstractmethod
    def apply(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        """The model with what is to be trained marked by ``requires_grad``; rows are encoded after it.

        Raises:
            TrainingError: the model cannot be trained so.
            MissingExtraError: a package is not installed.
        """

    def sketch(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        """For the plan's estimate: ``apply`` for a model on the meta device, which has no weights."""
        return self.apply(model, tokenizer)

    def save(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
        """Write the whole model to ``folder/model`` as safetensors, and what else is worth keeping beside it.

        Raises:
            TrainingError: what was merged into the weights does not answer as it did before.
        """
        base.write_model(model, tokenizer, folder / "model")

    def faults(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """What is right by itself and wrong in this recipe, as ``(path in the YAML, message)``."""
        yield from ()

    def effort(self, recipe: Recipe, rows: int) -> Effort:
        """For the plan's estimate: the work on so many training rows; one pass forward and back over each an epoch."""
        return ONE_PASS

    def lengths(
        self, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Iterable[PreferenceExample]
    ) -> list[int] | None:
        """For the plan's estimate: tokens of each sequence that rows are read in; None: as the task encodes them."""
        return None

    def lacks_adapter(self) -> bool:
        """Whether ``method.adapter: {}`` would train low-rank updates in place of every weight."""
        return False

    def start(self, context: Context) -> str:
        """The model to start from, as a reference of the form of the recipe's ``base``.

        Raises:
            TrainingError: that model cannot be gone on from.
        """
        return context.recipe.base

    def rows(self, context: Context, table: pa.Table) -> pa.Table:
        """The training rows, of those of the snapshot."""
        return table

    def teacher_reference(self, context: Context) -> str | None:
        """Reference of a model whose probabilities come with every row: ``teacher`` in the batch, ``[rows, labels]``.

        Raises:
            TrainingError: there is no such model.
        """
        return None

    @property
    def frozen_adapters(self) -> int:
        """How many adapters of other versions lie under the one that trains."""
        return 0

    def fit(self, job: Job, strategy: Strategy) -> dict[str, float]:
        """The whole training, in the common loop with the processes' strategy unless ``OWN_LOOP``.

        Returns:
            Its figures, ``validation_loss`` or ``reward_before`` and ``reward_after`` among them.

        Raises:
            TrainingError: the loss is not a number, memory or disk do not suffice, the checkpoints are of another
                recipe.
            TransientError: stopped by a signal; a checkpoint was written.
        """
        return strategy.fit(job)
