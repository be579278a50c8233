"""Answer as an assistant: instruction tuning, with the loss on the answers only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ftcore.data.conversations import templates
from ftcore.models.features import IGNORED, Features
from ftcore.models.outputs import examples, given
from ftcore.tasks import _language
from ftcore.tasks._conversations import Conversation
from ftcore.tasks._language import CausalTask, WrittenTask

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from ftcore.data.conversations.turns import Turn
    from ftcore.models.outputs import Example, Outputs, Text


class Chat(WrittenTask, CausalTask, Conversation):
    """A row's ``text`` is the prompt, its ``context`` a system prompt, its ``label`` the answer.

    A text may also be a whole conversation so far: a list of messages or its JSON, with ``role`` and ``content`` or
    ShareGPT's ``from`` and ``value``, tool calls included; or a text of turns in the marks of a chat template (ChatML,
    ``[INST]``, ``Human:`` and ``Assistant:``). Where the label is null and the conversation ends with an assistant
    turn, that turn is the answer. A label, or a rejected answer, may repeat the conversation before it.
    """

    EXAMPLE: ClassVar = {"kind": "chat", "system": "You answer briefly."}
    ROW: ClassVar = {
        "text": [{"role": "user", "content": "Which door is mine?"}],
        "context": "You answer briefly.",
        "label": "The red one.",
    }
    METRICS: ClassVar = {**_language.LIKELIHOOD, **_language.WRITTEN}

    kind: Literal["chat"] = "chat"
    judge_by: Literal["likelihood", "answers"] = "likelihood"
    """``likelihood`` measures how likely the right answers are: perplexity and accuracy of the tokens, in one pass.
    ``answers`` lets the model write and compares: chrF, BLEU, ROUGE-L, exact matches; far slower."""
    answer_tokens: Annotated[int, Field(ge=1)] = 256
    """Longest answer that is written, in tokens."""

    def encode(self, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
        """Conversations in the model's own template; only the answer is learnt.

        Where one is too long its beginning is cut, never its answer's.
        """
        templates.templated(tokenizer)
        columns: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
        truncated = 0
        for one in examples(given(rows, answers=True)):
            prompt, answer = _tokens(tokenizer, self.turns(one), one.answer)
            truncated += len(prompt) + len(answer) > max_length_tokens
            ids, labels = _cut(prompt, answer, max_length_tokens)
            columns["input_ids"].append(ids)
            columns["labels"].append(labels)
        return Features(columns, rows["row_id"].to_pylist(), truncated, packable=True)

    def reader(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
    ) -> Callable[[Sequence[Text]], Outputs]:
        """Rows to the answers that the model writes.

        Rows with an answer, where the task is judged by likelihood, to ``[rows, 3]``: the answer's negative log
        likelihood, its tokens, and how many of them were hit.
        """
        import torch

        words = templates.templated(tokenizer)
        collate = self.collator(words)
        stops = _stops(words)

        def likely(rows: list[Example]) -> np.ndarray:
            cut = [_cut(*_tokens(words, self.turns(one), one.answer), max_length_tokens) for one in rows]
            words.padding_side = "right"  # positions count from the first token, as they did in training
            batch = collate([{"input_ids": ids, "labels": labels} for ids, labels in cut])
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            return _language.likelihoods(logits[:, :-1], batch["labels"][:, 1:])

        def written(rows: list[Example]) -> list[str]:
            room = max(max_length_tokens - self.answer_tokens, max_length_tokens // 2)
            prompts = [_tokens(words, self.turns(one))[0][-room:] for one in rows]
            words.padding_side = "left"  # so that every row goes on where its prompt ends
            batch = words.pad({"input_ids": prompts}, return_tensors="pt")
            made = _language.write(model, batch, self.answer_tokens, stops)
            return [text.strip() for text in words.batch_decode(made, skip_special_tokens=True)]

        def predict(texts: Sequence[Text]) -> Outputs:
            rows = examples(texts)
            with torch.inference_mode():
                return likely(rows) if self.by_likelihood(rows) else written(rows)

        return predict


def _stops(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens that end an answer: the end of a text, and what the template puts behind an answer."""
    _, answer = _tokens(tokenizer, [{"role": "user", "content": "?"}], "!")
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    behind = [token for token in answer if token in special][:1]
    return sorted({token for token in [tokenizer.eos_token_id, *behind] if token is not None})


def _cut(prompt: list[int], answer: list[int], length: int) -> tuple[list[int], list[int]]:
    """At most ``length`` tokens, and labels: of the answer what fits behind one token, then the end of the prompt."""
    answer = answer[: length - 1]
    prompt = prompt[max(0, len(prompt) + len(answer) - length) :]
    return [*prompt, *answer], [IGNORED] * len(prompt) + answer


def _tokens(
    tokenizer: PreTrainedTokenizerBase, asked: list[Turn], answer: str | None = None
) -> tuple[list[int], list[int]]:
    """Tokens of the prompt, and of the answer with what ends it."""
    prompt = templates.render(tokenizer, asked, ask=True)
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    if answer is None:
        return ids, []
    whole = templates.render(tokenizer, [*asked, {"role": "assistant", "content": answer}], ask=False)
    # A template that rewrites earlier turns has no common beginning: then the answer ends as the model ends texts.
    rest = whole[len(prompt) :] if whole.startswith(prompt) else answer + (tokenizer.eos_token or "")
    return ids, tokenizer(rest, add_special_tokens=False)["input_ids"]
