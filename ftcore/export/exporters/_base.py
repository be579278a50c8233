"""What every export format has: folders, and a proof that each computes what the model does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ftcore.recipe.kinds import Config

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.models.outputs import Sample, Text


class Exporter(Config, ABC):
    """A format that models are exported to; its fields are what a recipe may set."""

    EXAMPLE: ClassVar[dict[str, Any]]
    """A valid entry of a recipe's ``exports``."""
    TASKS: ClassVar[tuple[str, ...]]
    """Kinds of tasks whose models this format can hold; of several parts, where every part's is among them."""
    kind: str

    def names(self) -> list[str]:
        """Names of the folders that ``export`` writes, the one that serves first."""
        return [self.kind]

    def exact(self) -> list[str]:
        """Those that compute in the precision of the trained model, so that their outputs must be the model's."""
        return self.names()

    @abstractmethod
    def export(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        folder: Path,
        sample: Sample | None = None,
    ) -> None:
        """Write one folder for each name, and prove each on the sample: see ``_parity``.

        Args:
            model: what is exported.
            tokenizer: its own.
            folder: where.
            sample: rows that the exports are proven on, such as some of the train split.

        Raises:
            ExportError: the model cannot be translated.
            ParityError: an export gives other outputs than the model, or a row's depend on what else is in its batch.
        """

    @classmethod
    @abstractmethod
    def load(
        cls, folder: Path, max_length_tokens: int, threads: int
    ) -> Callable[[Sequence[Text]], dict[str, np.ndarray]]:
        """The exported model: texts to ``logits``, ``[texts, labels]``; of several parts to ``PART.logits``.

        Raises:
            ExportError: the folder holds no such model that can be opened.
        """
