"""One tag for each word: names, products, amounts in a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from ftcore._find import Config as Base
from ftcore.context import log
from ftcore.errors import DataRejectedError, NotEnoughDataError
from ftcore.outputs import examples
from ftcore.tasks import _rows, _sequence
from ftcore.training import loading
from ftcore.training.features import IGNORED, Collator, Features

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from torch import nn
    from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.outputs import Outputs, Text
    from ftcore.statistics import Better

EXAMPLE = {"kind": "tagging", "labels": ["O", "B-PER", "I-PER"]}
TARGET = "text"
ARCHITECTURE = "AutoModelForTokenClassification"
GENERATIVE = False
STANDS_ON = "encoder"
METRICS: dict[str, Better] = {"f1": "higher", "precision": "higher", "recall": "higher", "accuracy": "higher"}
MISMATCHED = 0.05
"""Largest share of rows whose words and tags may differ in number: masking personal data can join words."""


class Config(Base):
    """A row's ``label`` holds one tag for each word of its ``text``, words and tags parted by white space."""

    kind: Literal["tagging"] = "tagging"
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    """Tags in the order of the model's outputs; ``O`` for words that are part of nothing, ``B-`` and ``I-`` before the
    names of what begins and goes on."""

    @field_validator("labels")
    @classmethod
    def _are_distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("each tag may stand here once")
        if wrong := [tag for tag in value if tag != "O" and tag[:2] not in {"B-", "I-"}]:
            raise ValueError(f"expected O, B-NAME and I-NAME, got {', '.join(wrong)}")
        return value


parse_rows, clean_rows, check_rows = _rows.parse_rows, _rows.clean_written, _rows.check_rows


def load(config: Config, base: Path) -> PreTrainedModel:
    """The base model with a fresh head over its tokens; safetensors only, no remote code."""
    from transformers import AutoModelForTokenClassification

    return loading.pretrained(AutoModelForTokenClassification, base, **_sequence.named(config.labels))


def check(config: Config, rows: Mapping[str, pa.Table]) -> None:
    """Whether the tags are known, belong to their words, and something but ``O`` is there to learn.

    Raises:
        NotEnoughDataError: a split has no tag but ``O``.
        DataRejectedError: unknown tags, or more than a few rows have another number of tags than of words.
    """
    for split, table in rows.items():
        tags = [(label or "").split() for label in table["label"].to_pylist()]
        found = {tag for row in tags for tag in row}
        if not found - {"O"}:
            raise NotEnoughDataError(f"no word of the {split} split has a tag", hint="add rows with tags")
        if unknown := sorted(found - set(config.labels)):
            raise DataRejectedError(
                f"the {split} split has tags that task.labels does not name",
                unknown,
                hint=f"the tags are {', '.join(config.labels)}",
            )
        bad = [row for row, good in zip(table["row_id"].to_pylist(), _aligned(table), strict=True) if not good]
        if len(bad) > MISMATCHED * table.num_rows:
            raise DataRejectedError(
                f"{len(bad):,} of {table.num_rows:,} rows of the {split} split have not one tag for each word",
                [f"row {row}" for row in bad],
                hint="words and tags are parted by white space",
            )


def encode(config: Config, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
    """Token numbers, and each word's tag on its first token."""
    import pyarrow as pa

    good = _aligned(rows)
    if not all(good):
        log.warning("%d rows are left out: they have not one tag for each word", good.count(False))
        rows = rows.filter(pa.array(good, pa.bool_()))
    number = {label: place for place, label in enumerate(config.labels)}
    words = [text.split() for text in rows["text"].to_pylist()]
    encoded = _encoded(tokenizer, words, max_length_tokens)
    labels = []
    for place, tags in enumerate(label.split() for label in rows["label"].to_pylist()):
        of_token = encoded.word_ids(place)
        first = [word is not None and word not in of_token[:token] for token, word in enumerate(of_token)]
        labels.append([number[tags[w]] if new else IGNORED for w, new in zip(of_token, first, strict=True)])
    truncated = sum(bool(one.overflowing) for one in encoded.encodings or ())
    return Features({"input_ids": encoded["input_ids"], "labels": labels}, rows["row_id"].to_pylist(), truncated)


def collator(config: Config, tokenizer: PreTrainedTokenizerBase) -> Collator:
    """Pads tokens and tags."""
    from transformers import DataCollatorForTokenClassification

    del config
    padded: Collator = DataCollatorForTokenClassification(tokenizer, label_pad_token_id=IGNORED)
    return padded


def predictor(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[Text]], list[list[str]]]:
    """Torch predictions of a saved model: texts to a list of tags, one a word; ``O`` beyond the longest length."""
    from transformers import AutoModelForTokenClassification

    from ftcore.training.loading import tokenizer as load_tokenizer

    model = AutoModelForTokenClassification.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    return reader(config, model.eval(), load_tokenizer(folder), max_length_tokens)


