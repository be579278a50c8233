"""One label for each text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from ftcore._find import Config as Base
from ftcore.errors import DataRejectedError, NotEnoughDataError
from ftcore.training.features import Collator, Features, tokenize

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EXAMPLE = {"kind": "classification", "labels": ["ham", "spam"]}
TARGET = "label"
METRICS = ("accuracy", "f1", "precision", "recall")


class Config(Base):
    """Single-label classification with two or more labels."""

    kind: Literal["classification"] = "classification"
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    """Label names in the order of the model's outputs; with two, the second is the positive one for F1, precision
    and recall."""

    @field_validator("labels")
    @classmethod
    def _are_distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("each label may stand here once")
        return value


def load(config: Config, base: Path) -> PreTrainedModel:
    """The base model with a fresh classification head; safetensors only, no remote code."""
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(
        base,
        num_labels=len(config.labels),
        id2label=dict(enumerate(config.labels)),
        label2id={label: number for number, label in enumerate(config.labels)},
        use_safetensors=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,
    )


def check(config: Config, rows: Mapping[str, pa.Table]) -> None:
    """Whether there is something to learn and something to judge it by: every label occurs in every split.

    Raises:
        NotEnoughDataError: a label has no row in a split.
        DataRejectedError: rows have labels that the recipe does not know.
    """
    for split, table in rows.items():
        found = set(table["label"].to_pylist())
        if missing := [label for label in config.labels if label not in found]:
            raise NotEnoughDataError(
                f"the {split} split has {table.num_rows} rows and none with the label {', '.join(missing)}",
                hint="add rows with that label, or take it out of task.labels",
            )
        if unknown := sorted(found - set(config.labels)):
            raise DataRejectedError(
                f"the {split} split has labels that task.labels does not name",
                [str(label) for label in unknown],
                hint=f"the labels are {', '.join(config.labels)}",
            )


def encode(config: Config, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
    """Token numbers of each text and the number of its label."""
    numbers = {label: number for number, label in enumerate(config.labels)}
    ids, truncated = tokenize(tokenizer, rows["text"].to_pylist(), max_length_tokens)
    labels = [numbers[label] for label in rows["label"].to_pylist()]
    return Features({"input_ids": ids, "labels": labels}, rows["row_id"].to_pylist(), truncated)


def collator(config: Config, tokenizer: PreTrainedTokenizerBase) -> Collator:
    """Pads each batch to its longest row."""
    from transformers import DataCollatorWithPadding

    del config
    padded: Collator = DataCollatorWithPadding(tokenizer)
    return padded


def predictor(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[str]], np.ndarray]:
    """Torch predictions of a saved model: texts to an array of probabilities, ``[texts, labels]``."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    del config
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, use_safetensors=True, trust_remote_code=False
    ).eval()

    def predict(texts: Sequence[str]) -> np.ndarray:
        batch = tokenizer(list(texts), truncation=True, max_length=max_length_tokens, padding=True, return_tensors="pt")
        with torch.inference_mode():
            return probabilities(model(**batch).logits.float().numpy())

    return predict


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    import numpy as np

    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def metrics(config: Config, truth: np.ndarray, predicted: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, F1, precision and recall of rows that are given as kinds of rows and how often each kind occurs.

    Args:
        config: two labels give the scores of the second one, more labels the macro average.
        truth: true label number of each kind, ``[kinds]``.
        predicted: predicted label number of each kind, ``[kinds]``.
        counts: how often each kind occurs, ``[kinds]`` or ``[resamples, kinds]``.

    Returns:
        Each metric, as a number or ``[resamples]``. A ratio of nothing counts as 0, as in scikit-learn.
    """
    import numpy as np

    positives = range(1, 2) if len(config.labels) == 2 else range(len(config.labels))
    scores: dict[str, list[Any]] = {"f1": [], "precision": [], "recall": []}
    for label in positives:
        hit = counts @ ((truth == label) & (predicted == label))
        said, there = counts @ (predicted == label), counts @ (truth == label)
        scores["f1"].append(2 * hit / np.maximum(said + there, 1))
        scores["precision"].append(hit / np.maximum(said, 1))
        scores["recall"].append(hit / np.maximum(there, 1))
    accuracy = counts @ (truth == predicted) / np.maximum(counts.sum(-1), 1)
    return {"accuracy": accuracy, **{name: np.mean(values, axis=0) for name, values in scores.items()}}
