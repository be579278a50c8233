"""Find the answer to a question in a passage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ftcore.data.cleaning import aligned
from ftcore.data.cleaning.rows import Plain
from ftcore.errors import NotEnoughDataError
from ftcore.models import loading
from ftcore.models.features import Features
from ftcore.models.outputs import examples
from ftcore.tasks import _answers, _language, _rows, _words
from ftcore.tasks._sequence import EncoderTask

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Editor, Faults, Rows
    from ftcore.models.outputs import Outputs, Text


class QuestionAnswering(EncoderTask):
    """A row's ``text`` is the question, its ``context`` the passage, its ``label`` a piece of the passage.

    A label may also be SQuAD's ``{"text": […], "answer_start": […]}`` or a list of texts, as an object or as JSON: the
    first text is the answer, learned where it first stands in the passage, and the only one that predictions are
    compared with. Questions without an answer are quarantined: the task knows none.
    """

    EXAMPLE: ClassVar = {"kind": "qa", "stride_tokens": 32}
    ROW: ClassVar = {"text": "Which door is red?", "context": "The left door is red.", "label": "left"}
    TARGET = "text"
    ARCHITECTURE = "AutoModelForQuestionAnswering"
    SUPPORTS_LABEL_SMOOTHING = False
    STRUCTURES = ("label",)
    METRICS: ClassVar = {"f1": "higher", "exact_match": "higher"}

    kind: Literal["qa"] = "qa"
    stride_tokens: Annotated[int, Field(ge=0)] = 64
    """Tokens that two windows over a long passage share."""
    answer_tokens: Annotated[int, Field(ge=1)] = 30
    """Longest answer, in tokens."""

    def parse_rows(self, rows: Rows) -> Faults:
        """Bring answers into the one form, a text; name rows that hold none."""
        found: Faults = {}
        for place, (label, passage) in enumerate(zip(rows.label, rows.context, strict=True)):
            try:
                rows.label[place] = label and _answers.first(label, passage)
            except _answers.FormError as error:
                found[place] = str(error)
        return found

    def clean_rows(self, rows: Rows, editor: Editor) -> None:
        """Clean text, passage and answer; an answer that is a piece of its passage stays one."""
        Plain.clean_rows(rows, editor, ("text",))
        places = [place for place, passage in enumerate(rows.context) if passage is not None]
        passages, answers = aligned.passages(
            editor, [rows.context[place] for place in places], [rows.label[place] for place in places], places
        )
        for place, passage, answer in zip(places, passages, answers, strict=True):
            rows.context[place], rows.label[place] = passage, answer

    def check_rows(self, rows: Rows) -> Faults:
        """Name rows without a question, passage or answer, and answers that are no piece of their passage."""
        found = _rows.missing(rows, text="text", context="passage", label="answer")
        for place, (passage, answer) in enumerate(zip(rows.context, rows.label, strict=True)):
            if place not in found and (answer or "") not in (passage or ""):
                found[place] = "the answer is no piece of its passage"
        return found

    def check_requests(self, rows: Rows) -> Faults:
        """Name questions without a passage to answer them from."""
        return _rows.missing(rows, text="text", context="passage")

    def load(self, base: Path) -> PreTrainedModel:
        """The base model with a fresh head for where answers begin and end; safetensors only, no remote code."""
        from transformers import AutoModelForQuestionAnswering

        return loading.pretrained(AutoModelForQuestionAnswering, base)

    def check(self, rows: Mapping[str, pa.Table]) -> None:
        """Whether there are rows, each with a question, a passage and an answer.

        Raises:
            NotEnoughDataError: a split has no row, or no answer of it stands in its passage.
            DataRejectedError: something is missing.
        """
        _language.wanted(rows, ["text", "context", "label"])
        for split, table in rows.items():
            columns = (table[name].to_pylist() for name in ("context", "label"))
            if not any(answer in passage for passage, answer in zip(*columns, strict=True)):
                raise NotEnoughDataError(f"no answer of the {split} split stands in its passage")

    def encode(self, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
        """Windows over question and passage, each with the first and last token of the answer.

        A window without the answer points at its first token, which means that it has none.
        """
        from ftcore.models.outputs import given

        columns: dict[str, list[list[int] | int]] = {
            name: [] for name in ("input_ids", "start_positions", "end_positions")
        }
        kinds: list[list[int]] = []
        owners = []
        for row_id, one in zip(rows["row_id"].to_pylist(), examples(given(rows, answers=True)), strict=True):
            start = (one.context or "").find(one.answer or "")
            for window in (
                self._windows(tokenizer, one.text, one.context or "", max_length_tokens) if start >= 0 else []
            ):
                first, last = window.place(start, start + len(one.answer or ""))
                columns["input_ids"].append(window.ids)
                columns["start_positions"].append(first)
                columns["end_positions"].append(last)
                kinds.append(window.kinds)
                owners.append(row_id)
        typed = {"token_type_ids": kinds} if "token_type_ids" in tokenizer.model_input_names else {}
        return Features({**columns, **typed}, owners)

    def reader(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
    ) -> Callable[[Sequence[Text]], list[str]]:
        """Questions with their passages to the likeliest pieces of them."""
        import torch

        typed = "token_type_ids" in tokenizer.model_input_names

        def best(text: str, passage: str) -> str:
            windows = self._windows(tokenizer, text, passage, max_length_tokens)
            batch = {"input_ids": [window.ids for window in windows]}
            batch |= {"token_type_ids": [window.kinds for window in windows]} if typed else {}
            with torch.inference_mode():
                made = model(
                    **tokenizer.pad(batch, padding_side="right", return_tensors="pt")
                )  # spans count from the left
            pieces = [
                window.best(starts, ends, self.answer_tokens)
                for window, starts, ends in zip(
                    windows, made.start_logits.tolist(), made.end_logits.tolist(), strict=True
                )
            ]
            _, first, last = max(pieces)
            return passage[first:last]

        return lambda texts: [best(one.text, one.context or "") for one in examples(texts)]

    def answers(self, outputs: Outputs) -> tuple[list[str], np.ndarray]:
        """The answer; how sure the model is nobody knows."""
        return _language.written(outputs)

    def tallies(self, rows: pa.Table, outputs: Outputs) -> np.ndarray:
        """F1 of the words, whether the answer is the same, and a one, ``[rows, 3]``.

        English articles, punctuation and case count for nothing: P. Rajpurkar et al. (2016), *SQuAD*. Scripts without
        spaces are compared by characters.
        """
        import numpy as np

        right = [_words.answer_words(label or "") for label in rows["label"].to_pylist()]
        said = [_words.answer_words(text) for text in outputs]
        return np.array([(_f1(a, b), a == b, 1) for a, b in zip(said, right, strict=True)], float).reshape(-1, 3)

    def metrics(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Mean F1 of the words and share of exact matches."""
        import numpy as np

        rows = np.where(sums[..., 2] > 0, sums[..., 2], np.nan)
        return {"f1": sums[..., 0] / rows, "exact_match": sums[..., 1] / rows}

    def _windows(self, tokenizer: PreTrainedTokenizerBase, question: str, passage: str, length: int) -> list[_Window]:
        encoded = tokenizer(
            _shortened(tokenizer, question, length // 2),  # a question that fills the window would leave no passage
            passage,
            truncation="only_second",
            max_length=length,
            stride=max(0, min(self.stride_tokens, length // 4, length - length // 2 - 4)),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_token_type_ids=True,
        )
        windows = []
        for place, ids in enumerate(encoded["input_ids"]):
            of = encoded.sequence_ids(place)
            spans = [tuple(o) if s == 1 else None for o, s in zip(encoded["offset_mapping"][place], of, strict=True)]
            windows.append(_Window(ids, encoded["token_type_ids"][place], spans))
        return windows


@dataclass(frozen=True)
class _Window:
    """A piece of a passage behind its question."""

    ids: list[int]
    kinds: list[int]
    """Segment of each token."""
    spans: list[tuple[int, int] | None]
    """Where in the passage each token stands; None for those of the question."""

    def place(self, start: int, end: int) -> tuple[int, int]:
        """First and last token of a piece of the passage; twice 0 where it is not whole in the window."""
        inside = [n for n, span in enumerate(self.spans) if span and span[1] > start and span[0] < end]
        whole = inside and self.spans[inside[0]][0] <= start and self.spans[inside[-1]][1] >= end  # type: ignore[index]
        return (inside[0], inside[-1]) if whole else (0, 0)

    def best(self, starts: list[float], ends: list[float], longest: int) -> tuple[float, int, int]:
        """Score of the likeliest piece, and where it stands in the passage."""
        found = (float("-inf"), 0, 0)
        for first, span in enumerate(self.spans):
            for last in range(first, min(first + longest, len(self.spans))):
                if span is None or (end := self.spans[last]) is None:
                    break
                found = max(found, (starts[first] + ends[last], span[0], end[1]))
        return found


def _shortened(tokenizer: PreTrainedTokenizerBase, text: str, length: int) -> str:
    """The text's first tokens."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    spans = encoded["offset_mapping"]
    return text if len(spans) <= length else text[: spans[length - 1][1]]


def _f1(said: list[str], right: list[str]) -> float:
    from collections import Counter

    if not said or not right:
        return float(said == right)
    common = sum((Counter(said) & Counter(right)).values())
    return 2 * common / (len(said) + len(right))
