"""Conversations in every form in which sources write them, and texts that only look like one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftcore.conversations import turns
from ftcore.conversations.turns import MalformedError

USER, BOT = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}
CALL = {"type": "function", "function": {"name": "clock", "arguments": {"place": "Rome"}}}
CALLING = {"role": "assistant", "content": "", "tool_calls": [CALL]}


def read(value: Any) -> Any:
    return turns.read(value if isinstance(value, str) else json.dumps(value))


@pytest.mark.parametrize(
    "value",
    [
        [USER, BOT],
        json.dumps(json.dumps([USER, BOT])),
        " \n " + json.dumps([USER, BOT]),
        [json.dumps(USER), json.dumps(BOT)],
        {"messages": [USER, BOT], "id": 7},
        {"conversations": json.dumps([USER, BOT])},
        [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}],
        [{"role": "Human", "content": "hi"}, {"role": "bot", "content": "yo", "weight": 1}],
        [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": ["yo"]}],
        [{"role": "user", "content": [{"type": "text", "text": "hi"}]}, BOT],
        [{"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["hi"]}}, BOT],
        "[{'role': 'user', 'content': 'hi'}, {'content': 'yo', 'role': 'assistant', 'tool_calls': None}]",
        "[{'role': 'user', 'content': 'hi'}\n {'role': 'assistant', 'content': 'yo'}]",
        json.dumps([USER, BOT]).replace('"', "&quot;"),
    ],
)
def test_every_form_is_read_into_one(value: Any) -> None:
    assert read(value) == [USER, BOT]
    assert turns.write(read(value)).startswith(turns.START)


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "clock", "arguments": '{"place": "Rome"}'}}]},
        {"role": "assistant", "content": None, "function_call": {"name": "clock", "arguments": '{"place": "Rome"}'}},
        {"role": "assistant", "content": [{"type": "tool_use", "name": "clock", "input": {"place": "Rome"}}]},
        {"from": "function_call", "value": '{"name": "clock", "arguments": {"place": "Rome"}}'},
    ],
)
def test_a_tool_call_keeps_its_function_and_arguments(turn: Any) -> None:
    asked, called, answered = read([USER, turn, {"role": "function", "name": "clock", "content": "noon"}])
    assert (asked, called) == (USER, CALLING)
    assert answered == {"role": "tool", "content": "noon", "name": "clock"}
    shown = turns.shown([called, answered], tool_role="user")
    assert shown[0]["content"] == '<tool_call>\n{"name": "clock", "arguments": {"place": "Rome"}}\n</tool_call>'
    assert shown[1] == {"role": "user", "content": "<tool_response>\nnoon\n</tool_response>"}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([USER, {"role": "assistant", "content": None}], "turn 2 \\(assistant\\) has no content"),
        ([{"role": "alien", "content": "x"}], "turn 1 has the unknown role 'alien'"),
        ([{"from": "alice", "value": "x"}], "unknown role 'alice'"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "the type 'image_url'"),
        ([{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "input_audio"}]}], "'input_audio'"),
        ([{"role": "user", "content": True}], "a content that is no text: True"),
        ([USER, "junk"], "turn 2 is no message: 'junk'"),
        ([USER, {"role": "assistant", "tool_calls": [{"function": {}}]}], "a tool call without the name"),
        ([{**USER, "tool_calls": [CALL]}], "tool calls, which only an assistant turn may have"),
        ({"messages": [USER], "tools": [{"name": "f"}]}, "tool definitions"),
        ('[{"role": "user", "content": "hi"', "starts like a conversation and is no JSON"),
        ("[{“role”: “user”, “content”: “hi”}]", "starts like a conversation and is no JSON"),
        (json.dumps([USER]) + json.dumps([BOT]), "more stands behind the conversation"),
    ],
)
def test_what_is_meant_as_a_conversation_and_is_none_says_why(value: Any, why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        read(value)


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2] what comes next?",
        '[{"role": "admin"}] why does this fail?',
        '[{"role": "user", "content": "hi"}] how do I send this?',
        '[{"name": "x"}]',
        '{"a": 1}',
        '"quoted"',
        "[ok] then",
        "[]",
        "",
        None,
    ],
)
def test_a_text_that_only_looks_so_stays_a_text(text: str | None) -> None:
    assert turns.read(text) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([{"role": "system", "content": "s"}], "only system turns"),
        ([{**USER, "content": " "}, BOT], "turn 1 .* is empty"),
    ],
)
def test_turns_that_ask_nothing_are_named(value: Any, why: str) -> None:
    assert re.search(why, turns.check(read(value)) or "")


TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.text(max_size=20)}
) | st.fixed_dictionaries({"from": st.sampled_from(["human", "gpt"]), "value": st.text(max_size=20)})


@given(st.lists(TURN, min_size=1, max_size=5))
def test_as_many_turns_after_as_before_and_reading_twice_changes_nothing(value: list[Any]) -> None:
    found = read(value)
    assert len(found) == len(value)
    assert [turn["content"] for turn in found] == [turn.get("content", turn.get("value")) for turn in value]
    assert turns.load(turns.write(found)) == turns.read(turns.write(found)) == found
