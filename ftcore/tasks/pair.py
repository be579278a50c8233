"""A number for a text, or for two: similarity, relevance, a rating."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from ftcore._find import Config as Base
from ftcore.errors import DataRejectedError
from ftcore.outputs import given, pairs
from ftcore.tasks import _language
from ftcore.training.features import Collator, Features, segments, tokenize

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.outputs import Text
    from ftcore.statistics import Better

EXAMPLE = {"kind": "pair"}
TARGET = "number"
GENERATIVE = False
STANDS_ON = "encoder"
METRICS: dict[str, Better] = {"pearson": "higher", "mae": "lower", "rmse": "lower"}


class Config(Base):
    """Regression: ``label`` is a number that belongs to ``text``, or to ``text`` and ``context`` together."""

    kind: Literal["pair"] = "pair"


def load(config: Config, base: Path) -> PreTrainedModel:
    """The base model with a fresh head of one output; safetensors only, no remote code."""
    from transformers import AutoModelForSequenceClassification

    del config
    made: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        base,
        num_labels=1,
        problem_type="regression",
        use_safetensors=True,
        trust_remote_code=False,
        dtype="float32",
        ignore_mismatched_sizes=True,
    )
    return made


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
    texts = given(rows)
    ids, truncated = tokenize(tokenizer, texts, max_length_tokens)
    kinds = segments(tokenizer, texts, max_length_tokens)
    labels = [float(label) for label in rows["label"].to_pylist()]
    return Features({"input_ids": ids, "labels": labels, **kinds}, rows["row_id"].to_pylist(), truncated)


def collator(config: Config, tokenizer: PreTrainedTokenizerBase) -> Collator:
    """Pads each batch to its longest row."""
    from transformers import DataCollatorWithPadding

    del config
    padded: Collator = DataCollatorWithPadding(tokenizer)
    return padded


def predictor(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[Text]], np.ndarray]:
    """Torch predictions of a saved model: texts, or texts with contexts, to numbers ``[rows]``."""
    from transformers import AutoModelForSequenceClassification

    from ftcore.training.loading import tokenizer as load_tokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    return reader(config, model.eval(), load_tokenizer(folder), max_length_tokens)


def reader(
    config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
) -> Callable[[Sequence[Text]], np.ndarray]:
    """The same of a model that is loaded already."""
    import torch

    def predict(texts: Sequence[Text]) -> np.ndarray:
        batch = tokenizer(
            pairs(texts), truncation=True, max_length=max_length_tokens, padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            return outputs(config, model(**batch).logits.float().numpy())

    return predict


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
    """A one, x, y, x², y², xy and |x − y| of each row, with x predicted and y right, ``[rows, 7]``."""
    import numpy as np

    del config
    y, x = np.array([float(label) for label in rows["label"].to_pylist()]), np.asarray(outputs, np.float64)
    return np.column_stack([np.ones(len(y)), x, y, x * x, y * y, x * y, np.abs(x - y)])


def metrics(config: Config, sums: np.ndarray) -> dict[str, np.ndarray]:
    """Pearson's correlation, mean absolute error, root of the mean squared error."""
    import numpy as np

    del config
    rows = np.where(sums[..., 0] > 0, sums[..., 0], np.nan)
    x, y, xx, yy, xy, off = (sums[..., place] / rows for place in range(1, 7))
    spread = np.sqrt(np.maximum(xx - x * x, 0) * np.maximum(yy - y * y, 0))
    return {
        "pearson": np.where(spread > 0, (xy - x * y) / np.where(spread > 0, spread, 1), np.nan),
        "mae": off,
        "rmse": np.sqrt(np.maximum(xx + yy - 2 * xy, 0)),
    }
