"""Conversations as a base model's chat template writes them: every turn of them, or a refusal that says why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ftcore.data.conversations import _tool_calls
from ftcore.data.conversations import turns as conversation
from ftcore.errors import TrainingError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ftcore.data.conversations.turns import Turn

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}"
    "{{ '\n' if message.content or not loop.first else '' }}<tool_call>\n{{ call.function | tojson }}\n</tool_call>"
    "{% endfor %}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Template for a base model that brings none; turns end as its texts do, so that it needs no new token."""
HINT = "where it knows no system role, leave task.system and the context empty and put it into the text"


class RefusedError(TrainingError):
    """A template refuses a conversation, or leaves out what somebody wrote in it."""


def templated(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer with a template, which is saved with it."""
    tokenizer.chat_template = tokenizer.chat_template or CHATML
    return tokenizer


def render(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], *, ask: bool) -> str:
    """A conversation as text.

    Tool calls are handed to the template; where it leaves them out or refuses them they stand in the content of their
    turns, and their results in the content of a tool turn or, where it has no such role, of a user turn.

    Args:
        tokenizer: with a template.
        turns: in the one form.
        ask: end with the beginning of an assistant turn.

    Raises:
        RefusedError: the template refuses the conversation, or leaves out a turn.
    """
    first: RefusedError | None = None
    for form in _forms(list(turns)):
        try:
            return _rendered(tokenizer, form, ask=ask)
        except RefusedError as error:
            first = first or error
    assert first is not None
    raise first


def _forms(turns: list[Turn]) -> Iterator[list[Turn]]:
    yield turns
    if any(turn.get("tool_calls") or turn["role"] == "tool" for turn in turns):
        yield conversation.shown(turns)
        yield conversation.shown(turns, tool_role="user")


def _rendered(tokenizer: PreTrainedTokenizerBase, turns: list[Turn], *, ask: bool) -> str:
    from jinja2 import TemplateError

    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask))
    except (TemplateError, TypeError, ValueError, KeyError) as error:  # what jinja2 and the template's own code raise
        roles = ", ".join(turn["role"] for turn in turns)
        calls = " with tool calls" if any(turn.get("tool_calls") for turn in turns) else ""
        raise RefusedError(
            f"the base model's chat template refuses a conversation of {roles}{calls}: {error}", hint=HINT
        ) from error
    # Of what the assistant said earlier a template may leave out the reasoning; of the others it may leave out nothing.
    if lost := [one["role"] for one in turns if one["role"] != "assistant" and one["content"].strip() not in text]:
        raise RefusedError(f"the base model's chat template leaves out turns of the role {lost[0]}", hint=HINT)
    if any(not _there(word, text) for turn in turns for word in _tool_calls.texts(turn)):
        raise RefusedError("the base model's chat template leaves out tool calls", hint=HINT)
    return text


def _there(word: str, text: str) -> bool:
    """Whether a text, or how JSON writes it, is in the rendered one."""
    return word in text or any(json.dumps(word, ensure_ascii=ascii_)[1:-1] in text for ascii_ in (False, True))
