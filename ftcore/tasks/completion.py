"""Go on with a text: plain language modelling on the company's own texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ftcore.models.features import Features
from ftcore.models.outputs import examples
from ftcore.tasks import _language, _rows
from ftcore.tasks._language import CausalTask

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Faults, Rows
    from ftcore.models.outputs import Outputs, Text


class Completion(CausalTask):
    """Causal language modelling on a row's ``text`` alone.

    A text longer than the window becomes several windows; nothing is cut off.
    """

    EXAMPLE: ClassVar = {"kind": "completion", "stride_tokens": 64}
    ROW: ClassVar = {"text": "The door was red, and nobody knew why."}
    TARGET = "none"
    METRICS: ClassVar = {"perplexity": "lower", "token_accuracy": "higher", "bits_per_byte": "lower"}

    kind: Literal["completion"] = "completion"
    stride_tokens: Annotated[int, Field(ge=1)] = 1
    """Tokens that a window repeats of the one before it, so that its first words have something before them; no loss is
    taken on them twice. Each token but a text's first is trained on exactly once, whatever the window."""

    def check_rows(self, rows: Rows) -> Faults:
        """Name rows without a text."""
        return _rows.missing(rows, text="text")

    def check(self, rows: Mapping[str, pa.Table]) -> None:
        """Whether there are rows to learn from and to judge by.

        Raises:
            NotEnoughDataError: a split has no row.
        """
        _language.wanted(rows, ["text"])

    def encode(self, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
        """Windows over the tokens of each text and its end."""
        ids, labels, owners = [], [], []
        for row_id, text in zip(rows["row_id"].to_pylist(), rows["text"].to_pylist(), strict=True):
            for window, learnt in _language.windows(tokenizer, text, max_length_tokens, self.stride_tokens):
                ids.append(window)
                labels.append(learnt)
                owners.append(row_id)
        return Features({"input_ids": ids, "labels": labels}, owners, packable=True)

    def reader(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
    ) -> Callable[[Sequence[Text]], np.ndarray]:
        """Of each text ``-log p``, its tokens and the tokens hit, ``[texts, 3]``."""
        likely = _language.likely(model, tokenizer, max_length_tokens, self.stride_tokens)
        return lambda texts: likely([one.text for one in examples(texts)])

    def plain(self, folder: Path, max_length_tokens: int) -> Callable[[Sequence[str]], np.ndarray]:
        """How likely a saved model finds plain texts: ``-log p``, tokens and tokens hit of each, ``[texts, 3]``."""
        return _language.plain(folder, max_length_tokens, self.stride_tokens)

    def valid(self, label: str | None) -> bool:
        """Every row can be learnt from: it needs no label."""
        del label
        return True

    def tallies(self, rows: pa.Table, outputs: Outputs) -> np.ndarray:
        """Log likelihood, tokens, tokens hit and UTF-8 bytes of each row, ``[rows, 4]``."""
        import numpy as np

        size = [len((text or "").encode()) for text in rows["text"].to_pylist()]
        return np.column_stack([np.asarray(outputs).reshape(-1, 3), np.array(size, float)])

    def metrics(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Perplexity, accuracy of the next token, and bits a byte, which compares models of other vocabularies, too."""
        import numpy as np

        tokens = np.where(sums[..., 1] > 0, sums[..., 1], np.nan)
        return {
            "perplexity": np.exp(sums[..., 0] / tokens),
            "token_accuracy": sums[..., 2] / tokens,
            "bits_per_byte": sums[..., 0] / math.log(2) / np.where(sums[..., 3] > 0, sums[..., 3], np.nan),
        }
