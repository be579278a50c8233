"""One label for each text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from ftcore.recipe.kinds import Config as Base
from ftcore.tasks import _labels, _rows, _sequence
from ftcore.tasks._labels import Label

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Faults, Rows
    from ftcore.models.features import Features
    from ftcore.models.outputs import Text
    from ftcore.statistics.intervals import Better

EXAMPLE = {"kind": "classification", "labels": ["ham", "spam"]}
ROW = {"text": "You have won a prize.", "context": None, "label": "spam"}
"""A row that the task takes, as a line of JSON."""
TARGET = "label"
GENERATIVE = False
STANDS_ON = "encoder"
METRICS: dict[str, Better] = {"accuracy": "higher", "f1": "higher", "precision": "higher", "recall": "higher"}


class Config(Base):
    """Single-label classification: a row's ``text``, with its ``context`` where it has one, has one of the labels."""

    kind: Literal["classification"] = "classification"
    labels: Annotated[tuple[Label, ...], Field(min_length=2)]
    """Label names in the order of the model's outputs; with two, the second is the positive one for F1, precision
    and recall; with more, these are means over the labels that occur in the rows or in the predictions."""
    other_labels: Literal["reject", "ignore"] = "reject"
    """What happens to rows with another label: ``reject`` counts them as faults of the data, ``ignore`` leaves them
    out as the recipe's own filter."""

    @field_validator("labels")
    @classmethod
    def _are_distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _labels.distinct(value)


clean_rows = _rows.clean_chosen


def parse_rows(config: Config, rows: Rows) -> Faults:
    """Write each label as the recipe does; one that is none of the recipe's stays as it came."""
    rows.label = _labels.normalized(config.labels, rows.label)
    return {}


def check_rows(config: Config, rows: Rows) -> Faults:
    """Name rows without a text, without a label, or with a label that the recipe does not list."""
    return _labels.unusable(config, rows.label) | _rows.missing(rows, text="text")


def labels_in(config: Config, label: str | None) -> tuple[str, ...]:
    """The label of a row, for counts."""
    del config
    return () if label is None else (label,)


def nothing_to_learn(config: Config, labels: Collection[str | None]) -> str:
    """Why a train split with these labels teaches nothing; empty where it teaches something."""
    del config
    return _labels.several(labels)


def load(config: Config, base: Path) -> PreTrainedModel:
    """The base model with a fresh classification head; safetensors only, no remote code."""
    return _sequence.load(base, **_sequence.named(config.labels))


def check(config: Config, rows: Mapping[str, pa.Table]) -> None:
    """Whether there is something to learn: rows in each split, all with labels of the recipe.

    Raises:
        NotEnoughDataError: a split has no row, or the train split a single label.
        DataRejectedError: rows have labels that the recipe does not know.
    """
    found = {split: set(table["label"].to_pylist()) for split, table in rows.items()}
    _labels.covered(config.labels, found, rows)
    _labels.learnable(nothing_to_learn(config, found.get("train", config.labels)))


def encode(config: Config, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
    """Token numbers of each text and the number of its label."""
    numbers = {label: number for number, label in enumerate(config.labels)}
    labels = [numbers[label] for label in rows["label"].to_pylist()]
    return _sequence.encoded(tokenizer, rows, max_length_tokens, labels)


collator = _sequence.collator


def predictor(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[Text]], np.ndarray]:
    """Torch predictions of a saved model: texts to an array of probabilities, ``[texts, labels]``."""
    return reader(config, *_sequence.saved(folder), max_length_tokens)


def reader(
    config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
) -> Callable[[Sequence[Text]], np.ndarray]:
    """The same of a model that is loaded already."""
    said = _sequence.logits(model, tokenizer, max_length_tokens)
    return lambda texts: outputs(config, said(texts))


def outputs(config: Config, logits: np.ndarray) -> np.ndarray:
    """Probabilities from what an export gives: softmax over the last axis."""
    import numpy as np

    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def answers(config: Config, outputs: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The likeliest label of each row, and its probability."""
    return [config.labels[number] for number in outputs.argmax(-1)], outputs.max(-1)


def valid(config: Config, label: str | None) -> bool:
    """Whether a row with this label can be learnt from and judged on."""
    return label in config.labels


def tallies(config: Config, rows: pa.Table, outputs: np.ndarray) -> np.ndarray:
    """For each row and label whether it was hit, said and there, and a one: ``[rows, 3 × labels + 1]``.

    Args:
        config: of the task.
        rows: with the true ``label``.
        outputs: probabilities, ``[rows, labels]``.
    """
    import numpy as np

    number = {label: place for place, label in enumerate(config.labels)}
    numbers = np.arange(len(config.labels))
    there = np.array([number[label] for label in rows["label"].to_pylist()], int)[:, None] == numbers
    said = outputs.argmax(-1)[:, None] == numbers if len(outputs) else there
    return np.hstack([there & said, said, there, np.ones((len(there), 1), bool)]).astype(np.float64)


def metrics(config: Config, sums: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, F1, precision and recall, as in scikit-learn.

    Args:
        config: two labels give the scores of the second one, more labels the mean over the labels present.
        sums: of tallies, ``[…, 3 × labels + 1]``.

    Returns:
        Each metric, ``[…]``. A label is present where a row has it or a prediction names it; of a present label a ratio
        of nothing is 0. Without a present label, or without any row, a metric is NaN.
    """
    import numpy as np

    (hit, said, there), rows = np.split(sums[..., :-1], 3, axis=-1), sums[..., -1]
    scored = slice(1, 2) if len(config.labels) == 2 else slice(None)
    present = (said + there)[..., scored] > 0
    return {
        "accuracy": hit.sum(-1) / np.where(rows > 0, rows, np.nan),
        "f1": _sequence.mean_of_labels((2 * hit)[..., scored], (said + there)[..., scored], present),
        "precision": _sequence.mean_of_labels(hit[..., scored], said[..., scored], present),
        "recall": _sequence.mean_of_labels(hit[..., scored], there[..., scored], present),
    }
