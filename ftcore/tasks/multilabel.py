"""Any number of labels for each text: topics, tags, complaints that are several things at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ftcore.data.cleaning import label_names
from ftcore.tasks import _labels, _language, _rows, _sequence
from ftcore.tasks._labels import Labelled
from ftcore.tasks._sequence import SequenceTask

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Faults, Rows
    from ftcore.models.features import Features
    from ftcore.models.outputs import Outputs


class MultiLabel(Labelled, SequenceTask):
    """A row's ``label`` holds the labels that apply, as a list or parted by ``separator``; nothing where none does."""

    EXAMPLE: ClassVar = {"kind": "multilabel", "labels": ["billing", "delivery", "quality"], "separator": ";"}
    ROW: ClassVar = {"text": "It came late and broken.", "context": None, "label": ["delivery", "quality"]}
    TARGET = "labels"
    SUPPORTS_LABEL_SMOOTHING = False
    STRUCTURES = ("label",)
    METRICS: ClassVar = {"f1_micro": "higher", "f1_macro": "higher", "subset_accuracy": "higher"}

    kind: Literal["multilabel"] = "multilabel"
    separator: Annotated[str, Field(min_length=1)] = ","
    """Stands between two labels of a row; spaces around labels count for nothing."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Probability from which a label applies."""
    other_labels: Literal["reject", "ignore"] = "reject"
    """What happens to a label that is none of these: ``reject`` counts its row as a fault of the data, ``ignore`` drops
    the label and keeps the row with the others."""

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> MultiLabel:
        if bad := [label for label in self.labels if self.separator in label or label != label.strip() or not label]:
            raise ValueError(f"labels must be whole between two separators, which {bad[0]!r} is not")
        return self

    def parse_rows(self, rows: Rows) -> Faults:
        """Write the labels of each row in the recipe's order, parted by its separator; a label twice is one.

        A cell may hold a list, as JSON or as Python writes it. A row with another label stays as it came.
        """
        names = label_names.Names(self.labels)
        read = {cell: self._read(names, cell) for cell in set(rows.label)}
        faults = {place: why for place, cell in enumerate(rows.label) if (why := read[cell][1])}
        rows.label = [read[cell][0] for cell in rows.label]
        return faults

    def check_rows(self, rows: Rows) -> Faults:
        """Name rows without a text; rows without a label are none of any label."""
        return _rows.missing(rows, text="text")

    def labels_in(self, label: str | None) -> list[str]:
        """The labels of a row, for counts."""
        return self.split_labels(label)

    def nothing_to_learn(self, labels: Collection[str]) -> str:
        """Why a train split with these labels teaches nothing; empty where it teaches something."""
        return "" if labels else "no row of the train split has a label"

    def load(self, base: Path) -> PreTrainedModel:
        """The base model with a fresh head, one output a label; safetensors only, no remote code."""
        return _sequence.load(base, **_sequence.named(self.labels), problem_type="multi_label_classification")

    def check(self, rows: Mapping[str, pa.Table]) -> None:
        """Whether each split has rows, with no label but those of the recipe.

        Raises:
            NotEnoughDataError: a split has no row, or the train split no label at all.
            DataRejectedError: rows have labels that the recipe does not know.
        """
        _language.wanted(rows, ["text"])
        found = {
            split: {label for row in table["label"].to_pylist() for label in self.split_labels(row)}
            for split, table in rows.items()
        }
        _labels.covered(self.labels, found, rows, f", parted by {self.separator!r}")
        _labels.learnable(self.nothing_to_learn(found.get("train", self.labels)))

    def encode(self, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
        """Token numbers of each text, and a one or a zero for each label."""
        return _sequence.encoded(tokenizer, rows, max_length_tokens, self._truth(rows).astype(float).tolist())

    def outputs(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities from what an export gives: the logistic function of each."""
        import numpy as np

        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))))

    def answers(self, outputs: Outputs) -> tuple[list[str], np.ndarray]:
        """The labels that apply, and how sure the model is of the one it is least sure of, applied or not."""
        import numpy as np

        sure = np.asarray(outputs)
        said = [
            self.separator.join(label for label, applies in zip(self.labels, row, strict=True) if applies)
            for row in sure >= self.threshold
        ]
        return said, np.maximum(sure, 1 - sure).min(-1)

    def valid(self, label: str | None) -> bool:
        """Whether all labels of a row are known; a row may have none."""
        return set(self.split_labels(label)) <= set(self.labels)

    def tallies(self, rows: pa.Table, outputs: Outputs) -> np.ndarray:
        """For each row and label whether it was hit, said and there; whether all are right, and a one.

        Returns:
            ``[rows, 3 × labels + 2]``.
        """
        import numpy as np

        there = self._truth(rows)
        said = np.asarray(outputs).reshape(there.shape) >= self.threshold
        exact = (said == there).all(-1, keepdims=True)
        return np.hstack([there & said, said, there, exact, np.ones_like(exact)]).astype(np.float64)

    def metrics(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """F1 over all decisions, mean F1 of the labels present, and the share of rows in which every label is right.

        A label is present where a row has it or a prediction names it; without any, both F1 are NaN.
        """
        import numpy as np

        hit, said, there = np.split(sums[..., :-2], 3, axis=-1)
        rows = np.where(sums[..., -1] > 0, sums[..., -1], np.nan)

        def f1(hit: np.ndarray, whole: np.ndarray) -> np.ndarray:
            return _sequence.mean_of_labels(2 * hit, whole, whole > 0)

        return {
            "f1_micro": f1(hit.sum(-1, keepdims=True), (said + there).sum(-1, keepdims=True)),
            "f1_macro": f1(hit, said + there),
            "subset_accuracy": sums[..., -2] / rows,
        }

    def split_labels(self, label: str | None) -> list[str]:
        """The labels in a cell."""
        return [one for part in (label or "").split(self.separator) if (one := part.strip())]

    def _read(self, names: label_names.Names, cell: str | None) -> tuple[str, str]:
        """A cell as the recipe writes it, and what is wrong with it, if anything."""
        given = _rows.chosen(cell or "", self.separator)
        found = {one: names.find(one) for one in given if label_names.visible(one)}
        other = [one for one, name in found.items() if name is None]
        if other and self.other_labels == "reject":
            return cell or "", "; ".join(label_names.none_of(one, self.labels) for one in sorted(other))
        there = set(found.values())
        return self.separator.join(label for label in self.labels if label in there), ""

    def _truth(self, rows: pa.Table) -> np.ndarray:
        """Which labels apply, ``[rows, labels]``."""
        import numpy as np

        found = [set(self.split_labels(label)) for label in rows["label"].to_pylist()]
        return np.array([[label in row for label in self.labels] for row in found], bool).reshape(-1, len(self.labels))
