"""Conversations as sources write them, read into one form.

Accepted: a list of messages, an object with one under ``messages``, ``conversations`` or a like key, an object of
columns, pairs of role and content, or any of them as JSON (encoded more than once, HTML-escaped as a whole, JSON Lines,
as Python prints it, or alone in a fenced block of code); a text of turns in the marks of a chat template, such as
ChatML; OpenAI's ``role`` and ``content``, ShareGPT's ``from`` and ``value``, LangChain's messages,
content parts, tool calls. The one form is a JSON list of ``{"role", "content"}`` with the roles ``system``, ``user``,
``assistant`` and ``tool``; an assistant turn may have ``tool_calls``, a tool turn ``tool_call_id`` and ``name``. What
is meant as a conversation and is none is a fault, never a text. The last turn alone is learned, as the answer:
``weight: 0`` on an earlier assistant turn changes nothing, and on the last one it is a fault.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from ftcore.data.conversations import _forms, _marked, _tool_calls, printed
from ftcore.data.conversations._forms import CONTENT_KEYS, LISTS, ROLES, role_of
from ftcore.data.conversations._malformed import MalformedError

__all__ = [
    "MalformedError",
    "Turn",
    "answer",
    "check",
    "edit",
    "flat",
    "identities",
    "is_blank",
    "is_fenced",
    "is_nothing",
    "load",
    "parts",
    "pieces",
    "plain",
    "read",
    "readable",
    "renamed",
    "shown",
    "write",
]

Turn: TypeAlias = "dict[str, Any]"
START = '[{"role": "'
"""What every conversation in the one form starts with."""
_SYSTEMS = ("system", "system_prompt", "system_instruction", "systemInstruction")
"""Keys of an object under which the system prompt stands, next to its messages."""
_TEXT_PARTS = ("text", "input_text", "output_text")
_LONGEST_NUMBER = 60
_LONGEST_NOTHING = 1000
"""Characters up to which a text is looked at as a list of nulls."""


def read(text: str | None) -> list[Turn] | None:
    """Turns of a conversation in any accepted form; None for a text that is none, such as a question.

    Raises:
        MalformedError: it is meant as a conversation and cannot be read as one; says which turn and why.
    """
    marked = _marked.read(text or "")
    if marked is not None:
        return _of_messages(marked)
    bare = (text or "").strip(_forms.AROUND)
    if not _forms.STARTS.match(bare):
        inner = _marked.fenced(bare)
        return None if inner is None else read(inner)
    try:
        return _found(_parsed(bare))
    except RecursionError:
        raise MalformedError(f"starts like a conversation and is nested too deeply: {bare[:80]!r}") from None


def is_fenced(text: str | None) -> bool:
    """Whether a text starts with a fenced block of code."""
    return (text or "").strip(_forms.AROUND).startswith(_marked.FENCE)


def answer(text: str | None, written: str) -> str:
    """An answer without the mark that ends it, where the text that it answers has a chat template's marks.

    Raises:
        MalformedError: marks stand within the answer.
    """
    return _marked.answer(text or "", written)


def parts(text: str | None) -> str | None:
    """The text of content parts that stand without a turn, ``[{"type": "text", "text": …}]``; None for any other text.

    Raises:
        MalformedError: one of them is no text, such as an image.
    """
    bare = (text or "").strip(_forms.AROUND)
    if bare[:1] not in ("[", "{") or "type" not in bare:
        return None
    value = printed.loaded(bare)
    value = [value] if isinstance(value, dict) else value
    if not isinstance(value, list) or not value or not all(map(_forms.is_part, value)):
        return None
    found = _content("the text", value)
    if found is None:
        raise MalformedError("the text has only content parts that hold none")
    return found


def is_nothing(text: str | None) -> bool:
    """Whether a text is a list of nulls, as JSON or as Python prints it."""
    bare = (text or "").strip(_forms.AROUND)
    value = printed.loaded(bare) if bare[:1] == "[" and bare[-1:] == "]" and len(bare) < _LONGEST_NOTHING else None
    return bool(value) and isinstance(value, list) and all(one is None for one in value)


def is_blank(text: str) -> bool:
    """Whether nobody sees anything of a text."""
    return not text.strip(_forms.AROUND)


def write(turns: list[Turn]) -> str:
    """A conversation in the one form."""
    return json.dumps(turns, ensure_ascii=False)


def load(text: str) -> list[Turn] | None:
    """Turns of a conversation in the one form; None for any other text."""
    if not text.startswith(START):
        return None
    try:
        turns = json.loads(text)
    except json.JSONDecodeError:
        return None  # a question that starts so
    return turns if all(isinstance(turn, dict) and {"role", "content"} <= turn.keys() for turn in turns) else None


def check(turns: list[Turn]) -> str | None:
    """What is wrong with the turns taken together, or None."""
    for number, turn in enumerate(turns, 1):
        if turn["role"] in ("user", "assistant") and is_blank(turn["content"]) and not turn.get("tool_calls"):
            return f"turn {number} ({turn['role']}) is empty"
    if all(turn["role"] == "system" for turn in turns):
        return "the conversation has only system turns: there is no question"
    return None


def edit(turns: list[Turn], change: Callable[[str], str], name: Callable[[str], str] | None = None) -> list[Turn]:
    """The conversation with every text that people or tools wrote changed; ids and roles stay.

    Args:
        turns: in the one form.
        change: of contents, and of texts and whole numbers in the arguments of calls, at any depth.
        name: of names of functions and arguments; the same where None.
    """
    named = name or change
    return [_tool_calls.edit({**turn, "content": change(turn["content"])}, change, named) for turn in turns]


def identities(turns: list[Turn]) -> list[str]:
    """Ids of calls, each once."""
    return list(dict.fromkeys(one for turn in turns for one in _tool_calls.identities(turn)))


def renamed(turns: list[Turn], names: Mapping[str, str]) -> list[Turn]:
    """The conversation with some ids of calls replaced, in calls and in what answers them alike."""
    return [_tool_calls.renamed(turn, names) for turn in turns] if names else turns


def pieces(turns: list[Turn], *, names: bool = True) -> Iterator[str]:
    """Every text that people or tools wrote, in the order in which ``edit`` changes them.

    Args:
        turns: in the one form.
        names: with those of functions and arguments.
    """
    found: list[str] = []

    def keep(text: str) -> str:
        found.append(text)
        return text

    edit(turns, keep, None if names else str)
    yield from found


def flat(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Pieces that people or tools wrote, in texts and conversations with all their calls hold, and each one's text."""
    found: list[str] = []
    owners: list[int] = []
    for number, text in enumerate(texts):
        turns = load(text)
        some = [text] if turns is None else [*pieces(turns), *identities(turns)]
        found += some
        owners += [number] * len(some)
    return found, owners


