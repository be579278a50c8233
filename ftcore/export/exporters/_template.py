"""What this format is for, in one sentence: it is what `ftcore ls` shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftcore.errors import ExportError
from ftcore.export.exporters._base import Exporter

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.models.outputs import Sample, Text


class Template(Exporter):
    """What a recipe says about this format."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "NAME"}
    TASKS: ClassVar[tuple[str, ...]] = ("classification",)
    """Kinds of tasks whose models this format can hold; of several parts, where every part's is among them."""

    kind: Literal["NAME"] = "NAME"

    def export(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        folder: Path,
        sample: Sample | None = None,
    ) -> None:
        """Write one folder for each name, and prove each on the sample: see ``ftcore.export.exporters._parity``."""
        raise ExportError(
            f"say how {type(model).__name__} becomes {self.names()[0]} in {folder} with {type(tokenizer).__name__}"
        )

    @classmethod
    def load(
        cls, folder: Path, max_length_tokens: int, threads: int
    ) -> Callable[[Sequence[Text]], dict[str, np.ndarray]]:
        """The exported model: texts to ``logits``, ``[texts, labels]``; of several parts to ``PART.logits``."""
        raise ExportError(f"say how {folder} is opened with {threads} threads and {max_length_tokens} tokens")
