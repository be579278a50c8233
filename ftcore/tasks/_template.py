"""What a model of this task does, in one sentence: it is what `ftcore ls` shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore._find import Config as Base
from ftcore.errors import NotEnoughDataError
from ftcore.training.features import Collator, Features, tokenize

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EXAMPLE = {"kind": "NAME", "labels": ["a", "b"]}
TARGET = "label"
"""What the label of a row is: ``label`` one of the task's labels, ``number`` a number, ``text`` a text that somebody
wrote, ``none`` where the text itself is learnt."""
METRICS = ("accuracy",)


class Config(Base):
    """What a recipe says about this task."""

    kind: Literal["NAME"] = "NAME"
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    """Label names in the order of the model's outputs."""


def load(config: Config, base: Path) -> PreTrainedModel:
    """The base model with a head for this task; safetensors only, no remote code."""
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(config.labels), use_safetensors=True)


def check(config: Config, rows: Mapping[str, pa.Table]) -> None:
    """Whether the splits, ``train`` and ``validation``, are enough to learn from; says what is missing where not."""
    for split, table in rows.items():
        if not set(config.labels) <= set(table["label"].to_pylist()):
            raise NotEnoughDataError(f"the {split} split lacks a label", hint="add rows with it")


def encode(config: Config, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
    """What the model reads and what it is to answer, not padded; label a token ``IGNORED`` to take no loss on it."""
    ids, truncated = tokenize(tokenizer, rows["text"].to_pylist(), max_length_tokens)
    labels = [config.labels.index(label) for label in rows["label"].to_pylist()]
    return Features({"input_ids": ids, "labels": labels}, rows["row_id"].to_pylist(), truncated)


def collator(config: Config, tokenizer: PreTrainedTokenizerBase) -> Collator:
    """Pads a list of encoded rows to one length and makes tensors of them, with the attention mask."""
    from transformers import DataCollatorWithPadding

    del config
    padded: Collator = DataCollatorWithPadding(tokenizer)
    return padded


def predictor(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[str]], np.ndarray]:
    """Torch predictions of a saved model: texts to probabilities, ``[texts, labels]``."""
    raise LookupError(f"say how {config.kind} predicts from {folder} with at most {max_length_tokens} tokens")


def probabilities(logits: np.ndarray) -> np.ndarray:
    """What the model's outputs mean, along the last axis."""
    return logits


def metrics(config: Config, truth: np.ndarray, predicted: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of kinds of rows ``[kinds]`` and how often each occurs, ``[kinds]`` or ``[resamples, kinds]``."""
    return {"accuracy": counts @ (truth == predicted) / counts.sum(-1)}
