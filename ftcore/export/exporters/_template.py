"""What this format is for, in one sentence: it is what `ftcore ls` shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from ftcore.errors import ExportError
from ftcore.recipe.kinds import Config as Base

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.models.outputs import Sample, Text

EXAMPLE = {"kind": "NAME"}
TASKS: tuple[str, ...] = ("classification",)
"""Kinds of tasks whose models this format can hold; of several parts, where every part's is among them."""


class Config(Base):
    """What a recipe says about this format."""

    kind: Literal["NAME"] = "NAME"


def names(config: Config) -> list[str]:
    """Names of the folders that ``export`` writes, the one that serves first."""
    return [config.kind]


def exact(config: Config) -> list[str]:
    """Those that compute in the precision of the trained model, so that their outputs must be the model's."""
    return names(config)


def export(
    config: Config,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    sample: Sample | None = None,
) -> None:
    """Write one folder for each name, and prove each on the sample: see ``ftcore.export.exporters._parity``.

    Raises:
        ExportError: the model cannot be translated.
        ParityError: an export gives other outputs than the model, or a row's depend on what else is in its batch.
    """
    del sample
    raise ExportError(
        f"say how {type(model).__name__} becomes {names(config)[0]} in {folder} with {type(tokenizer).__name__}"
    )


def load(folder: Path, max_length_tokens: int, threads: int) -> Callable[[Sequence[Text]], dict[str, np.ndarray]]:
    """The exported model: texts to ``logits``, ``[texts, labels]``, or to ``PART.logits`` of each part of the task."""
    raise ExportError(f"say how {folder} is opened with {threads} threads and {max_length_tokens} tokens")
