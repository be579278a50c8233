"""What a text looks like and what other programs' messages are: told before anything is read as a turn."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ftcore.data.conversations import printed

AROUND = (
    " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\xad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
)
"""Characters around a text that nobody sees."""
LISTS = ("messages", "conversations", "conversation", "turns", "dialogue", "dialog")
"""Keys of an object under which a conversation stands."""
WRAPS = ("data", "body", "items", "contents", "chat_messages", "history", "chat", "request")
"""Keys under which it may stand, too: it is read there where no other key holds messages."""
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
_KEYS = frozenset((*ROLE_KEYS, *CONTENT_KEYS, *LISTS))
_LANGCHAIN = ("human", "ai", "system", "tool", "function", "chat")
_QUOTE = r"""\\{0,31}(?:["'“”‘’]|&quot;|&apos;|&\#(?:34|39|x22|x27);)"""
_KNOWN = f"(?:{'|'.join(ROLES)})"
_MESSAGE = r"(?:Human|AI|System|Tool|Function|Chat)Message(?:Chunk)?\("
STARTS = re.compile(rf"""[\[{{"'&“‘\\]|(?:\w+\.)*(?:array\(|{_MESSAGE})""")
MENTIONS = re.compile(
    rf"""{_QUOTE}(?:{"|".join((*ROLE_KEYS, *LISTS, *ROLES, "type"))}){_QUOTE}|{_MESSAGE}""", re.VERBOSE | re.IGNORECASE
)
"""Something in it that every conversation has."""
_LOOKS = re.compile(
    rf"""(?:{_QUOTE})?\s*+(?:(?:\w+\.)*+array\(\s*+)?(?:
    (?=.{{0,20000}}?{_QUOTE}(?:messages|conversations){_QUOTE}\s*:\s*(?:array\(\s*)?(?:{_QUOTE})?\[)[\[{{]
    |\[\s*(?:{_QUOTE})?\s*\{{\s*{_QUOTE}(?:role|from){_QUOTE}\s*:
    |(?=.{{0,2000}}?{_QUOTE}(?:role|from){_QUOTE}\s*:)(?=.{{0,2000}}?{_QUOTE}(?:content|value){_QUOTE}\s*:)\[\s*(?:{_QUOTE})?\s*[\[{{]
    |(?=.{{0,2000}}?{_QUOTE}(?:{"|".join(ROLE_KEYS)}|type){_QUOTE}\s*:\s*{_QUOTE}{_KNOWN}{_QUOTE})(?=.{{0,2000}}?{_QUOTE}(?:{"|".join(CONTENT_KEYS)}){_QUOTE}\s*:)[\[{{]
    |[\[(]*\s*+(?:\w+\.)*+{_MESSAGE}\s*content=
    |\[\s*[\[(]\s*{_QUOTE}{_KNOWN}{_QUOTE}\s*,
    )""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_TOKEN = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[\[\](){}]""", re.DOTALL)
_FAR = 20_000
"""Characters in which a text that is no value must close its first bracket to be a question about one."""
_DEEPEST = 8
_PARTS = frozenset(
    {
        *("text", "input_text", "output_text", "refusal", "thinking", "tool_use", "tool_result", "document", "file"),
        *("input_file", "image", "image_url", "input_image", "audio", "input_audio", "audio_url", "video", "video_url"),
    }
)


def looks(text: str) -> bool:
    """Whether a text that cannot be parsed starts like a list of messages, or an object with one."""
    return _LOOKS.match(text) is not None


def behind(text: str) -> str | None:
    """What stands behind the bracket that closes a text's first one; None where none does."""
    depth = 0
    for token in _TOKEN.finditer(text[:_FAR]):
        if token.group() in ("[", "(", "{"):
            depth += 1
        elif token.group() in ("]", ")", "}"):
            depth -= 1
            if depth <= 0:
                return text[token.end() :].strip(AROUND)
    return None


def unwrapped(value: Any) -> Any:
    """A value that was encoded more than once."""
    while isinstance(value, str) and (bare := value.strip(AROUND))[:1] in ("[", "{", '"') and MENTIONS.search(bare):
        try:
            value = json.loads(bare, strict=False)
        except (ValueError, RecursionError):
            try:
                value = printed.value(bare)
            except ValueError:
                return value
    return value


def is_part(value: Any) -> bool:
    """Whether it is a content part, such as a text or an image."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    return isinstance(kind, str) and kind in _PARTS and any(key not in ("type", "cache_control") for key in value)


def several(text: str) -> list[Any] | None:
    """The messages of a text that holds one object behind another, as JSON Lines do; None for any other text."""
    found: list[Any] = []
    decoder, at = json.JSONDecoder(strict=False), 0
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict) or not is_written(value):
            return None
        found.append(value)
        while at < len(text) and (text[at] in AROUND or text[at] == ","):
            at += 1
    return found or None


def lower(value: Any) -> Any:
    """An object whose keys for roles, contents and lists of messages are written small."""
    if not isinstance(value, Mapping):
        return value
    small = {key.lower(): one for key, one in value.items() if key.lower() in _KEYS and key.lower() not in value}
    return {**{key: one for key, one in value.items() if key.lower() not in small}, **small}


def as_message(value: Any) -> Any:
    """A message of LangChain as one with a role; any other value with its keys written small."""
    if not isinstance(value, Mapping):
        return value
    given, kind = value, value.get("type")
    if "lc" in value and isinstance(value.get("kwargs"), Mapping) and isinstance(value.get("id"), list):
        given, kind = value["kwargs"], (value["id"] or [""])[-1]
    elif isinstance(value.get("data"), Mapping):
        given = value["data"]
    kind = kind.removesuffix("Chunk").removesuffix("Message").lower() if isinstance(kind, str) else ""
    if kind not in _LANGCHAIN or "content" not in given or (given is value and any(key in value for key in ROLE_KEYS)):
        return lower(value)
    more = given.get("additional_kwargs")
    calls = {key: more[key] for key in ("tool_calls", "function_call") if isinstance(more, Mapping) and more.get(key)}
    if given.get("tool_calls"):
        calls = {"tool_calls": given["tool_calls"]}
    kept = {key: given[key] for key in ("content", "name", "tool_call_id") if key in given}
    return {"role": given.get("role") or kind, **kept, **calls}


def role_of(turn: Mapping[str, Any]) -> str:
    """The role that a message names, in small letters."""
    value = next((turn[key] for key in ROLE_KEYS if turn.get(key) is not None), "")
    if isinstance(value, Mapping):  # {"author": {"role": "user"}}
        value = value.get("role", "")
    return str(value).strip().lower()


def is_written(value: Any) -> bool:
    """Whether it is a message of a known role that has a content or tool calls."""
    turn = as_message(value)
    if not isinstance(turn, Mapping) or role_of(turn) not in ROLES:
        return False
    return any(key in turn for key in (*CONTENT_KEYS, "tool_calls", "function_call"))


def pairs(value: list[Any]) -> list[dict[str, Any]] | None:
    """The messages of a list of pairs, ``[["user", "hi"], …]``; None where it is none."""
    if all(isinstance(one, list) and len(one) == 2 and _is_role(one[0]) for one in value):
        return [{"role": role, "content": content} for role, content in value]
    return None


def columns(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The messages of an object of columns, ``{"role": […], "content": […]}``; None where it is none."""
    roles = next((value[key] for key in ROLE_KEYS if isinstance(value.get(key), list)), None)
    contents = next((value[key] for key in CONTENT_KEYS if isinstance(value.get(key), list)), None)
    if not roles or contents is None or not all(map(_is_role, roles)) or len(roles) != len(contents):
        return None
    return [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]


def hidden(value: Any, depth: int = 0) -> str | None:
    """Where in a value a message stands, such as ``body.messages``; None where none does, an empty text for itself."""
    value = unwrapped(value)
    if depth > _DEEPEST or not isinstance(value, list | Mapping):
        return None
    if is_written(value) or (isinstance(value, Mapping) and _is_columns(lower(value))):
        return ""
    if isinstance(value, list) and value and pairs(value):
        return ""
    for key, one in _inside(value):
        if (rest := hidden(one, depth + 1)) is not None:
            return ".".join(part for part in (key, rest) if part)
    return None


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    else:
        yield from (("", one) for one in value)


def _is_columns(value: Mapping[str, Any]) -> bool:
    """Whether there are columns, of the same length or not."""
    roles = next((value[key] for key in ROLE_KEYS if isinstance(value.get(key), list)), None)
    return bool(roles) and all(map(_is_role, roles or ())) and any(isinstance(value.get(k), list) for k in CONTENT_KEYS)


def _is_role(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() in ROLES
