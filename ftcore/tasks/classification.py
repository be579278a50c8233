"""One label for each text."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ftcore.data.cleaning import label_names
from ftcore.tasks import _labels, _rows, _sequence
from ftcore.tasks._labels import Label, Labelled
from ftcore.tasks._sequence import SequenceTask

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Faults, Rows
    from ftcore.models.features import Features
    from ftcore.models.outputs import Outputs


class Classification(Labelled, SequenceTask):
    """Single-label classification: a row's ``text``, with its ``context`` where it has one, has one of the labels."""

    EXAMPLE: ClassVar = {"kind": "classification", "labels": ["ham", "spam"]}
    ROW: ClassVar = {"text": "You have won a prize.", "context": None, "label": "spam"}
    METRICS: ClassVar = {"accuracy": "higher", "f1": "higher", "precision": "higher", "recall": "higher"}

    kind: Literal["classification"] = "classification"
    labels: Annotated[tuple[Label, ...], Field(min_length=2)]
    """Label names in the order of the model's outputs; with two, the second is the positive one for F1, precision
    and recall; with more, these are means over the labels that occur in the rows or in the predictions."""

    def parse_rows(self, rows: Rows) -> Faults:
        """Write each label as the recipe does; one that is none of the recipe's stays as it came."""
        rows.label = _labels.normalized(self.labels, rows.label)
        return {}

    def check_rows(self, rows: Rows) -> Faults:
        """Name rows without a text, without a label, or with a label that the recipe does not list."""
        reasons = {
            value: "label is missing" if value is None else self.refused(label_names.none_of(value, self.labels))
            for value in set(rows.label) - set(self.labels)
        }
        bad = {place: reasons[value] for place, value in enumerate(rows.label) if value in reasons} if reasons else {}
        return bad | _rows.missing(rows, text="text")

    def labels_in(self, label: str | None) -> tuple[str, ...]:
        """The label of a row, for counts."""
        return () if label is None else (label,)

    def nothing_to_learn(self, labels: Collection[str]) -> str:
        """Why a train split with these labels teaches nothing; empty where it teaches something."""
        return _labels.several(labels)

    def load(self, base: Path) -> PreTrainedModel:
        """The base model with a fresh classification head; safetensors only, no remote code."""
        return _sequence.load(base, **_sequence.named(self.labels))

    def check(self, rows: Mapping[str, pa.Table]) -> None:
        """Whether there is something to learn: rows in each split, all with labels of the recipe.

        Raises:
            NotEnoughDataError: a split has no row, or the train split a single label.
            DataRejectedError: rows have labels that the recipe does not know.
        """
        found = {split: set(table["label"].to_pylist()) for split, table in rows.items()}
        _labels.covered(self.labels, found, rows)
        _labels.learnable(self.nothing_to_learn(found.get("train", self.labels)))

    def encode(self, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
        """Token numbers of each text and the number of its label."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        labels = [numbers[label] for label in rows["label"].to_pylist()]
        return _sequence.encoded(tokenizer, rows, max_length_tokens, labels)

    def outputs(self, logits: np.ndarray) -> Outputs:
        """Probabilities from what an export gives: softmax over the last axis."""
        import numpy as np

        exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))

    def answers(self, outputs: Outputs) -> tuple[list[str], np.ndarray]:
        """The likeliest label of each row, and its probability."""
        import numpy as np

        return [self.labels[number] for number in np.argmax(outputs, -1)], np.max(outputs, -1)

    def valid(self, label: str | None) -> bool:
        """Whether a row with this label can be learnt from and judged on."""
        return label in self.labels

    def tallies(self, rows: pa.Table, outputs: Outputs) -> np.ndarray:
        """For each row and label whether it was hit, said and there, and a one: ``[rows, 3 × labels + 1]``.

        Args:
            rows: with the true ``label``.
            outputs: probabilities, ``[rows, labels]``.
        """
        import numpy as np

        number = {label: place for place, label in enumerate(self.labels)}
        numbers = np.arange(len(self.labels))
        there = np.array([number[label] for label in rows["label"].to_pylist()], int)[:, None] == numbers
        said = np.argmax(outputs, -1)[:, None] == numbers if len(outputs) else there
        return np.hstack([there & said, said, there, np.ones((len(there), 1), bool)]).astype(np.float64)

    def metrics(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Accuracy, F1, precision and recall, as in scikit-learn.

        Args:
            sums: of tallies, ``[…, 3 × labels + 1]``.

        Returns:
            Each metric, ``[…]``. A label is present where a row has it or a prediction names it; of a present label a
            ratio of nothing is 0. Without a present label, or without any row, a metric is NaN.
        """
        import numpy as np

        (hit, said, there), rows = np.split(sums[..., :-1], 3, axis=-1), sums[..., -1]
        scored = slice(1, 2) if len(self.labels) == 2 else slice(None)
        present = (said + there)[..., scored] > 0
        return {
            "accuracy": hit.sum(-1) / np.where(rows > 0, rows, np.nan),
            "f1": _sequence.mean_of_labels((2 * hit)[..., scored], (said + there)[..., scored], present),
            "precision": _sequence.mean_of_labels(hit[..., scored], said[..., scored], present),
            "recall": _sequence.mean_of_labels(hit[..., scored], there[..., scored], present),
        }
