"""Go on with a text: plain language modelling on the company's own texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.models.features import Collator, Features
from ftcore.models.outputs import examples
from ftcore.recipe.kinds import Config as Base
from ftcore.tasks import _language, _rows

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Faults, Rows
    from ftcore.models.outputs import Example, Text
    from ftcore.statistics.intervals import Better

EXAMPLE = {"kind": "completion", "stride_tokens": 64}
ROW = {"text": "The door was red, and nobody knew why."}
"""A row that the task takes, as a line of JSON."""
TARGET = "none"
ARCHITECTURE = "AutoModelForCausalLM"
GENERATIVE = True
STANDS_ON = "causal"
METRICS: dict[str, Better] = {"perplexity": "lower", "token_accuracy": "higher", "bits_per_byte": "lower"}


class Config(Base):
    """Causal language modelling on a row's ``text`` alone.

    A text longer than the window becomes several windows; nothing is cut off.
    """

    kind: Literal["completion"] = "completion"
    stride_tokens: Annotated[int, Field(ge=1)] = 1
    """Tokens that a window repeats of the one before it, so that its first words have something before them; no loss is
    taken on them twice. Each token but a text's first is learnt exactly once, whatever the window."""


parse_rows, clean_rows = _rows.parse_rows, _rows.clean_read


def check_rows(config: Config, rows: Rows) -> Faults:
    """Name rows without a text."""
    del config
    return _rows.missing(rows, text="text")


def load(config: Config, base: Path) -> PreTrainedModel:
    """The base model as it is; safetensors only, no remote code."""
    del config
    return _language.causal(base)


def check(config: Config, rows: Mapping[str, pa.Table]) -> None:
    """Whether there are rows to learn from and to judge by.

    Raises:
        NotEnoughDataError: a split has no row.
    """
    del config
    _language.wanted(rows, ["text"])


def encode(config: Config, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
    """Windows over the tokens of each text and its end."""
    ids, labels, owners = [], [], []
    for row_id, text in zip(rows["row_id"].to_pylist(), rows["text"].to_pylist(), strict=True):
        for window, learnt in _language.windows(tokenizer, text, max_length_tokens, config.stride_tokens):
            ids.append(window)
            labels.append(learnt)
            owners.append(row_id)
    return Features({"input_ids": ids, "labels": labels}, owners, packable=True)


def collator(config: Config, tokenizer: PreTrainedTokenizerBase) -> Collator:
    """Pads tokens and labels."""
    del config
    return _language.padding(tokenizer)


def predictor(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[Text]], np.ndarray]:
    """Torch predictions of a saved model: of each text ``-log p``, its tokens and the tokens hit, ``[texts, 3]``."""
    from ftcore.models.loading import tokenizer as load_tokenizer

    return reader(config, _language.causal(folder).eval(), load_tokenizer(folder), max_length_tokens)


def reader(
    config: Config, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
) -> Callable[[Sequence[Text]], np.ndarray]:
    """The same of a model that is loaded already."""
    likely = _language.likely(model, tokenizer, max_length_tokens, config.stride_tokens)
    return lambda texts: likely([one.text for one in examples(texts)])


def plain(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[str]], np.ndarray]:
    """How likely a saved model finds plain texts: of each ``-log p``, its tokens and the tokens hit, ``[texts, 3]``."""
    return _language.plain(folder, max_length_tokens, config.stride_tokens)


answers = _language.answers


def valid(config: Config, label: str | None) -> bool:
    """Every row can be learnt from: it needs no label."""
    del config, label
    return True


def tallies(config: Config, rows: pa.Table, outputs: np.ndarray) -> np.ndarray:
    """Log likelihood, tokens, tokens hit and UTF-8 bytes of each row, ``[rows, 4]``."""
    import numpy as np

    del config
    size = [len((text or "").encode()) for text in rows["text"].to_pylist()]
    return np.column_stack([outputs.reshape(-1, 3), np.array(size, float)])


def metrics(config: Config, sums: np.ndarray) -> dict[str, np.ndarray]:
    """Perplexity, accuracy of the next token, and bits a byte, which compares models with other vocabularies, too."""
    import numpy as np

    del config
    tokens = np.where(sums[..., 1] > 0, sums[..., 1], np.nan)
    return {
        "perplexity": np.exp(sums[..., 0] / tokens),
        "token_accuracy": sums[..., 2] / tokens,
        "bits_per_byte": sums[..., 0] / math.log(2) / np.where(sums[..., 3] > 0, sums[..., 3], np.nan),
    }


def prompt(config: Config, one: Example) -> str:
    """A row as what the model goes on with, for methods that learn from rewards."""
    del config
    return one.text
