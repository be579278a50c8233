"""What tasks share whose models give one row of outputs for each text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ftcore.data.cleaning.rows import Plain
from ftcore.models import loading
from ftcore.models.base import with_prefix
from ftcore.models.features import Features, pad_as, segments, tokenize, tokens
from ftcore.models.outputs import given
from ftcore.tasks._base import Task

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Editor, Rows
    from ftcore.models.outputs import Outputs, Text


class EncoderTask(Task):
    """A task whose models are an encoder with a head."""

    BACKBONE = "encoder"

    def predictor(self, folder: Path, max_length_tokens: int) -> Callable[[Sequence[Text]], Outputs]:
        """Torch predictions of a saved model: see ``reader``."""
        return self.reader(restored(self.ARCHITECTURE, folder).eval(), loading.tokenizer(folder), max_length_tokens)


class SequenceTask(EncoderTask):
    """A task with one row of outputs for each text, and its context where it has one."""

    def clean_rows(self, rows: Rows, editor: Editor) -> None:
        """Clean text and context; a label of a fixed set, or a number, is none that people wrote.

        Whether entities are resolved is decided once for a row: not where either of the two is HTML.
        """
        every = (rows.text, rows.context)
        html = {place for texts in every for place, text in enumerate(texts) if text and "<" in text}
        Plain.clean_rows(rows, editor, ("text", "context"), lines=False, html=html)

    def reader(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
    ) -> Callable[[Sequence[Text]], Outputs]:
        """What ``outputs`` makes of the logits of a loaded model."""
        said = logits(model, tokenizer, max_length_tokens)
        return lambda texts: self.outputs(said(texts))

    def predictor(self, folder: Path, max_length_tokens: int) -> Callable[[Sequence[Text]], Outputs]:
        """The same of a saved model."""
        return self.reader(*saved(folder), max_length_tokens)


def load(base: Path, **head: Any) -> PreTrainedModel:
    """The base model with a fresh head, described as transformers does; safetensors only, no remote code."""
    from transformers import AutoModelForSequenceClassification

    return loading.pretrained(AutoModelForSequenceClassification, base, **head)


def named(labels: Sequence[str]) -> dict[str, Any]:
    """One output a label, as transformers describes it."""
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
    }


def encoded(tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int, labels: list[Any]) -> Features:
    """Token numbers of each text, with its context behind it, and what the model is to answer."""
    texts = given(rows)
    ids, truncated = tokenize(tokenizer, texts, max_length_tokens)
    kinds = segments(tokenizer, texts, max_length_tokens)
    return Features({"input_ids": ids, "labels": labels, **kinds}, rows["row_id"].to_pylist(), truncated)


def restored(architecture: str, folder: Path) -> PreTrainedModel:
    """A saved model by its class in transformers; safetensors only, no remote code."""
    import transformers

    kind = getattr(transformers, architecture)
    return kind.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)


def saved(folder: Path) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    """A saved model, with the prefix that may lie beside it, and its tokenizer."""
    words, plain = loading.tokenizer(folder), restored(Task.ARCHITECTURE, folder)
    pad_as(plain, words)
    return with_prefix(plain, folder).eval(), words


def logits(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
) -> Callable[[Sequence[Text]], np.ndarray]:
    """What a model says of texts, ``[texts, outputs]``."""
    import torch

    def said(texts: Sequence[Text]) -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = model(**tokens(model, tokenizer, texts, max_length_tokens)).logits.float().numpy()
        return found

    return said


def mean_of_labels(part: np.ndarray, whole: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Mean of a ratio over the labels present, ``[…]``; 0 for a present label whose ratio has no denominator.

    Args:
        part: numerators, ``[…, labels]``.
        whole: denominators, ``[…, labels]``.
        present: which labels occur in the rows or in the predictions, ``[…, labels]``; where none does, the mean is
            NaN. It is what scikit-learn averages over when it is given no ``labels``.
    """
    import numpy as np

    ratios = np.divide(part, whole, out=np.zeros(part.shape), where=present & (whole > 0))
    count = present.sum(-1)
    return np.asarray(np.where(count > 0, ratios.sum(-1) / np.maximum(count, 1), np.nan))
