"""What a model of this task does, in one sentence: it is what `ftcore ls` shows.

``tasks/_base.py`` says what each method is given and returns, and has a default for all that are not here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ftcore.errors import NotEnoughDataError
from ftcore.models import loading
from ftcore.models.features import Features, tokenize
from ftcore.models.outputs import given
from ftcore.tasks._base import Task

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Faults, Rows
    from ftcore.models.outputs import Outputs, Text


class Template(Task):
    """What a recipe says about this task."""

    EXAMPLE: ClassVar = {"kind": "NAME", "labels": ["a", "b"]}
    ROW: ClassVar = {"text": "what the model reads", "context": None, "label": "a"}
    TARGET = "label"
    METRICS: ClassVar = {"accuracy": "higher"}

    kind: Literal["NAME"] = "NAME"
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    """Label names in the order of the model's outputs."""

    def check_rows(self, rows: Rows) -> Faults:
        """Say of each cleaned row that cannot be used why not, with the value that is wrong as ``repr``."""
        return {place: f"{label!r} is no label" for place, label in enumerate(rows.label) if label not in self.labels}

    def load(self, base: Path) -> PreTrainedModel:
        """The base model with a head for this task; safetensors only, no remote code."""
        from transformers import AutoModelForSequenceClassification

        return loading.pretrained(AutoModelForSequenceClassification, base, num_labels=len(self.labels))

    def check(self, rows: Mapping[str, pa.Table]) -> None:
        """Check that the splits, ``train`` and ``validation``, suffice to learn from."""
        for split, table in rows.items():
            if not set(self.labels) <= set(table["label"].to_pylist()):
                raise NotEnoughDataError(f"the {split} split lacks a label", hint="add rows with it")

    def encode(self, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
        """What the model reads and what it is to answer, not padded."""
        ids, truncated = tokenize(tokenizer, given(rows), max_length_tokens)
        labels = [self.labels.index(label) for label in rows["label"].to_pylist()]
        return Features({"input_ids": ids, "labels": labels}, rows["row_id"].to_pylist(), truncated)

    def reader(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
    ) -> Callable[[Sequence[Text]], Outputs]:
        """Torch predictions of a loaded model: texts to outputs, a row each."""
        raise NotImplementedError("predict with the model")

    def answers(self, outputs: Outputs) -> tuple[list[str], np.ndarray]:
        """The likeliest label of each row, and its probability."""
        import numpy as np

        return [self.labels[number] for number in np.argmax(outputs, -1)], np.max(outputs, -1)

    def tallies(self, rows: pa.Table, outputs: Outputs) -> np.ndarray:
        """Whether the label was hit, and a one, ``[rows, 2]``."""
        import numpy as np

        truth = np.array([self.labels.index(label) for label in rows["label"].to_pylist()])
        return np.stack([np.argmax(outputs, -1) == truth, np.ones(len(truth))], axis=-1)

    def metrics(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Share of the rows whose label was hit."""
        return {"accuracy": sums[..., 0] / sums[..., 1]}
