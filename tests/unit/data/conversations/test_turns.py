"""Conversations in every form in which sources write them, and texts that only look like one."""

from __future__ import annotations

import contextlib
import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftcore.data.conversations import turns
from ftcore.data.conversations.turns import MalformedError

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
        json.dumps(json.dumps(json.dumps([USER, BOT]))),
        json.dumps(json.dumps(json.dumps(json.dumps([USER, BOT])))),
        json.dumps(str([USER, BOT])),
        "\ufeff" + json.dumps([USER, BOT]),
        "\xa0" + json.dumps([USER, BOT]) + "\u200b",
        "\u200b" + json.dumps([USER, BOT]),
        [[USER, BOT]],
        [{"messages": [USER, BOT]}],
        {"id": 3, "Messages": [USER, BOT]},
        {"custom_id": "1", "body": {"model": "m", "messages": [USER, BOT]}},
        {"data": {"messages": [USER, BOT]}},
        {"items": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]},
        {"contents": [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "yo"}]}]},
        {"uuid": "x", "chat_messages": [{"sender": "human", "text": "hi"}, {"sender": "assistant", "text": "yo"}]},
        [["user", "hi"], ["assistant", "yo"]],
        "[('user', 'hi'), ('assistant', 'yo')]",
        {"role": ["user", "assistant"], "content": ["hi", "yo"]},
        {"from": ["human", "gpt"], "value": ["hi", "yo"]},
        [{"Role": "User", "Content": "hi"}, {"Role": "Assistant", "Content": "yo"}],
        [{"type": "human", "data": {"content": "hi"}}, {"type": "ai", "data": {"content": "yo"}}],
        "[{'type': 'human', 'content': 'hi'}, {'type': 'ai', 'content': 'yo'}]",
        [
            {"lc": 1, "type": "constructor", "id": ["langchain", "HumanMessage"], "kwargs": {"content": "hi"}},
            {"lc": 1, "type": "constructor", "id": ["langchain", "AIMessageChunk"], "kwargs": {"content": "yo"}},
        ],
        "[HumanMessage(content='hi', additional_kwargs={}), AIMessage(content='yo', response_metadata={'t': 1})]",
        "{'id': 'c', 'messages': [{'role': 'user', 'content': 'hi'}, {'role': 'assistant', 'content': 'yo'}]}",
        '{"id": "c", "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"},]}',
        '{"role": "user", "content": "hi"}\n{"role": "assistant", "content": "yo"}\n',
        "array([{'content': 'hi', 'role': 'user'},\n       {'content': 'yo', 'role': 'assistant'}], dtype=object)",
        "{'messages': array([{'role': 'user', 'content': 'hi'}, {'from': 'gpt', 'value': 'yo'}], dtype=object)}",
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
        ('{"id": 3, "messages": [{"role": "user", "content": "hi"}', "starts like a conversation and is no JSON"),
        ("{'id': 3, 'messages': [{'role': 'user', 'content': nan}]}", "starts like a conversation and is no JSON"),
        ("[{'role': 'user', 'content': 'hi'}, {'role': 'assis", "starts like a conversation and is no JSON"),
        ('{"role": "assistant", "content": "hel', "starts like a conversation and is no JSON"),
        ("[HumanMessage(content='hi'), AIMess", "starts like a conversation and is no JSON"),
        ('[["user", "hi"], ["assist', "starts like a conversation and is no JSON"),
        ("{'role': 'assistant', 'content': None}", "turn 1 \\(assistant\\) has no content"),
        ('[{"role": "user", "content": NaN}]', "a content that is no text: nan"),
        ('[{"role": "user", "content": -Infinity}]', "a content that is no text: -inf"),
        ({"messages": {"0": USER, "1": BOT}}, "looks like a conversation and cannot be read: .* 'messages.0'"),
        ({"prompt": "p", "chosen": [USER, BOT], "rejected": [USER, BOT]}, "cannot be read: .* 'chosen'"),
        (
            {"mapping": {"a": {"message": {**BOT, "author": {"role": "user"}}}}},
            "cannot be read: .* 'mapping.a.message'",
        ),
        ({"choices": [{"message": BOT}]}, "cannot be read: .* 'choices.message'"),
        ([[USER], [BOT]], "looks like a conversation and cannot be read"),
        ({"role": ["user", "assistant"], "content": ["hi"]}, "looks like a conversation and cannot be read"),
        ([USER, {**BOT, "weight": 0}], "turn 2 \\(assistant\\) has the weight 0"),
        ({"system": "s", "messages": [{"role": "system", "content": "t"}, USER]}, "a system prompt stands next to"),
        ({"system": [{"type": "image", "source": {}}], "messages": [USER]}, "the system prompt has a content part"),
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
        "[urgent] help, my messages are gone",
        '[HELP] the "role": "user" and "content": "x" keys are refused',
        "Why does `{'role': 'user', 'content': 'hi'}` raise?",
        "{'role': 'user', 'content': x} raises NameError, why?",
        "[{'role': 'user', 'content': 'hi'}] is refused by the API, why?",
        '{\n "messages": [{"role": "user", "content": prompt}]\n}\nWhy do I get an error?',
        "{'a': 1} why doesn't this have messages?",
        "HumanMessage(content='hi') is deprecated?",
        "array([1, 2]) what is its dtype?",
        '{"name": "x", "role": "admin", "content": "all"}',
        '{"author": "bot", "version": 3}',
        '{"users": [{"role": "user", "name": "Bob"}], "turns": 5}',
        '{"dialog": "open", "type": "system"}',
        '{"data": [1, 2], "messages": 3}',
        '[["q", "a"], ["q2", "a2"]]',
        '[{"question": "q", "answer": "a"}]',
        '{"text": "x"}',
        '"user" and "assistant": which roles are there?',
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


