"""A number for a text, or for two: similarity, relevance, a rating."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from ftcore._find import Config as Base
from ftcore.errors import DataRejectedError
from ftcore.tasks import _language, _rows, _sequence

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.outputs import Text
    from ftcore.statistics import Better
    from ftcore.training.features import Features

EXAMPLE = {"kind": "pair"}
TARGET = "number"
GENERATIVE = False
STANDS_ON = "encoder"
CHOOSES = False
METRICS: dict[str, Better] = {"pearson": "higher", "mae": "lower", "rmse": "lower"}
ROUNDING = 1e-13
"""Variance below this share of the mean square is rounding."""


class Config(Base):
    """Regression: ``label`` is a number that belongs to ``text``, or to ``text`` and ``context`` together."""

    kind: Literal["pair"] = "pair"


parse_rows, clean_rows, check_rows = _rows.parse_rows, _rows.clean_chosen, _rows.check_rows


def load(config: Config, base: Path) -> PreTrainedModel:
    """The base model with a fresh head of one output; safetensors only, no remote code."""
    del config
    return _sequence.load(base, num_labels=1, problem_type="regression")


def check(config: Config, rows: Mapping[str, pa.Table]) -> None:
    """Whether there are rows, each with a number.

    Raises:
        NotEnoughDataError: a split has no row.
        DataRejectedError: a label is no number.
    """
    _language.wanted(rows, ["text", "label"])
    for split, table in rows.items():
        columns = zip(table["row_id"].to_pylist(), table["label"].to_pylist(), strict=True)
        if bad := [f"row {row}: {label!r}" for row, label in columns if not valid(config, label)]:
            raise DataRejectedError(f"{len(bad):,} labels of the {split} split are no numbers", bad)


def encode(config: Config, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
    """Token numbers of each text, with its context behind it, and the number."""
    del config
    labels = [float(label) for label in rows["label"].to_pylist()]
    return _sequence.encoded(tokenizer, rows, max_length_tokens, labels)


collator = _sequence.collator


def predictor(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[Text]], np.ndarray]:
    """Torch predictions of a saved model: texts, or texts with contexts, to numbers ``[rows]``."""
    return reader(config, *_sequence.saved(folder), max_length_tokens)


def reader(
    config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
) -> Callable[[Sequence[Text]], np.ndarray]:
    """The same of a model that is loaded already."""
    said = _sequence.logits(model, tokenizer, max_length_tokens)
    return lambda texts: outputs(config, said(texts))


def outputs(config: Config, logits: np.ndarray) -> np.ndarray:
    """Numbers from what an export gives, ``[rows, 1]``."""
    del config
    return logits.reshape(-1)


def answers(config: Config, outputs: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The number, as text and as the score."""
    del config
    return [f"{value:.6g}" for value in outputs], outputs


def valid(config: Config, label: str | None) -> bool:
    """Whether a label is a finite number."""
    del config
    try:
        return math.isfinite(float(label or ""))
    except ValueError:
        return False


def tallies(config: Config, rows: pa.Table, outputs: np.ndarray) -> np.ndarray:
    """A one, x, y, x², y², xy, |x − y| and (x − y)² of each row, with x predicted and y right, ``[rows, 8]``."""
    import numpy as np

    del config
    y, x = np.array([float(label) for label in rows["label"].to_pylist()]), np.asarray(outputs, np.float64)
    return np.column_stack([np.ones(len(y)), x, y, x * x, y * y, x * y, np.abs(x - y), (x - y) ** 2])


def metrics(config: Config, sums: np.ndarray) -> dict[str, np.ndarray]:
    """Pearson's correlation, mean absolute error, root of the mean squared error.

    Without variance on either side there is no correlation: it is NaN.
    """
    import numpy as np

    del config
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
