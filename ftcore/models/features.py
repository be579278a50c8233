"""Rows as a model reads them: token ids and what is to be learnt, each row of its own length."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from ftcore.models.outputs import Text, pairs

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import BatchEncoding, PreTrainedTokenizerBase

Collator: TypeAlias = "Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]"
"""Makes a batch of rows: pads them and adds the attention mask."""
IGNORED = -100
"""Label of a token that is read but not learnt: no loss is taken on it."""


@dataclass(frozen=True)
class Features:
    """Encoded rows, in their order. One row of a table may become several, such as the windows of a long text."""

    columns: Mapping[str, Sequence[Any]]
    """``input_ids`` (token numbers of each row), ``labels`` and whatever else the model's ``forward`` takes; all of
    one length. The attention mask is the collator's."""
    row_ids: Sequence[str]
    """Which row of the snapshot each one came from."""
    truncated: int = 0
    """Rows that were cut to the longest length allowed."""
    packable: bool = False
    """Whether several rows may share one sequence: true for causal models, where ``labels`` has one number a token."""
    parts: Sequence[str] = ()
    """Which part of a task of several parts each row belongs to: a batch holds rows of one. Empty where it has none."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Share of the batches that each part gets."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Rows that were left out since the model cannot be given them: row id and reason."""

    def __len__(self) -> int:
        """Number of encoded rows."""
        return len(self.row_ids)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """One row, not padded; a column that its part does not have is None, and left out."""
        return {name: values[number] for name, values in self.columns.items() if values[number] is not None}

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(ids) for ids in self.columns["input_ids"]]

    @cached_property
    def tokens(self) -> int:
        """Tokens of all rows, without padding."""
        return sum(self.lengths)


def segments(tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], max_length_tokens: int) -> dict[str, Any]:
    """``token_type_ids`` of texts with a context, where the model tells segments apart; else nothing."""
    if "token_type_ids" not in tokenizer.model_input_names or all(isinstance(text, str) for text in pairs(texts)):
        return {}
    encoded = tokenizer(
        pairs(texts),
        truncation=True,
        max_length=max_length_tokens,
        return_attention_mask=False,
        return_token_type_ids=True,
    )
    return {"token_type_ids": encoded["token_type_ids"]}


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], max_length_tokens: int
) -> tuple[list[list[int]], int]:
    """Token numbers of each text, special tokens included, and how many texts were cut to ``max_length_tokens``."""
    encoded = tokenizer(
        pairs(texts),
        truncation=True,
        max_length=max_length_tokens,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    return encoded["input_ids"], sum(bool(one.overflowing) for one in encoded.encodings or ())


def padding_side(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> str:
    """On which side rows are padded in training and prediction, ``left`` or ``right``.

    On the right, a token's position does not depend on what else is in the batch; a decoder's head looks up the last
    token that is no padding. Only models that read the last position, such as XLNet, go by their tokenizer's own side.
    """
    last = getattr(model.config, "summary_type", None) == "last"
    return str(tokenizer.padding_side) if last else "right"


def padding_as(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A copy of a tokenizer that pads as models are trained and predict, see ``padding_side``."""
    words = copy.deepcopy(tokenizer)
    words.padding_side = padding_side(model, tokenizer)
    return words


def pad_as(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let the model know the tokenizer's token for padding: a decoder's head reads the last token that is another."""
    for config in (model.config, model.config.get_text_config()):
        config.pad_token_id = tokenizer.pad_token_id


def tokens(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], max_length_tokens: int
) -> BatchEncoding:
    """A padded batch of texts for a classifier, ``[texts, tokens]`` each.

    A text without any token, which no model reads, becomes one token of padding that is attended to.
    """
    batch = tokenizer(
        pairs(texts),
        truncation=True,
        max_length=max_length_tokens,
        padding=True,
        padding_side=padding_side(model, tokenizer),
    )
    rows = range(len(batch["input_ids"]))
    if empty := [row for row in rows if not any(batch["attention_mask"][row])]:
        if not batch["input_ids"][0]:  # all rows are empty
            for name in batch:
                batch[name] = [[tokenizer.pad_token_id if name == "input_ids" else 0] for _ in rows]
        for row in empty:
            batch["attention_mask"][row][0] = 1
    return batch.convert_to_tensors("pt")