def plain(text: str) -> str:
    """What people wrote, for comparing texts with each other and telling their language: a turn a line."""
    turns = load(text)
    return text if turns is None else "\n".join(pieces(turns, names=False))


def readable(text: str) -> str:
    """A conversation as people and judges read it: each turn behind its role, calls in its content; else the text."""
    turns = load(text)
    return text if turns is None else "\n\n".join(f"{one['role']}: {one['content']}" for one in shown(turns))


def shown(turns: list[Turn], *, tool_role: str = "tool") -> list[Turn]:
    """The turns with role and content alone: calls and their results stand in the content.

    Args:
        turns: a conversation in the one form.
        tool_role: role of turns with the result of a call; ``user`` for templates that have no such role.
    """
    return [_tool_calls.shown(turn, tool_role) for turn in turns]


def _found(value: Any) -> list[Turn] | None:
    """Turns of a value that was parsed; None where it holds no messages.

    Raises:
        MalformedError: it holds some and cannot be read.
    """
    value = _forms.unwrapped(value)
    if isinstance(value, Mapping):
        return _of_mapping(_forms.lower(value))
    if not isinstance(value, list) or not value:
        return None
    turns = [_forms.as_message(_forms.unwrapped(turn)) for turn in value]
    turns = _forms.pairs(turns) or turns
    if any(isinstance(turn, dict) and _is_message(turn) for turn in turns):
        return _of_messages(turns)
    if len(turns) == 1 and (inner := _found(turns[0])) is not None:
        return inner
    _none_in(value)
    return None


def _of_messages(turns: Sequence[Any]) -> list[Turn]:
    found = [_turn(number, turn) for number, turn in enumerate(turns, 1)]
    last = turns[-1]
    if found[-1]["role"] == "assistant" and last.get("weight") in (0, "0") and last.get("weight") is not False:
        raise MalformedError(
            f"turn {len(turns)} (assistant) has the weight 0: it must not be learned, and is the answer"
        )
    return found


def _of_mapping(value: Mapping[str, Any]) -> list[Turn] | None:
    for key in LISTS:
        if isinstance(value.get(key), list if key in LISTS[3:] else list | str):
            return _of_object(value, key)
    if columns := _forms.columns(value):
        return _of_messages(columns)
    if _forms.is_written(value):
        return _of_messages([_forms.as_message(value)])
    holding = [key for key, one in value.items() if _forms.hidden(one) is not None]
    if len(holding) == 1 and holding[0].lower() in _forms.WRAPS:
        return _of_object(value, holding[0])
    _none_in(value)
    return None


def _none_in(value: Any) -> None:
    """Check that nothing in a value is a message."""
    if (where := _forms.hidden(value)) is not None:
        at = f"messages stand at {where!r}" if where else "its messages are in no form that is known"
        raise MalformedError(f"the text looks like a conversation and cannot be read: {at}")


