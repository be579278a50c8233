"""What tasks share whose models give one row of outputs for each text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ftcore.base import with_prefix
from ftcore.outputs import given, pairs
from ftcore.training import loading
from ftcore.training.features import Collator, Features, segments, tokenize

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore._find import Config
    from ftcore.outputs import Text


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


def collator(config: Config, tokenizer: PreTrainedTokenizerBase) -> Collator:
    """Pads each batch to its longest row."""
    from transformers import DataCollatorWithPadding

    del config
    padded: Collator = DataCollatorWithPadding(tokenizer)
    return padded


def saved(folder: Path) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    """A saved model, with the prefix that may lie beside it, and its tokenizer."""
    from transformers import AutoModelForSequenceClassification

    from ftcore.training.loading import tokenizer as load_tokenizer

    plain = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    return with_prefix(plain, folder).eval(), load_tokenizer(folder)


def logits(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
) -> Callable[[Sequence[Text]], np.ndarray]:
    """What a model says of texts, ``[texts, outputs]``."""
    import torch

    def said(texts: Sequence[Text]) -> np.ndarray:
        batch = tokenizer(
            pairs(texts), truncation=True, max_length=max_length_tokens, padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            found: np.ndarray = model(**batch).logits.float().numpy()
        return found

    return said