def test_a_system_prompt_of_content_parts_and_one_next_to_any_list_is_kept() -> None:
    system = {"role": "system", "content": "s"}
    assert read({"system": [{"type": "text", "text": "s"}], "messages": [USER]}) == [system, USER]
    assert read({"systemInstruction": {"parts": [{"text": "s"}]}, "contents": [USER]}) == [system, USER]
    assert read({"system": "s", "messages": [system, USER]}) == [system, USER]


@pytest.mark.parametrize("depth", [50, 400, 2_000, 100_000])
def test_deep_values_break_nothing(depth: int) -> None:
    with contextlib.suppress(MalformedError):
        assert read("[" * depth + '{"role": "user", "content": "hi"}' + "]" * depth) in ([USER], None)


def test_weight_0_on_an_earlier_turn_changes_nothing() -> None:
    assert read([USER, {**BOT, "weight": 0}, USER, BOT]) == [USER, BOT, USER, BOT]


@pytest.mark.parametrize(
    "content", [[{"type": "image", "source": {}}], [{"type": "text", "text": "x"}, {"type": "image"}]]
)
def test_an_image_in_the_result_of_a_tool_is_named(content: Any) -> None:
    result = {"type": "tool_result", "tool_use_id": "1", "content": content}
    with pytest.raises(MalformedError, match=r"turn 1 .* a tool result with a part of the type 'image'"):
        read([{"role": "user", "content": [result]}])


def test_a_langchain_message_keeps_its_tool_calls() -> None:
    call = "AIMessage(content='', tool_calls=[{'name': 'clock', 'args': {'place': 'Rome'}, 'type': 'tool_call'}])"
    assert read(f"[HumanMessage(content='hi'), {call}]") == [USER, CALLING]


@pytest.mark.parametrize("text", ['[{"type": "text", "text": "x"}]', "{'type': 'text', 'text': 'x'}"])
def test_content_parts_without_a_turn_are_their_text(text: str) -> None:
    assert turns.parts(text) == "x"


@pytest.mark.parametrize("text", ["x", None, "[1]", '{"type": "string", "text": "x"}', '[{"type": "text"}, 1]'])
def test_other_values_are_no_content_parts(text: str | None) -> None:
    assert turns.parts(text) is None


@pytest.mark.parametrize("start", ["[", '"', "{", '["role", ', "'"])
@pytest.mark.parametrize("middle", ["\\", "a", '\\"', "{", "'", "x.", " ", "} \n "])
def test_long_texts_are_read_in_little_time(start: str, middle: str) -> None:
    began = time.process_time()
    with contextlib.suppress(MalformedError):
        turns.read(start + middle * 5_000 + '"role": "content": ')
    assert time.process_time() - began < 5


TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.text(max_size=20)}
) | st.fixed_dictionaries({"from": st.sampled_from(["human", "gpt"]), "value": st.text(max_size=20)})


@given(st.lists(TURN, min_size=1, max_size=5))
def test_as_many_turns_after_as_before_and_reading_twice_changes_nothing(value: list[Any]) -> None:
    found = read(value)
    assert len(found) == len(value)
    assert [turn["content"] for turn in found] == [turn.get("content", turn.get("value")) for turn in value]
    assert turns.load(turns.write(found)) == turns.read(turns.write(found)) == found
