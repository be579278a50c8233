"""Turn one text into another, with an encoder and a decoder: summaries, translations, corrections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.models import loading
from ftcore.models.features import Collator, Features, padding_as, tokenize
from ftcore.models.outputs import examples
from ftcore.recipe.kinds import Config as Base
from ftcore.tasks import _language, _rows

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Faults, Rows
    from ftcore.models.outputs import Example, Outputs, Text
    from ftcore.statistics.intervals import Better

EXAMPLE = {"kind": "seq2seq", "prefix": "summarize: "}
ROW = {"text": "The door, which was red, was left open.", "label": "The red door was open."}
"""A row that the task takes, as a line of JSON."""
TARGET = "text"
ARCHITECTURE = "AutoModelForSeq2SeqLM"
GENERATIVE = True
STANDS_ON = "encoder_decoder"
METRICS: dict[str, Better] = {**_language.WRITTEN, **_language.LIKELIHOOD}


class Config(Base):
    """Models of the T5 and BART families: ``text`` in, ``label`` out."""

    kind: Literal["seq2seq"] = "seq2seq"
    prefix: str = ""
    """Stands before every text, as T5 was taught: ``"summarize: "``."""
    judge_by: Literal["likelihood", "answers"] = "answers"
    """``answers`` lets the model write and compares: chrF, BLEU, ROUGE-L, exact matches. ``likelihood`` measures how
    likely the right texts are, in one pass."""
    answer_tokens: Annotated[int, Field(ge=1)] = 128
    """Longest text that is written, in tokens; longer targets are cut."""


parse_rows, clean_rows = _rows.parse_rows, _rows.clean_written


def check_rows(config: Config, rows: Rows) -> Faults:
    """Name rows without a text or a target."""
    del config
    return _rows.missing(rows, text="text", label="target")


def load(config: Config, base: Path) -> PreTrainedModel:
    """The base model as it is; safetensors only, no remote code."""
    from transformers import AutoModelForSeq2SeqLM

    del config
    return loading.pretrained(AutoModelForSeq2SeqLM, base, headless=False)


def check(config: Config, rows: Mapping[str, pa.Table]) -> None:
    """Whether there are texts with what they should become.

    Raises:
        NotEnoughDataError: a split has no row.
        DataRejectedError: rows have no target.
    """
    del config
    _language.wanted(rows, ["text", "label"])


def encode(config: Config, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
    """Token numbers of each text and of its target."""
    texts = [config.prefix + text for text in rows["text"].to_pylist()]
    ids, truncated = tokenize(tokenizer, texts, max_length_tokens)
    labels, cut = tokenize(tokenizer, rows["label"].to_pylist(), config.answer_tokens)
    return Features({"input_ids": ids, "labels": labels}, rows["row_id"].to_pylist(), max(truncated, cut))


def collator(config: Config, tokenizer: PreTrainedTokenizerBase) -> Collator:
    """Pads texts and targets; the model shifts the targets itself."""
    del config
    return _language.padding(tokenizer)


def predictor(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[Text]], Outputs]:
    """Torch predictions of a saved model: texts to texts, or to ``[rows, 3]`` where judged by likelihood."""
    from ftcore.models.loading import tokenizer as load_tokenizer

    return reader(config, load(config, folder).eval(), load_tokenizer(folder), max_length_tokens)


def reader(
    config: Config, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
) -> Callable[[Sequence[Text]], Outputs]:
    """The same of a model that is loaded already."""
    import torch

    words = padding_as(model, tokenizer)
    collate = collator(config, words)

    def batch(rows: list[Example]) -> dict[str, torch.Tensor]:
        features: list[dict[str, list[int]]] = [
            {"input_ids": ids}
            for ids in tokenize(words, [config.prefix + one.text for one in rows], max_length_tokens)[0]
        ]
        if _known(config, rows):
            answers, _ = tokenize(words, [one.answer or "" for one in rows], config.answer_tokens)
            features = [{**row, "labels": labels} for row, labels in zip(features, answers, strict=True)]
        return dict(collate(features))

    def predict(texts: Sequence[Text]) -> Outputs:
        rows = examples(texts)
        made = batch(rows)
        with torch.inference_mode():
            if _known(config, rows):
                return _language.likelihoods(model(**made).logits, made["labels"])
            made.pop("labels", None)
            written = words.batch_decode(_language.write(model, made, config.answer_tokens), skip_special_tokens=True)
            return [text.strip() for text in written]

    return predict


answers, valid = _language.answers, _language.valid
tallies, metrics = _language.tallies, _language.metrics


def _known(config: Config, rows: Sequence[Example]) -> bool:
    return config.judge_by == "likelihood" and all(one.answer is not None for one in rows)
