"""Answer as an assistant: instruction tuning, with the loss on the answers only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.data.conversations import templates
from ftcore.data.conversations import turns as conversation
from ftcore.models.features import IGNORED, Collator, Features
from ftcore.models.outputs import Example, examples, given
from ftcore.recipe.kinds import Config as Base
from ftcore.tasks import _conversations, _language

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Faults
    from ftcore.data.conversations.turns import Turn
    from ftcore.models.outputs import Outputs, Text
    from ftcore.statistics.intervals import Better

EXAMPLE = {"kind": "chat", "system": "You answer briefly."}
ROW = {
    "text": [{"role": "user", "content": "Which door is mine?"}],
    "context": "You answer briefly.",
    "label": "The red one.",
}
"""A row that the task takes, as a line of JSON."""
TARGET = "text"
ARCHITECTURE = "AutoModelForCausalLM"
GENERATIVE = True
STANDS_ON = "causal"
STRUCTURES = ("text", "context", "label", "rejected")
"""Fields that may be a list or an object in the source; they reach ``parse_rows`` as JSON."""
METRICS: dict[str, Better] = {**_language.LIKELIHOOD, **_language.WRITTEN}


class Config(Base):
    """A row's ``text`` is what was asked, its ``context`` a system prompt, its ``label`` the answer.

    A text may also be a whole conversation so far: a list of messages or its JSON, with ``role`` and ``content`` or
    ShareGPT's ``from`` and ``value``, tool calls included; or a text of turns in the marks of a chat template (ChatML,
    ``[INST]``, ``Human:`` and ``Assistant:``). Where the label is null and the conversation ends with an assistant
    turn, that turn is the answer. A label, or a worse answer, may repeat the conversation before it.
    """

    kind: Literal["chat"] = "chat"
    system: str = ""
    """System prompt of rows without a context."""
    judge_by: Literal["likelihood", "answers"] = "likelihood"
    """``likelihood`` measures how likely the right answers are: perplexity and accuracy of the tokens, in one pass.
    ``answers`` lets the model write and compares: chrF, BLEU, ROUGE-L, exact matches; far slower."""
    answer_tokens: Annotated[int, Field(ge=1)] = 256
    """Longest answer that is written, in tokens."""


parse_rows, clean_rows = _conversations.parse_rows, _conversations.clean_rows
check_rows, check_requests = _conversations.check_rows, _conversations.check_requests


def load(config: Config, base: Path) -> PreTrainedModel:
    """The base model as it is; safetensors only, no remote code."""
    del config
    return _language.causal(base)


def check(config: Config, rows: Mapping[str, pa.Table]) -> None:
    """Whether there are questions with answers.

    Raises:
        NotEnoughDataError: a split has no row.
        DataRejectedError: rows have no answer.
    """
    del config
    _language.wanted(rows, ["text", "label"])


def encode(config: Config, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
    """Conversations in the model's own template; only the answer is learnt.

    Where one is too long its beginning is cut, never its answer's.
    """
    templates.templated(tokenizer)
    columns: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    truncated = 0
    for one in examples(given(rows, answers=True)):
        prompt, answer = _tokens(config, tokenizer, one)
        truncated += len(prompt) + len(answer) > max_length_tokens
        ids, labels = _cut(prompt, answer, max_length_tokens)
        columns["input_ids"].append(ids)
        columns["labels"].append(labels)
    return Features(columns, rows["row_id"].to_pylist(), truncated, packable=True)


def collator(config: Config, tokenizer: PreTrainedTokenizerBase) -> Collator:
    """Pads tokens and labels."""
    del config
    return _language.padding(tokenizer)


def predictor(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[Text]], Outputs]:
    """Torch predictions of a saved model.

    Returns:
        A function from rows to the answers that it writes, or, for rows with an answer where the task is judged by
        likelihood, to ``[rows, 3]``: the answer's negative log likelihood, its tokens, and how many of them were hit.
    """
    from ftcore.models.loading import tokenizer as load_tokenizer

    return reader(config, _language.causal(folder).eval(), load_tokenizer(folder), max_length_tokens)


def reader(
    config: Config, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
) -> Callable[[Sequence[Text]], Outputs]:
    """The same of a model that is loaded already."""
    import torch

    words = templates.templated(tokenizer)
    collate = collator(config, words)
    stops = _stops(words)

    def likely(rows: list[Example]) -> np.ndarray:
        cut = [_cut(*_tokens(config, words, one), max_length_tokens) for one in rows]
        words.padding_side = "right"  # positions count from the first token, as they did in training
        batch = collate([{"input_ids": ids, "labels": labels} for ids, labels in cut])
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return _language.likelihoods(logits[:, :-1], batch["labels"][:, 1:])

    def written(rows: list[Example]) -> list[str]:
        room = max(max_length_tokens - config.answer_tokens, max_length_tokens // 2)
        prompts = [_tokens(config, words, one._replace(answer=None))[0][-room:] for one in rows]
        words.padding_side = "left"  # so that every row goes on where its prompt ends
        batch = words.pad({"input_ids": prompts}, return_tensors="pt")
        made = _language.write(model, batch, config.answer_tokens, stops)
        return [text.strip() for text in words.batch_decode(made, skip_special_tokens=True)]

    def predict(texts: Sequence[Text]) -> Outputs:
        rows = examples(texts)
        with torch.inference_mode():
            known = config.judge_by == "likelihood" and all(one.answer is not None for one in rows)
            return likely(rows) if known else written(rows)

    return predict


def plain(config: Config, folder: Path, max_length_tokens: int) -> Callable[[Sequence[str]], np.ndarray]:
    """How likely a saved model finds plain texts, outside any conversation: ``[texts, 3]``, as of answers."""
    del config
    return _language.plain(folder, max_length_tokens)


answers, valid = _language.answers, _language.valid
tallies, metrics = _language.tallies, _language.metrics


def prompt(config: Config, one: Example) -> list[Turn]:
    """A row as what the model is asked, for methods that learn from rewards and preferences.

    Role and content alone, so that every template and TRL's own tables hold it: tool calls stand in the content.
    """
    return conversation.shown(turns(config, one), tool_role="user")


def turns(config: Config, one: Example) -> list[Turn]:
    """A row as a conversation, without its answer: in the one form, tool calls apart from content."""
    found = _loaded(one.text) or [{"role": "user", "content": one.text}]
    system = one.context or config.system
    return [{"role": "system", "content": system}, *found] if system and found[0]["role"] != "system" else found


def _loaded(text: str) -> list[Turn] | None:
    found = conversation.load(text)
    with suppress(conversation.MalformedError):  # rows of an earlier version are in the form in which they came
        found = found or conversation.read(text)
    return found


def messages(config: Config, one: Example) -> list[dict[str, str]]:
    """The same for people: role and content alone, tool calls within the content."""
    return conversation.shown(turns(config, one))


def unreadable(config: Config, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Text]) -> Faults:
    """Rows that the base model's template refuses, or of which it leaves something out, and why.

    Each costs one row: they are left out of training and evaluation, and get no prediction.
    """
    templates.templated(tokenizer)
    found: Faults = {}
    for place, one in enumerate(examples(rows)):
        answer = [] if one.answer is None else [{"role": "assistant", "content": one.answer}]
        try:
            templates.render(tokenizer, [*turns(config, one), *answer], ask=not answer)
        except templates.RefusedError as error:
            found[place] = str(error.args[0])
    return found


def _stops(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens that end an answer: the end of a text, and what the template puts behind an answer."""
    _, answer = _tokens(Config(), tokenizer, Example("?", None, "!"))
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    behind = [token for token in answer if token in special][:1]
    return sorted({token for token in [tokenizer.eos_token_id, *behind] if token is not None})


def _tokens(config: Config, tokenizer: PreTrainedTokenizerBase, one: Example) -> tuple[list[int], list[int]]:
    """Tokens of the prompt, and of the answer with what ends it."""
    asked = turns(config, one)
    prompt = templates.render(tokenizer, asked, ask=True)
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    if one.answer is None:
        return ids, []
    whole = templates.render(tokenizer, [*asked, {"role": "assistant", "content": one.answer}], ask=False)
    # A template that rewrites earlier turns has no common beginning: then the answer ends as the model ends texts.
    rest = whole[len(prompt) :] if whole.startswith(prompt) else one.answer + (tokenizer.eos_token or "")
    return ids, tokenizer(rest, add_special_tokens=False)["input_ids"]


def _cut(prompt: list[int], answer: list[int], length: int) -> tuple[list[int], list[int]]:
    """At most ``length`` tokens, and labels: of the answer what fits behind one token, then the end of the prompt."""
    answer = answer[: length - 1]
    prompt = prompt[max(0, len(prompt) + len(answer) - length) :]
    return [*prompt, *answer], [IGNORED] * len(prompt) + answer
