"""Texts that somebody wrote in a chat template: read into turns, refused by name, or left as the prose they are."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftcore.data.cleaning.rows import Rows
from ftcore.data.conversations import turns
from ftcore.data.conversations.turns import MalformedError
from ftcore.tasks.chat import Chat

Turns = Sequence[tuple[str, str]]
USER, BOT, SYSTEM = ("user", "hi"), ("assistant", "hello"), ("system", "be brief")


def _chatml(said: Turns) -> str:
    return "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in said)


def _llama3(said: Turns) -> str:
    head = "<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>"
    return "<|begin_of_text|>" + "".join(head.format(role, content) for role, content in said)


def _gemma(said: Turns) -> str:
    names = {"assistant": "model"}
    return "<bos>" + "".join(f"<start_of_turn>{names.get(r, r)}\n{c}<end_of_turn>\n" for r, c in said)


def _zephyr(said: Turns) -> str:
    return "\n".join(f"<|{role}|>\n{content}</s>" for role, content in said)


def _phi(said: Turns) -> str:
    return "".join(f"<|{role}|>\n{content}<|end|>\n" for role, content in said)


def _llama2(said: Turns) -> str:
    text, system = "", ""
    for role, content in said:
        if role == "system":
            system = f"<<SYS>>\n{content}\n<</SYS>>\n\n"
        elif role == "user":
            text, system = f"{text}<s>[INST] {system}{content} [/INST]", ""
        else:
            text += f" {content} </s>"
    return text


def _dialogue(said: Turns) -> str:
    return "".join(f"\n\n{'Human' if role == 'user' else 'Assistant'}: {content}" for role, content in said)


def _guanaco(said: Turns) -> str:
    return "".join(f"### {'Human' if role == 'user' else 'Assistant'}: {content}" for role, content in said)


def _fence(said: Turns) -> str:
    return f"```json\n{json.dumps([{'role': role, 'content': content} for role, content in said])}\n```"


TOKENS: list[Callable[[Turns], str]] = [_chatml, _llama3, _gemma, _zephyr, _phi, _llama2, _fence]
WORDS: list[Callable[[Turns], str]] = [_dialogue, _guanaco]


def read(text: str) -> list[tuple[str, str]] | None:
    found = turns.read(text)
    return None if found is None else [(turn["role"], turn["content"]) for turn in found]


SAID = ([USER, BOT], [USER, BOT, ("user", "a\n\nb"), BOT], [SYSTEM, USER, BOT])


@pytest.mark.parametrize(
    ("form", "said"),
    [(form, said) for form in [*TOKENS, *WORDS] for said in SAID if form not in WORDS or SYSTEM not in said],
)
def test_a_text_of_marked_turns_is_those_turns(form: Callable[[Turns], str], said: list[tuple[str, str]]) -> None:
    for around in ("{}", " {}\n", "\ufeff{}", "\n\n{}\n\n"):
        assert read(around.format(form(said))) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", [USER]),
        ("<|im_start|>user hi<|im_end|> <|im_start|>assistant hello<|im_end|>", [USER, BOT]),
        ("<|im_start|>user\r\nhi<|im_end|>\r\n<|im_start|>assistant\r\nhello<|im_end|><|endoftext|>", [USER, BOT]),
        ("<|im_start|>human\nhi<|im_end|>", [USER]),
        (_llama3([USER]) + "<|start_header_id|>assistant<|end_header_id|>\n\n", [USER]),
        ("<start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\n", [USER]),
        ("<|system|>\n</s>\n<|user|>\nhi</s>\n<|assistant|>\n", [USER]),
        ("<|user|>\nhi\n<|assistant|>\nhello", [USER, BOT]),
        ("[INST] hi [/INST]", [USER]),
        ("[INST]hi[/INST]hello", [USER, BOT]),
        ("[SYSTEM_PROMPT]be brief[/SYSTEM_PROMPT][INST]hi[/INST]hello</s>", [SYSTEM, USER, BOT]),
        ("\n\nHuman: hi\n\nAssistant:", [USER]),
        ("\n\nHuman: hi", [USER]),
        ("Human: hi\n\nAssistant: hello", [USER, BOT]),
        ("Human: hi\r\n\r\nAssistant: hello", [USER, BOT]),
        ("Human: hi\nAssistant: hello", [USER, BOT]),
        ("Human: hi\n\nAssistant: he said\nHuman: no", [USER, ("assistant", "he said\nHuman: no")]),
        ("### Human: hi\n### Assistant: hello", [USER, BOT]),
        ('```\n{"messages": [{"role": "user", "content": "hi"}]}\n```', [USER]),
        ('```jsonl\n{"role": "user", "content": "hi"}\n{"role": "assistant", "content": "hello"}\n```', [USER, BOT]),
        ("```python\n[{'from': 'human', 'value': 'hi'}]\n```", [USER]),
    ],
)  # fmt: skip
def test_turns_are_read_as_people_write_them(text: str, said: list[tuple[str, str]]) -> None:
    assert read(text) == said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<|im_start|>user\nhi", r"turn 1 \(user\) of a text in the form of ChatML has no end mark"),
        ("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nhel", r"turn 2 \(assistant\) .* has no end mark"),
        ("<|im_start|>user\nhi<|im_end|> and more", "more stands behind turn 1 .*: 'and more'"),
        ("<|im_start|>user\nhi<|im_end|><|im_end|>", "more stands behind turn 1"),
        ("<|im_start|>user\nhi<|im_start|>assistant\nhello<|im_end|>", r"turn 1 \(user\) .* has no end mark"),
        ("<|im_start|>bob\nhi<|im_end|>", "turn 1 has the unknown role 'bob'"),
        ("<|im_start|>assistant\n", "asks nothing"),
        ("<|start_header_id|>user<|end_header_id|>\n\nhi", "form of Llama 3 has no end mark"),
        ("<start_of_turn>user\nhi<start_of_turn>model\nhello<end_of_turn>", "form of Gemma has no end mark"),
        ("<|user|>\nhi<|end|>\nhello", "more stands behind turn 1"),
        ("[INST] hi", "do not take turns"),
        ("[INST] hi [INST] hello [/INST]", "do not take turns"),
        ("[INST] hi [/INST] a [/INST] b", "do not take turns"),
        ("[INST] <<SYS>> be brief hi [/INST]", "holds '<<SYS>>'"),
        ("[SYSTEM_PROMPT] be brief [INST] hi [/INST]", "do not take turns"),
        ('```json\n[{"role": "user", "content": "hi"', "around a conversation is not closed"),
        ('```json\n[{"role": "user", "content": "hi"\n```', "starts like a conversation and is no JSON"),
    ],
)
def test_marks_that_are_broken_are_named(text: str, why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        turns.read(text)


@pytest.mark.parametrize(
    "text",
    [
        "What does <|im_start|>user mean?",
        "<|im_start|> is which token?",
        "<|im_start|>user begins a turn of ChatML, doesn't it?",
        "Explain this:\n<|im_start|>user\nhi<|im_end|>",
        "`[INST] hi [/INST]`: what is this?",
        "Why does Llama 2 need [INST] and [/INST]?",
        "Human: the species that reads this",
        "Human: a species\n\nHumans: more of them",
        "The log says\n\nHuman: hi\n\nAssistant: hello",
        "### Human: what does this heading mean?",
        "### Instructions\n\nStir.",
        "<|user|> and <|assistant|> are what?",
        "```json\n[1, 2]\n```",
        "```\nplain code\n```",
        '```json\n[{"role": "user", "content": "hi"}]\n```\nWhy is this refused?',
        'Why is this refused?\n```json\n[{"role": "user", "content": "hi"}]\n```',
        "```json\n[1, 2",
        "[INSTALL] fails",
    ],
)
def test_a_text_that_mentions_marks_stays_a_text(text: str) -> None:
    assert turns.read(text) is None


CONTENT = st.text("ab <>|[]/:#\n\\'\"", min_size=1, max_size=12).map(str.strip).filter(bool)


@given(st.sampled_from([*TOKENS, *WORDS]), st.lists(CONTENT, min_size=1, max_size=5))
def test_what_a_template_writes_comes_back(form: Callable[[Turns], str], contents: list[str]) -> None:
    said = [(("user", "assistant")[n % 2], content) for n, content in enumerate(contents)]
    assert read(form(said)) == (None if form is _guanaco and len(said) == 1 else said)


@pytest.mark.parametrize(
    "mark", ["<|im_start|>user\n", "[INST]", "\n\nHuman:", "### Human:", "```json\n[", "<|user|>\n"]
)
@pytest.mark.parametrize(
    "middle", ["\n", " ", "Human:", "[INST]", "<|im_start|>", "```", "\n```", "</s>", "\n\nAssistant:"]
)
def test_long_texts_are_read_in_little_time(mark: str, middle: str) -> None:
    began = time.process_time()
    for text in (mark + middle * 50_000, mark + middle * 50_000 + "x"):
        try:
            turns.read(text)
        except MalformedError:
            continue
    assert time.process_time() - began < 5


def row(text: str, label: str | None, rejected: str | None = None) -> tuple[Any, ...]:
    rows = Rows([text], [None], [label], [rejected], ["s"])
    faults = Chat().parse_rows(rows)
    if faults:
        return (faults[0],)
    first = (rows.text[0], rows.label[0], rows.rejected[0])
    assert not Chat().parse_rows(rows)
    assert (rows.text[0], rows.label[0], rows.rejected[0]) == first, "reading twice changes nothing"
    return first


ASKED = '[{"role": "user", "content": "hi"}]'
HH = "\n\nHuman: hi\n\nAssistant:"


@pytest.mark.parametrize(
    ("text", "label", "rejected"),
    [
        (_chatml([USER, BOT]), None, None),
        (_chatml([USER]) + "<|im_start|>assistant\n", "hello<|im_end|>", None),
        (_chatml([USER]), "<|im_start|>assistant\nhello<|im_end|>", "<|im_start|>assistant\nno<|im_end|>"),
        (_chatml([USER]), _chatml([USER, BOT]), _chatml([USER, ("assistant", "no")])),
        (_chatml([USER, BOT]), _chatml([USER, BOT]), _chatml([USER, ("assistant", "no")])),
        ("[INST] hi [/INST]", "hello </s>", "no</s>"),
        ("[INST] hi [/INST]", "[INST] hi [/INST] hello", "[INST] hi [/INST] no"),
        (HH, "hello", "no"),
        (HH, f"{HH} hello", f"{HH} no"),
        (f"{HH} hello", f"{HH} hello", f"{HH} no"),
        (f"{HH} hello", None, f"{HH} no"),
        (_fence([USER]), "hello", "no"),
        (_fence([USER]), _fence([USER, BOT]), _fence([USER, ("assistant", "no")])),
        (ASKED, _fence([USER, BOT]), None),
    ],
)
def test_questions_and_answers_in_marks_are_turns_and_texts(text: str, label: str | None, rejected: str | None) -> None:
    assert row(text, label, rejected) == (ASKED, "hello", rejected and "no")


@pytest.mark.parametrize("answer", [_fence([("assistant", "x")]), _fence([USER, BOT]), '```json\n[{"role": "user", '])
@pytest.mark.parametrize("asked", ["Write an example in JSON", ASKED])
def test_an_answer_that_is_a_block_of_code_stays_one(asked: str, answer: str) -> None:
    expected = "hello" if asked == ASKED and answer == _fence([USER, BOT]) else answer
    assert row(asked, answer)[1] == expected


@pytest.mark.parametrize(
    ("text", "label", "why"),
    [
        (_chatml([USER]), "hello<|im_end|>\n<|im_start|>user\nmore", "the answer holds the mark '<|im_end|>'"),
        ("[INST] hi [/INST]", "hello [INST] more", "the answer holds the mark '[INST]'"),
        (
            _chatml([USER, BOT]),
            "another",
            "the conversation ends with an assistant turn, and the row has another answer",
        ),
        (HH, "\n\nHuman: other\n\nAssistant: hello", "label is a conversation, and after the question it holds user"),
    ],
)
def test_answers_whose_marks_are_broken_are_named(text: str, label: str, why: str) -> None:
    assert row(text, label)[0].startswith(why)


def test_prose_with_marks_keeps_its_answer() -> None:
    question = "What does <|im_end|> mean?"
    assert row(question, "It ends a turn: <|im_end|>") == (question, "It ends a turn: <|im_end|>", None)
