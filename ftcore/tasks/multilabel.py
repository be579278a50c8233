"""Any number of labels for each text: topics, tags, complaints that are several things at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from ftcore.data.cleaning import label_names
from ftcore.recipe.kinds import Config as Base
from ftcore.tasks import _labels, _language, _rows, _sequence
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

EXAMPLE = {"kind": "multilabel", "labels": ["billing", "delivery", "quality"], "separator": ";"}
ROW = {"text": "It came late and broken.", "context": None, "label": ["delivery", "quality"]}
"""A row that the task takes, as a line of JSON."""
TARGET = "labels"
GENERATIVE = False
STANDS_ON = "encoder"
CHOOSES = False
STRUCTURES = ("label",)
"""Fields that may be a list or an object in the source; they reach ``parse_rows`` as JSON."""
METRICS: dict[str, Better] = {"f1_micro": "higher", "f1_macro": "higher", "subset_accuracy": "higher"}


class Config(Base):
    """A row's ``label`` holds the labels that apply, as a list or parted by ``separator``; nothing where none does."""

    kind: Literal["multilabel"] = "multilabel"
    labels: Annotated[tuple[Label, ...], Field(min_length=2)]
    """Label names in the order of the model's outputs."""
    separator: Annotated[str, Field(min_length=1)] = ","
    """Stands between two labels of a row; spaces around labels count for nothing."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Probability from which a label applies."""
    other_labels: Literal["reject", "ignore"] = "reject"
    """What happens to a label that is none of these: ``reject`` counts its row as a fault of the data, ``ignore`` drops
    the label and keeps the row with the others."""

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Config:
        _labels.distinct(self.labels)
        if bad := [label for label in self.labels if self.separator in label or label != label.strip() or not label]:
            raise ValueError(f"labels must be whole between two separators, which {bad[0]!r} is not")
        return self


clean_rows = _rows.clean_chosen


def parse_rows(config: Config, rows: Rows) -> Faults:
    """Write the labels of each row in the recipe's order, parted by its separator; a label twice is one.

    A cell may hold a list, as JSON or as Python writes it. A row with another label stays as it came.
    """
    names = label_names.Names(config.labels)
    read = {cell: _read(config, names, cell) for cell in set(rows.label)}
    faults = {place: why for place, cell in enumerate(rows.label) if (why := read[cell][1])}
    rows.label = [read[cell][0] for cell in rows.label]
    return faults


def check_rows(config: Config, rows: Rows) -> Faults:
    """Name rows without a text; rows without a label are none of any label."""
    del config
    return _rows.missing(rows, text="text")


def labels_in(config: Config, label: str | None) -> list[str]:
    """The labels of a row, for counts."""
    return split_labels(config, label)


def nothing_to_learn(config: Config, labels: Collection[str]) -> str:
    """Why a train split with these labels teaches nothing; empty where it teaches something."""
    del config
    return "" if labels else "no row of the train split has a label"


def load(config: Config, base: Path) -> PreTrainedModel:
    """The base model with a fresh head, one output a label; safetensors only, no remote code."""
    return _sequence.load(base, **_sequence.named(config.labels), problem_type="multi_label_classification")


def check(config: Config, rows: Mapping[str, pa.Table]) -> None:
    """Whether each split has rows, with no label but those of the recipe.

    Raises:
        NotEnoughDataError: a split has no row, or the train split no label at all.
        DataRejectedError: rows have labels that the recipe does not know.
    """
    _language.wanted(rows, ["text"])
    found = {
        split: {label for row in table["label"].to_pylist() for label in split_labels(config, row)}
        for split, table in rows.items()
    }
    _labels.covered(config.labels, found, rows, f", parted by {config.separator!r}")
    _labels.learnable(nothing_to_learn(config, found.get("train", config.labels)))


def encode(config: Config, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
    """Token numbers of each text, and a one or a zero for each label."""
    return _sequence.encoded(tokenizer, rows, max_length_tokens, _truth(config, rows).astype(float).tolist())


collator = _sequence.collator


def predictor(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[Text]], np.ndarray]:
    """Torch predictions of a saved model: texts to a probability for each label, ``[texts, labels]``."""
    return reader(config, *_sequence.saved(folder), max_length_tokens)


def reader(
    config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
) -> Callable[[Sequence[Text]], np.ndarray]:
    """The same of a model that is loaded already."""
    said = _sequence.logits(model, tokenizer, max_length_tokens)
    return lambda texts: outputs(config, said(texts))


def outputs(config: Config, logits: np.ndarray) -> np.ndarray:
    """Probabilities from what an export gives: the logistic function of each."""
    import numpy as np

    del config
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))))


def answers(config: Config, outputs: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The labels that apply, and how sure the model is of the one it is least sure of, whether it applies or not."""
    import numpy as np

    said = [
        config.separator.join(label for label, applies in zip(config.labels, row, strict=True) if applies)
        for row in outputs >= config.threshold
    ]
    return said, np.maximum(outputs, 1 - outputs).min(-1)


def valid(config: Config, label: str | None) -> bool:
    """Whether all labels of a row are known; a row may have none."""
    return set(split_labels(config, label)) <= set(config.labels)


def tallies(config: Config, rows: pa.Table, outputs: np.ndarray) -> np.ndarray:
    """For each row and label whether it was hit, said and there; whether all are right, and a one.

    Returns:
        ``[rows, 3 × labels + 2]``.
    """
    import numpy as np

    there = _truth(config, rows)
    said = np.asarray(outputs).reshape(there.shape) >= config.threshold
    exact = (said == there).all(-1, keepdims=True)
    return np.hstack([there & said, said, there, exact, np.ones_like(exact)]).astype(np.float64)


def metrics(config: Config, sums: np.ndarray) -> dict[str, np.ndarray]:
    """F1 over all decisions, mean F1 of the labels present, and the share of rows in which every label is right.

    A label is present where a row has it or a prediction names it; without any, both F1 are NaN.
    """
    import numpy as np

    del config
    hit, said, there = np.split(sums[..., :-2], 3, axis=-1)
    rows = np.where(sums[..., -1] > 0, sums[..., -1], np.nan)

    def f1(hit: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return _sequence.mean_of_labels(2 * hit, whole, whole > 0)

    return {
        "f1_micro": f1(hit.sum(-1, keepdims=True), (said + there).sum(-1, keepdims=True)),
        "f1_macro": f1(hit, said + there),
        "subset_accuracy": sums[..., -2] / rows,
    }


def split_labels(config: Config, label: str | None) -> list[str]:
    """The labels in a cell."""
    return [one for part in (label or "").split(config.separator) if (one := part.strip())]


def _read(config: Config, names: label_names.Names, cell: str | None) -> tuple[str, str]:
    """A cell as the recipe writes it, and what is wrong with it, if anything."""
    given = _rows.chosen(cell or "", config.separator)
    found = {one: names.find(one) for one in given if label_names.visible(one)}
    other = [one for one, name in found.items() if name is None]
    if other and config.other_labels == "reject":
        return cell or "", "; ".join(label_names.none_of(one, config.labels) for one in sorted(other))
    there = set(found.values())
    return config.separator.join(label for label in config.labels if label in there), ""


def _truth(config: Config, rows: pa.Table) -> np.ndarray:
    """Which labels apply, ``[rows, labels]``."""
    import numpy as np

    found = [set(split_labels(config, label)) for label in rows["label"].to_pylist()]
    return np.array([[label in row for label in config.labels] for row in found], bool).reshape(-1, len(config.labels))
