"""One tag for each word: names, products, amounts in a text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from ftcore.data.cleaning import aligned, label_names
from ftcore.data.cleaning.aligned import split_words
from ftcore.data.cleaning.rows import Plain
from ftcore.models import loading
from ftcore.models.features import IGNORED, Collator, Features
from ftcore.models.outputs import examples
from ftcore.tasks import _labels, _rows, _sequence
from ftcore.tasks._labels import Label, Labelled
from ftcore.tasks._sequence import EncoderTask

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from torch import nn
    from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Editor, Faults, Rows
    from ftcore.models.outputs import Outputs, Text

log = logging.getLogger(__name__)


class Tagging(Labelled, EncoderTask):
    """A row's ``label`` holds one tag for each word of its ``text``.

    Both are lists, or texts in which blanks part words and tags; a no-break space is part of its word.
    """

    EXAMPLE: ClassVar = {"kind": "tagging", "labels": ["O", "B-PER", "I-PER"]}
    ROW: ClassVar = {"text": ["Ann", "Lee", "left"], "label": ["B-PER", "I-PER", "O"]}
    TARGET = "text"
    ARCHITECTURE = "AutoModelForTokenClassification"
    STRUCTURES = ("text", "label")
    METRICS: ClassVar = {"f1": "higher", "precision": "higher", "recall": "higher", "accuracy": "higher"}

    kind: Literal["tagging"] = "tagging"
    labels: Annotated[tuple[Label, ...], Field(min_length=2)]
    """Tags in the order of the model's outputs; ``O`` for words that are part of nothing, ``B-`` and ``I-`` before the
    names of what begins and goes on."""
    other_labels: Literal["reject", "ignore"] = "reject"
    """What happens to rows with another tag: ``reject`` counts them as faults of the data, ``ignore`` leaves them out
    as the recipe's own filter."""

    @field_validator("labels")
    @classmethod
    def _are_tags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [tag for tag in value if tag != "O" and (tag[:2] not in {"B-", "I-"} or tag.split() != [tag])]:
            raise ValueError(f"expected O, B-NAME and I-NAME, got {', '.join(wrong)}")
        return value

    def clean_rows(self, rows: Rows, editor: Editor) -> None:
        """Clean text word by word, so that each keeps its tag; tags are none that people wrote."""
        rows.text[:] = aligned.words(editor, rows.text, range(len(rows)))
        Plain.clean_rows(rows, editor, ("context",))

    def parse_rows(self, rows: Rows) -> Faults:
        """Words parted by one space, a blank inside a word being a no-break space; tags as the recipe writes them.

        Text and label may hold lists, as JSON or as Python writes them.
        """
        names, known = label_names.Names(self.labels), set(self.labels)
        found: Faults = {}
        for place, (text, label) in enumerate(zip(rows.text, rows.label, strict=True)):
            tokens = _rows.listed((text or "").strip())
            if tokens and None in tokens:
                found[place] = f"word {tokens.index(None) + 1} of the text is null"
                continue
            if tokens and all(isinstance(token, str) for token in tokens):
                blank = next((number for number, token in enumerate(tokens) if not _inside(token)), None)
                if blank is not None:
                    found[place] = f"word {blank + 1} of the text is blank: {tokens[blank]!r}"
                    continue
                rows.text[place] = join_words(tokens)
            elif text is not None:
                rows.text[place] = " ".join(split_words(text))
            if label is not None:
                tags = label.split()
                if not known.issuperset(tags):
                    tags = [names.find(tag) or tag for tag in _rows.chosen(label, None)]
                rows.label[place] = " ".join(tags) or None
        return found

    def check_rows(self, rows: Rows) -> Faults:
        """Name rows without words or tags, with a tag that the recipe does not list, or not one tag for each word."""
        found, known = _rows.missing(rows, text="text", label="label"), set(self.labels)
        for place, (text, label) in enumerate(zip(rows.text, rows.label, strict=True)):
            if place in found:
                continue
            words, tags = split_words(text), (label or "").split()
            if not known.issuperset(tags):
                strange = next(tag for tag in tags if tag not in known)
                why = label_names.none_of(strange, self.labels, what="tag")
                number = " (a number is no tag: take its name)" if strange.isdigit() else ""
                found[place] = self.refused(why + number)
            elif len(words) != len(tags):
                found[place] = f"the text has {len(words):,} words and the label {len(tags):,} tags"
        return found

    def labels_in(self, label: str | None) -> set[str]:
        """The tags of a row, for counts of rows."""
        return set((label or "").split())

    def nothing_to_learn(self, labels: Collection[str]) -> str:
        """Why a train split with these tags teaches nothing; empty where it teaches something."""
        return "" if set(labels) - {"O"} else "no word of the train split has a tag"

    def load(self, base: Path) -> PreTrainedModel:
        """The base model with a fresh head over its tokens; safetensors only, no remote code."""
        from transformers import AutoModelForTokenClassification

        return loading.pretrained(AutoModelForTokenClassification, base, **_sequence.named(self.labels))

    def check(self, rows: Mapping[str, pa.Table]) -> None:
        """Whether each split has rows, and something but ``O`` is there to learn.

        Raises:
            NotEnoughDataError: a split has no row, or the train split no tag but ``O``.
            DataRejectedError: rows have tags that the recipe does not list.
        """
        found = {
            split: {tag for label in table["label"].unique().to_pylist() for tag in (label or "").split()}
            for split, table in rows.items()
        }
        _labels.covered(self.labels, found, rows)
        _labels.learnable(self.nothing_to_learn(found.get("train", self.labels)))

    def encode(self, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
        """Token numbers, and each word's tag on its first token."""
        import pyarrow as pa

        good = _aligned(rows)
        if not all(good):
            log.warning("%d rows are left out: they have not one tag for each word", good.count(False))
            rows = rows.filter(pa.array(good, pa.bool_()))
        number = {label: place for place, label in enumerate(self.labels)}
        words = [split_words(text) for text in rows["text"].to_pylist()]
        encoded = _encoded(tokenizer, words, max_length_tokens)
        labels = []
        for place, tags in enumerate(label.split() for label in rows["label"].to_pylist()):
            of_token = encoded.word_ids(place)
            first = [word is not None and word not in of_token[:token] for token, word in enumerate(of_token)]
            labels.append([number[tags[w]] if new else IGNORED for w, new in zip(of_token, first, strict=True)])
        truncated = sum(bool(one.overflowing) for one in encoded.encodings or ())
        return Features({"input_ids": encoded["input_ids"], "labels": labels}, rows["row_id"].to_pylist(), truncated)

    def collator(self, tokenizer: PreTrainedTokenizerBase) -> Collator:
        """Pads tokens and tags."""
        from transformers import DataCollatorForTokenClassification

        padded: Collator = DataCollatorForTokenClassification(tokenizer, label_pad_token_id=IGNORED)
        return padded

    def reader(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
    ) -> Callable[[Sequence[Text]], list[list[str]]]:
        """Texts to a list of tags, one a word; ``O`` beyond the longest length."""
        import torch

        def predict(texts: Sequence[Text]) -> list[list[str]]:
            split = [split_words(one.text) for one in examples(texts)]
            encoded = _encoded(tokenizer, split, max_length_tokens)
            # On the right whatever side is the tokenizer's own, so that tokens keep the positions of their words.
            batch = tokenizer.pad({"input_ids": encoded["input_ids"]}, padding_side="right", return_tensors="pt")
            with torch.inference_mode():
                best = model(**batch).logits.argmax(-1).tolist()
            return [self._of_words(encoded.word_ids(place), best[place], len(row)) for place, row in enumerate(split)]

        return predict

    def answers(self, outputs: Outputs) -> tuple[list[str], np.ndarray]:
        """The tags of each row, parted by spaces."""
        import numpy as np

        return [" ".join(tags) for tags in outputs], np.full(len(outputs), np.nan)

    def valid(self, label: str | None) -> bool:
        """Whether every tag is known."""
        return bool(label) and set(str(label).split()) <= set(self.labels)

    def tallies(self, rows: pa.Table, outputs: Outputs) -> np.ndarray:
        """For each kind of entity those found, said and there; then words hit and words, ``[rows, 3 × kinds + 2]``.

        An entity counts where its kind and both its ends are right: E. F. Tjong Kim Sang and F. De Meulder (2003).
        """
        import numpy as np
        from seqeval.metrics.sequence_labeling import get_entities

        names = self._names()
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

    def metrics(self, sums: np.ndarray) -> dict[str, np.ndarray]:
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

    def _names(self) -> list[str]:
        """Kinds of entity, in the order in which the tags name them."""
        return list(dict.fromkeys(tag[2:] or "_" for tag in self.labels if tag != "O"))  # seqeval calls no name _

    def _of_words(self, of_token: list[int | None], best: list[int], count: int) -> list[str]:
        """The tag of each word: that of its first token."""
        tags = ["O"] * count
        for word, label in reversed(list(zip(of_token, best, strict=False))):
            if word is not None:
                tags[word] = self.labels[label]
        return tags


def join_words(words: Iterable[str]) -> str:
    """A text whose words are these: a blank inside a word becomes a no-break space."""
    return " ".join(_inside(word) for word in words)


def _inside(word: str) -> str:
    return "\xa0".join(word.split())


def _aligned(rows: pa.Table) -> list[bool]:
    texts, labels = rows["text"].to_pylist(), rows["label"].to_pylist()
    return [len(split_words(text)) == len((label or "").split()) for text, label in zip(texts, labels, strict=True)]


def _encoded(tokenizer: PreTrainedTokenizerBase, words: list[list[str]], length: int) -> BatchEncoding:
    return tokenizer(
        words,
        is_split_into_words=True,
        truncation=True,
        max_length=length,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
