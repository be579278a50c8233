"""Conversations as sources write them, read into one form.

Accepted: a list of messages, an object with one under ``messages`` or ``conversations``, or either as JSON (also twice
encoded, HTML-escaped as a whole, or as Python prints it); OpenAI's ``role`` and ``content``, ShareGPT's ``from`` and
``value``, content parts, tool calls. The one form is a JSON list of ``{"role", "content"}`` with the roles ``system``,
``user``, ``assistant`` and ``tool``; an assistant turn may have ``tool_calls``, a tool turn ``tool_call_id`` and
``name``. What is meant as a conversation and is none is a fault, never a text.
"""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from ftcore.conversations import _tool_calls
from ftcore.conversations._malformed import MalformedError

__all__ = [
    "MalformedError",
    "Turn",
    "check",
    "edit",
    "flat",
    "identities",
    "load",
    "pieces",
    "plain",
    "read",
    "renamed",
    "shown",
    "write",
]

Turn: TypeAlias = "dict[str, Any]"
START = '[{"role": "'
"""What every conversation in the one form starts with."""
LISTS = ("messages", "conversations", "conversation", "turns", "dialogue", "dialog")
"""Keys of an object under which a conversation stands."""
ROLE_KEYS = ("role", "from", "speaker", "sender", "author")
CONTENT_KEYS = ("content", "value", "text", "message", "parts", "content_parts")
ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "chatbot", "model", "ai", "bing", "bard"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "function_response", "ipython"), "tool"),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
}
"""Roles by the names that others use for them; ``call`` is an assistant turn whose content is a tool call."""
_QUOTE = r"""\\*(?:["'“”]|&quot;|&\#34;)"""
_LOOKS = re.compile(
    rf"""\s*(?:{_QUOTE})?\s*(?:
    \{{\s*{_QUOTE}(?:messages|conversations){_QUOTE}\s*:\s*(?:{_QUOTE})?\[
    |\[\s*(?:{_QUOTE})?\s*\{{\s*{_QUOTE}(?:role|from){_QUOTE}\s*:
    |(?=.{{0,2000}}?{_QUOTE}(?:role|from){_QUOTE}\s*:)(?=.{{0,2000}}?{_QUOTE}(?:content|value){_QUOTE}\s*:)\[\s*(?:{_QUOTE})?\s*\{{
    )""",
    re.VERBOSE | re.DOTALL,
)
"""Starts like a list of messages, whether it can be parsed or not."""
_TEXT_PARTS = ("text", "input_text", "output_text")
_LONGEST_NUMBER = 60


def read(text: str | None) -> list[Turn] | None:
    """Turns of a conversation in any accepted form; None for a text that is none, such as a question.

    Raises:
        MalformedError: it is meant as a conversation and cannot be read as one; says which turn and why.
    """
    if not text or text.lstrip()[:1] not in ("[", "{", '"', "'", "&"):
        return None
    value = _parsed(text)
    for key in LISTS if isinstance(value, dict) else ():
        if isinstance(value.get(key), list | str):
            return _of_object(value, key)
    if isinstance(value, dict):
        value = [value] if _role_of(value) in ROLES and _is_message(value) else None
    if not isinstance(value, list):
        return None
    turns = [_unwrapped(turn) for turn in value]
    if not any(isinstance(turn, dict) and _is_message(turn) for turn in turns):
        return None
    return [_turn(number, turn) for number, turn in enumerate(turns, 1)]


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
        if turn["role"] in ("user", "assistant") and not turn["content"].strip() and not turn.get("tool_calls"):
            return f"turn {number} ({turn['role']}) is empty"
    if all(turn["role"] == "system" for turn in turns):
        return "the conversation has only system turns: nothing is asked"
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


def shown(turns: list[Turn], *, tool_role: str = "tool") -> list[Turn]:
    """The turns with role and content alone: calls and their results stand in the content.

    Args:
        turns: a conversation in the one form.
        tool_role: role of turns with the result of a call; ``user`` for templates that have no such role.
    """
    return [_tool_calls.shown(turn, tool_role) for turn in turns]


def _of_object(value: Mapping[str, Any], key: str) -> list[Turn]:
    if tools := value.get("tools") or value.get("functions"):
        raise MalformedError(f"tool definitions next to the {key} are not supported: {str(tools)[:80]!r}")
    inner = value[key]
    turns = read(inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False))
    if turns is None:
        raise MalformedError(f"{key} holds no messages: {str(inner)[:80]!r}")
    system = value.get("system") or value.get("system_prompt")
    if isinstance(system, str) and system.strip() and turns[0]["role"] != "system":
        return [{"role": "system", "content": system}, *turns]
    return turns


def _parsed(text: str) -> Any:
    """The JSON or Python value that a text is; None for a text that is neither and does not look like messages."""
    looks = _LOOKS.match(text)
    if looks and "&" in looks.group():
        text = html.unescape(text)  # escaped as a whole: quotes of the JSON itself are entities
    try:
        return _unwrapped(json.loads(text, strict=False))  # a real line end within a string is no harm
    except (json.JSONDecodeError, RecursionError) as error:
        return _printed(text, error) if looks else None


def _printed(text: str, error: Exception) -> Any:
    """A list as Python or NumPy prints it; None where a JSON value is the beginning of a longer text.

    Raises:
        MalformedError: neither.
    """
    try:
        _, end = json.JSONDecoder(strict=False).raw_decode(text.lstrip())
    except (json.JSONDecodeError, RecursionError):
        pass
    else:
        rest = text.lstrip()[end:].lstrip()
        if rest[:1] not in tuple("[]{},\"'"):
            return None  # a question about messages: "[{"role": ...}] what is wrong here?"
        raise MalformedError(f"more stands behind the conversation: {rest[:60]!r}")
    try:
        # NumPy parts objects by line ends; within a string Python prints none.
        return json.loads(json.dumps(ast.literal_eval(re.sub(r"\}\s*\n\s*\{", "}, {", text.strip()))))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise MalformedError(f"starts like a conversation and is no JSON{where}: {text[:80]!r}") from None


def _unwrapped(value: Any) -> Any:
    """A value that was encoded twice."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{") and _mentions_role(value):
        try:
            return json.loads(value, strict=False)
        except json.JSONDecodeError:
            return value
    return value


def _mentions_role(text: str) -> bool:
    return any(f'"{key}"' in text for key in ("role", "from", "messages"))


def _role_of(turn: Mapping[str, Any]) -> str:
    value = next((turn[key] for key in ROLE_KEYS if turn.get(key) is not None), "")
    if isinstance(value, Mapping):  # {"author": {"role": "user"}}
        value = value.get("role", "")
    return str(value).strip().lower()


def _is_message(turn: Mapping[str, Any]) -> bool:
    """Whether an object is meant as a turn: it has a known role, or any role and a content."""
    named, written = ("role" in turn or "from" in turn), ("content" in turn or "value" in turn)
    return _role_of(turn) in ROLES or (named and written)


def _turn(number: int, turn: Any) -> Turn:
    if not isinstance(turn, Mapping):
        raise MalformedError(f"turn {number} is no message: {str(turn)[:60]!r}")
    given = _role_of(turn)
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
    if isinstance(content, int | float) and not isinstance(content, bool):
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
