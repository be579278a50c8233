"""Turn one text into another, with an encoder and a decoder: summaries, translations, corrections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ftcore.models import loading
from ftcore.models.features import Features, padding_as, tokenize
from ftcore.models.outputs import examples
from ftcore.tasks import _language, _rows
from ftcore.tasks._language import WrittenTask

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Faults, Rows
    from ftcore.models.outputs import Example, Outputs, Text


class Seq2Seq(WrittenTask):
    """Models of the T5 and BART families: ``text`` in, ``label`` out."""

    EXAMPLE: ClassVar = {"kind": "seq2seq", "prefix": "summarize: "}
    ROW: ClassVar = {"text": "The door, which was red, was left open.", "label": "The red door was open."}
    ARCHITECTURE = "AutoModelForSeq2SeqLM"
    BACKBONE = "encoder_decoder"
    METRICS: ClassVar = {**_language.WRITTEN, **_language.LIKELIHOOD}

    kind: Literal["seq2seq"] = "seq2seq"
    prefix: str = ""
    """Stands before every text, as T5 was taught: ``"summarize: "``."""
    judge_by: Literal["likelihood", "answers"] = "answers"
    """``answers`` lets the model write and compares: chrF, BLEU, ROUGE-L, exact matches. ``likelihood`` measures how
    likely the right texts are, in one pass."""
    answer_tokens: Annotated[int, Field(ge=1)] = 128
    """Longest text that is written, in tokens; longer targets are cut."""

    def check_rows(self, rows: Rows) -> Faults:
        """Name rows without a text or a target."""
        return _rows.missing(rows, text="text", label="target")

    def load(self, base: Path) -> PreTrainedModel:
        """The base model as it is; safetensors only, no remote code."""
        from transformers import AutoModelForSeq2SeqLM

        return loading.pretrained(AutoModelForSeq2SeqLM, base, headless=False)

    def encode(self, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
        """Token numbers of each text and of its target."""
        texts = [self.prefix + text for text in rows["text"].to_pylist()]
        ids, truncated = tokenize(tokenizer, texts, max_length_tokens)
        labels, cut = tokenize(tokenizer, rows["label"].to_pylist(), self.answer_tokens)
        return Features({"input_ids": ids, "labels": labels}, rows["row_id"].to_pylist(), max(truncated, cut))

    def reader(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
    ) -> Callable[[Sequence[Text]], Outputs]:
        """Texts to texts, or to ``[rows, 3]`` where judged by likelihood."""
        import torch

        words = padding_as(model, tokenizer)
        collate = self.collator(words)

        def batch(rows: list[Example]) -> dict[str, torch.Tensor]:
            features: list[dict[str, list[int]]] = [
                {"input_ids": ids}
                for ids in tokenize(words, [self.prefix + one.text for one in rows], max_length_tokens)[0]
            ]
            if self.by_likelihood(rows):
                answers, _ = tokenize(words, [one.answer or "" for one in rows], self.answer_tokens)
                features = [{**row, "labels": labels} for row, labels in zip(features, answers, strict=True)]
            return dict(collate(features))

        def predict(texts: Sequence[Text]) -> Outputs:
            rows = examples(texts)
            made = batch(rows)
            with torch.inference_mode():
                if self.by_likelihood(rows):
                    return _language.likelihoods(model(**made).logits, made["labels"])
                made.pop("labels", None)
                written = words.batch_decode(_language.write(model, made, self.answer_tokens), skip_special_tokens=True)
                return [text.strip() for text in written]

        return predict