def reader(
    config: Config, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
) -> Callable[[Sequence[Text]], list[list[str]]]:
    """The same of a model that is loaded already."""
    import torch

    def predict(texts: Sequence[Text]) -> list[list[str]]:
        split = [one.text.split() for one in examples(texts)]
        encoded = _encoded(tokenizer, split, max_length_tokens)
        # On the right whatever side is the tokenizer's own, so that tokens keep the positions that words are found by.
        batch = tokenizer.pad({"input_ids": encoded["input_ids"]}, padding_side="right", return_tensors="pt")
        with torch.inference_mode():
            best = model(**batch).logits.argmax(-1).tolist()
        return [_of_words(config, encoded.word_ids(place), best[place], len(row)) for place, row in enumerate(split)]

    return predict


def answers(config: Config, outputs: Outputs) -> tuple[list[str], np.ndarray]:
    """The tags of each row, parted by spaces."""
    import numpy as np

    del config
    return [" ".join(tags) for tags in outputs], np.full(len(outputs), np.nan)


def valid(config: Config, label: str | None) -> bool:
    """Whether every tag is known."""
    return bool(label) and set(str(label).split()) <= set(config.labels)


def tallies(config: Config, rows: pa.Table, outputs: Outputs) -> np.ndarray:
    """For each kind of entity those found, said and there; at the end words hit and words, ``[rows, 3 × kinds + 2]``.

    An entity counts where its kind and both its ends are right: E. F. Tjong Kim Sang and F. De Meulder (2003).
    """
    import numpy as np
    from seqeval.metrics.sequence_labeling import get_entities

    names = _names(config)
    found = np.zeros((rows.num_rows, 3 * len(names) + 2))
    for place, (tags, label) in enumerate(zip(outputs, rows["label"].to_pylist(), strict=True)):
        right = (label or "").split()
        said = [*tags, *["O"] * len(right)][: len(right)]
        guessed, there = set(get_entities(said)), set(get_entities(right))
        for column, entities in enumerate((guessed & there, guessed, there)):
            for name, *_ in entities:
                found[place, 3 * names.index(name) + column] += 1
        found[place, -2:] = sum(one == other for one, other in zip(said, right, strict=True)), len(right)
    return found


def metrics(config: Config, sums: np.ndarray) -> dict[str, np.ndarray]:
    """F1, precision and recall of whole entities over all kinds, and accuracy of the words.

    Where neither the rows nor the predictions have an entity, the first three are NaN.
    """
    import numpy as np

    hit, said, there = (sums[..., column:-2:3].sum(-1) for column in range(3))
    words = np.where(sums[..., -1] > 0, sums[..., -1], np.nan)

    def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.where(said + there > 0, part / np.maximum(whole, 1), np.nan)

    return {
        "f1": ratio(2 * hit, said + there),
        "precision": ratio(hit, said),
        "recall": ratio(hit, there),
        "accuracy": sums[..., -2] / words,
    }


def _names(config: Config) -> list[str]:
    """Kinds of entity, in the order in which the tags name them."""
    return list(dict.fromkeys(tag[2:] or "_" for tag in config.labels if tag != "O"))  # seqeval calls no name _


def _aligned(rows: pa.Table) -> list[bool]:
    texts, labels = rows["text"].to_pylist(), rows["label"].to_pylist()
    return [len(text.split()) == len((label or "").split()) for text, label in zip(texts, labels, strict=True)]


def _encoded(tokenizer: PreTrainedTokenizerBase, words: list[list[str]], length: int) -> BatchEncoding:
    return tokenizer(
        words,
        is_split_into_words=True,
        truncation=True,
        max_length=length,
        return_attention_mask=False,
        return_token_type_ids=False,
    )


def _of_words(config: Config, of_token: list[int | None], best: list[int], count: int) -> list[str]:
    """The tag of each word: that of its first token."""
    tags = ["O"] * count
    for word, label in reversed(list(zip(of_token, best, strict=False))):
        if word is not None:
            tags[word] = config.labels[label]
    return tags
