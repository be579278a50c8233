"""Tool calls in conversations, and their results: OpenAI's ``tool_calls`` and ``function_call``, Anthropic's parts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ftcore.data.conversations._malformed import MalformedError

Change: TypeAlias = Callable[[str], str]
KEYS = ("tool_calls", "function_call")
PARTS = ("tool_use", "tool_result")
"""Types of content parts that are a call or a result."""
LARGE = 1e21
"""Floats from here on are no numbers that name anybody."""


def of_turn(where: str, turn: Mapping[str, Any], content: Any) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Calls of a turn, and the tool turn that it is where its content is the result of a call.

    Raises:
        MalformedError: a call without the name of a function, or results that cannot be one turn.
    """
    given = turn.get("tool_calls")
    given = _decoded(given) if isinstance(given, str) else given
    if given and not isinstance(given, list):
        raise MalformedError(f"{where} has tool calls that are no list: {str(given)[:60]!r}")
    calls = [_call(where, one) for one in given or ()]
    if turn.get("function_call"):
        calls.append(_call(where, _decoded(turn["function_call"])))
    parts = [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []
    calls += [_call(where, part) for part in parts if part.get("type") == "tool_use"]
    results = [part for part in parts if part.get("type") == "tool_result"]
    if not results:
        return calls, None
    if len(results) > 1 or len(parts) > 1:
        raise MalformedError(f"{where} mixes several results of tool calls, or a result and text, in one turn")
    return calls, _result(where, results[0])


def of_content(where: str, content: Any) -> list[dict[str, Any]]:
    """Calls that stand in a turn's content as JSON, as in the role ``function_call``.

    Raises:
        MalformedError: the content is none.
    """
    value = _decoded(content)
    return [_call(where, one) for one in (value if isinstance(value, list) else [value])]


def edit(turn: dict[str, Any], change: Change, name: Change) -> dict[str, Any]:
    """A turn with what its calls say changed.

    Args:
        turn: in the one form.
        change: of texts and whole numbers in arguments, at any depth.
        name: of names of functions and arguments.
    """
    if isinstance(turn.get("name"), str):
        turn = {**turn, "name": name(turn["name"])}
    if not turn.get("tool_calls"):
        return turn
    return {**turn, "tool_calls": [_edited(call, change, name) for call in turn["tool_calls"]]}


def identities(turn: Mapping[str, Any]) -> list[str]:
    """Ids of a turn's calls, and of the call that it answers."""
    given = [call.get("id") for call in turn.get("tool_calls") or ()]
    return [one for one in (*given, turn.get("tool_call_id")) if isinstance(one, str) and one]


def renamed(turn: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A turn with some of those ids replaced, in calls and in what answers them alike."""
    if "tool_call_id" in turn:
        turn = {**turn, "tool_call_id": names.get(turn["tool_call_id"], turn["tool_call_id"])}
    if not turn.get("tool_calls"):
        return turn
    calls = [{**call, "id": names.get(call["id"], call["id"])} if "id" in call else call for call in turn["tool_calls"]]
    return {**turn, "tool_calls": calls}


def shown(turn: Mapping[str, Any], tool_role: str) -> dict[str, Any]:
    """A turn with role and content alone, calls written as models of the Hermes and Qwen families write them."""
    role, content = turn["role"], turn["content"]
    if role == "tool":
        if tool_role == "tool":
            return {"role": role, "content": content}
        return {"role": tool_role, "content": f"<tool_response>\n{content}\n</tool_response>"}
    calls = (json.dumps(call["function"], ensure_ascii=False) for call in turn.get("tool_calls") or ())
    written = [f"<tool_call>\n{call}\n</tool_call>" for call in calls]
    return {"role": role, "content": "\n".join([*([content] if content else []), *written]) if written else content}


def texts(turn: Mapping[str, Any]) -> list[str]:
    """Names of the functions that a turn calls, and every text in their arguments: what a template must show."""
    found: list[str] = []

    def keep(text: str) -> str:
        found.append(text)
        return text

    for call in turn.get("tool_calls") or ():
        keep(call["function"]["name"])
        _walk(call["function"]["arguments"], keep, str)
    return found


def _call(where: str, value: Any) -> dict[str, Any]:
    inner = value.get("function") if isinstance(value, Mapping) else None
    function = inner if isinstance(inner, Mapping) else value
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not name.strip():
        raise MalformedError(f"{where} has a tool call without the name of a function: {str(value)[:80]!r}")
    assert isinstance(function, Mapping)
    given: Any = next(
        (function[key] for key in ("arguments", "parameters", "input", "args") if function.get(key) is not None), {}
    )
    decoded = _decoded(given)
    arguments = decoded if isinstance(decoded, Mapping | list) else given  # a text stays one, however often it is read
    call = {"type": "function", "function": {"name": name.strip(), "arguments": arguments}}
    identity = value.get("id")
    return {**call, "id": str(identity)} if identity else call


def _result(where: str, part: Mapping[str, Any]) -> dict[str, Any]:
    content = part.get("content")
    if isinstance(content, list):
        if strange := [one for one in content if not (isinstance(one, Mapping) and isinstance(one.get("text"), str))]:
            kind = strange[0].get("type") if isinstance(strange[0], Mapping) else str(strange[0])[:60]
            raise MalformedError(
                f"{where} has a tool result with a part of the type {kind!r}; only text can be learned"
            )
        content = "\n".join(one["text"] for one in content)
    if content is not None and not isinstance(content, str):
        raise MalformedError(f"{where} has a tool result that is no text: {str(content)[:60]!r}")
    found = {"role": "tool", "content": content or ""}
    return {**found, "tool_call_id": str(part["tool_use_id"])} if part.get("tool_use_id") else found


def _decoded(value: Any) -> Any:
    """JSON that stands as a string; any other string as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, strict=False)
    except json.JSONDecodeError:
        return value


def _edited(call: Mapping[str, Any], change: Change, name: Change) -> dict[str, Any]:
    function = call["function"]
    arguments = _walk(function["arguments"], change, name)
    return {**call, "function": {**function, "name": name(function["name"]), "arguments": arguments}}


def _walk(value: Any, change: Change, name: Change) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, int | float) and not isinstance(value, bool):  # a phone number, for example
        if isinstance(value, float) and not (value.is_integer() and abs(value) < LARGE):
            return value
        text = str(int(value))
        changed = change(text)
        return value if changed == text else changed
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        for key, one in value.items():
            told = name(key)
            while told in found:  # two keys that are masked alike stay two
                told += "_"
            found[told] = _walk(one, change, name)
        return found
    return [_walk(one, change, name) for one in value] if isinstance(value, list) else value
