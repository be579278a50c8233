"""A number for a text, or for two: similarity, relevance, a rating."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from ftcore.data.cleaning import label_names
from ftcore.errors import DataRejectedError
from ftcore.tasks import _language, _rows, _sequence
from ftcore.tasks._sequence import SequenceTask

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Faults, Rows
    from ftcore.models.features import Features
    from ftcore.models.outputs import Outputs


ROUNDING = 1e-13
"""Variance below this share of the mean square is rounding."""


class Pair(SequenceTask):
    """Regression: ``label`` is a number that belongs to ``text``, or to ``text`` and ``context`` together."""

    EXAMPLE: ClassVar = {"kind": "pair"}
    ROW: ClassVar = {"text": "A man plays a guitar.", "context": "Somebody makes music.", "label": 3.8}
    TARGET = "number"
    SUPPORTS_LABEL_SMOOTHING = False
    METRICS: ClassVar = {"pearson": "higher", "mae": "lower", "rmse": "lower"}

    kind: Literal["pair"] = "pair"

    def parse_rows(self, rows: Rows) -> Faults:
        """Write each number in its shortest form, so that 1, 1.0 and 1e0 are one; what is none stays as it came."""
        short = {label: _number(label) for label in set(rows.label)}
        rows.label = [short[label] for label in rows.label]
        return {}

    def check_rows(self, rows: Rows) -> Faults:
        """Name rows without a text, and labels that are no finite numbers."""
        wrong = {label: _wrong(label) for label in set(rows.label) if not self.valid(label)}
        bad = {place: wrong[label] for place, label in enumerate(rows.label) if label in wrong} if wrong else {}
        return bad | _rows.missing(rows, text="text")

    def load(self, base: Path) -> PreTrainedModel:
        """The base model with a fresh head of one output; safetensors only, no remote code."""
        return _sequence.load(base, num_labels=1, problem_type="regression")

    def check(self, rows: Mapping[str, pa.Table]) -> None:
        """Whether there are rows, each with a number.

        Raises:
            NotEnoughDataError: a split has no row.
            DataRejectedError: a label is no number, as in snapshots of earlier versions.
        """
        _language.wanted(rows, ["text", "label"])
        for split, table in rows.items():
            if bad := [label for label in table["label"].unique().to_pylist() if not self.valid(label)]:
                raise DataRejectedError(f"labels of the {split} split are no numbers", [_wrong(label) for label in bad])

    def encode(self, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
        """Token numbers of each text, with its context behind it, and the number."""
        labels = [float(label) for label in rows["label"].to_pylist()]
        return _sequence.encoded(tokenizer, rows, max_length_tokens, labels)

    def outputs(self, logits: np.ndarray) -> np.ndarray:
        """Numbers from what an export gives, ``[rows, 1]``."""
        return logits.reshape(-1)

    def answers(self, outputs: Outputs) -> tuple[list[str], np.ndarray]:
        """The number, as text and as the score."""
        import numpy as np

        return [f"{value:.6g}" for value in outputs], np.asarray(outputs)

    def valid(self, label: str | None) -> bool:
        """Whether a label is a finite number."""
        return _finite(label or "")

    def tallies(self, rows: pa.Table, outputs: Outputs) -> np.ndarray:
        """A one, x, y, x², y², xy, |x − y| and (x − y)² of each row, with x predicted and y right, ``[rows, 8]``."""
        import numpy as np

        y, x = np.array([float(label) for label in rows["label"].to_pylist()]), np.asarray(outputs, np.float64)
        return np.column_stack([np.ones(len(y)), x, y, x * x, y * y, x * y, np.abs(x - y), (x - y) ** 2])

    def metrics(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Pearson's correlation, mean absolute error, root of the mean squared error.

        Without variance on either side there is no correlation: it is NaN.
        """
        import numpy as np

        rows = np.where(sums[..., 0] > 0, sums[..., 0], np.nan)
        x, y, xx, yy, xy, off, squared = (sums[..., place] / rows for place in range(1, 8))

        def variance(mean: np.ndarray, square: np.ndarray) -> np.ndarray:
            # The difference of two nearly equal sums: what is left of equal numbers is rounding, no variance.
            found = square - mean * mean
            return np.where(found > ROUNDING * square, found, 0)

        spread = np.sqrt(variance(x, xx) * variance(y, yy))
        return {
            "pearson": np.where(spread > 0, (xy - x * y) / np.where(spread > 0, spread, 1), np.nan),
            "mae": off,
            "rmse": np.sqrt(squared),
        }


def _finite(label: str) -> bool:
    try:
        return "_" not in label and math.isfinite(float(label))
    except ValueError:
        return False


def _number(label: str | None) -> str | None:
    plain = label_names.visible(label or "")
    if not _finite(plain):
        return label if plain else None
    value = float(plain)
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _wrong(label: str | None) -> str:
    if label is None:
        return "label is missing"
    comma = ": write decimals with a point" if _finite(label.replace(",", ".")) else ""
    return f"label {label_names.shown(label)} is no finite number{comma}"