def _of_object(value: Mapping[str, Any], key: str) -> list[Turn]:
    if tools := value.get("tools") or value.get("functions"):
        raise MalformedError(f"tool definitions next to the {key} are not supported: {str(tools)[:80]!r}")
    inner = value[key]
    turns = read(inner) if isinstance(inner, str) else _found(inner)
    if turns is None:
        shown = inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)
        raise MalformedError(f"{key} holds no messages: {shown[:80]!r}")
    given = next((value[name] for name in _SYSTEMS if value.get(name)), None)
    system = None if given is None else _content("the system prompt", given)
    if not system or not system.strip():
        return turns
    if turns[0]["role"] != "system":
        return [{"role": "system", "content": system}, *turns]
    if turns[0]["content"].strip() != system.strip():
        raise MalformedError(f"a system prompt stands next to the {key} and another one in them")
    return turns


def _parsed(text: str) -> Any:
    """The JSON or Python value that a text is; None for a text that is neither and does not look like messages.

    Raises:
        MalformedError: it looks like messages and is neither.
    """
    mentioned = _forms.MENTIONS.search(text)
    if not mentioned:
        return None
    if "&" in mentioned.group():
        text = html.unescape(text)  # escaped as a whole: quotes of the JSON itself are entities
    try:
        value = _forms.unwrapped(json.loads(text, strict=False))  # a real line end within a string is no harm
    except (ValueError, RecursionError) as error:
        try:
            value = _forms.unwrapped(printed.value(text))
        except ValueError:
            value = _forms.several(text)
            if value is None:
                _unread(text, error)
    if isinstance(value, str):
        _unread(value.strip(_forms.AROUND), None)
        return None
    return value


def _unread(text: str, error: Exception | None) -> None:
    """Check that a text that is no value was not meant as messages, but is a question about some."""
    if not _forms.looks(text):
        return
    rest = _forms.behind(text)
    if rest and rest[0] not in "[]{},\"'":
        return  # "[{"role": ...}] what is wrong here?"
    if rest:
        raise MalformedError(f"more stands behind the conversation: {rest[:60]!r}")
    where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
    raise MalformedError(f"starts like a conversation and is no JSON{where}: {text[:80]!r}")


def _is_message(turn: Mapping[str, Any]) -> bool:
    """Whether an object in a list is meant as a turn: it has a known role, or any role and a content."""
    named, written = ("role" in turn or "from" in turn), ("content" in turn or "value" in turn)
    return role_of(turn) in ROLES or (named and written)


def _turn(number: int, turn: Any) -> Turn:
    if not isinstance(turn, Mapping):
        raise MalformedError(f"turn {number} is no message: {str(turn)[:60]!r}")
    given = role_of(turn)
    role = ROLES.get(given)
    if role is None:
        known = ", ".join(dict.fromkeys(one for one in ROLES.values() if one != "call"))
        raise MalformedError(f"turn {number} has the unknown role {given!r}; known are {known}")
    where = f"turn {number} ({given})"
    content = next((turn[key] for key in CONTENT_KEYS if turn.get(key) is not None), turn.get("refusal"))
    if role == "call":
        return {"role": "assistant", "content": "", "tool_calls": _tool_calls.of_content(where, content)}
    calls, result = _tool_calls.of_turn(where, turn, content)
    if result is not None:
        return result
    text = _content(where, content)
    if text is None and not calls:
        raise MalformedError(f"{where} has no content")
    if calls and role != "assistant":
        raise MalformedError(f"{where} has tool calls, which only an assistant turn may have")
    found: Turn = {"role": role, "content": text or ""}
    if calls:
        found["tool_calls"] = calls
    if role == "tool":
        found |= {key: str(turn[key]) for key in ("tool_call_id", "name") if turn.get(key)}
    return found


def _content(where: str, content: Any) -> str | None:
    """The text of a content: a string, a number, or parts of text."""
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, int | float) and not isinstance(content, bool) and math.isfinite(content):
        return str(content)[:_LONGEST_NUMBER]
    if isinstance(content, Mapping):
        content = content["parts"] if isinstance(content.get("parts"), list) else [content]
    if not isinstance(content, list):
        raise MalformedError(f"{where} has a content that is no text: {content!r}")
    texts = [_part(where, part) for part in content]
    there = [text for text in texts if text is not None]
    return "\n".join(there) if there else None


def _part(where: str, part: Any) -> str | None:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        raise MalformedError(f"{where} has a content part that is no text: {str(part)[:60]!r}")
    kind = part.get("type") or "text"
    if kind in _tool_calls.PARTS or kind in ("thinking", "reasoning", "redacted_thinking"):
        return None
    text = part.get("text") if part.get("text") is not None else part.get("content")
    if kind not in _TEXT_PARTS or not isinstance(text, str):
        others = (key for key, value in part.items() if value and key != "type")
        what = kind if kind not in _TEXT_PARTS else next(others, kind)
        raise MalformedError(f"{where} has a content part of the type {what!r}; only text can be learned from")
    return text
