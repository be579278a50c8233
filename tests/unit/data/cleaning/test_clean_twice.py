"""Every task's rows through the one function: twice is once, and what the task counts stays the same in number."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftcore.data import snapshot
from ftcore.data.cleaning import personal, rows
from ftcore.data.conversations import turns
from ftcore.recipe.kinds import kind_class, kinds
from ftcore.recipe.sections import PersonalData

CLEANER = personal.cleaner(PersonalData(code="keep"), {}, "r")
PIECES = [
    "anna@example.org",
    "&amp;",
    "&lt;b&gt;",
    "<p>",
    "“x”",
    "cafÃ©",
    "\n",
    "```\n",
    "+49 30 901820",
    "４",
    "\x07",
    " \t",
]
TEXT = st.lists(st.sampled_from([*PIECES, "a", "word", "[", "Ã", "©"]), max_size=8).map("".join) | st.text(max_size=20)
ROLES = ("system", "human", "gpt", "tool")
TURNS = st.lists(st.fixed_dictionaries({"role": st.sampled_from(ROLES), "content": TEXT}), min_size=1)
CONVERSATION = TURNS.map(lambda value: json.dumps(value, ensure_ascii=False))


def cleaned(task: Any, table: pa.Table) -> rows.Cleaned:
    return rows.clean(table, task, CLEANER)


def table_of(source: str, **columns: str | None) -> pa.Table:
    return pa.Table.from_pylist([{"row_id": "a", "source": source, **columns}], schema=snapshot.schema())


@pytest.mark.parametrize("kind", kinds("tasks"))
@settings(deadline=None, max_examples=40)
@given(
    text=TEXT | CONVERSATION,
    context=st.none() | TEXT,
    label=st.none() | TEXT | st.sampled_from(["a", "O", "1"]),
    rejected=st.none() | TEXT,
)
def test_cleaning_twice_changes_nothing(kind: str, text: str, context: Any, label: Any, rejected: Any) -> None:
    module = kind_class("tasks", kind)
    task = module.model_validate(module.EXAMPLE)
    source = "files:topics" if kind == "multitask" else "files:x"
    once = cleaned(task, table_of(source, text=text, context=context, label=label, rejected=rejected))
    if once.faults:
        return  # quarantined: no model sees it
    twice = cleaned(task, once.table)
    assert twice.table.to_pylist() == once.table.to_pylist()
    assert twice.faults == {}


@pytest.mark.parametrize("kind", ["chat", "preference"])
def test_every_order_of_roles_is_read_the_same_again(kind: str) -> None:
    task, rejected = kind_class("tasks", kind)(), "no" if kind == "preference" else None
    for roles in (roles for length in (1, 2, 3) for roles in itertools.product(ROLES, repeat=length)):
        text = json.dumps([{"role": role, "content": content} for role, content in zip(roles, "abc", strict=False)])
        for label in (None, "z", "abc"[len(roles) - 1], "a"):
            once = cleaned(task, table_of("files:x", text=text, label=label, rejected=rejected))
            twice = cleaned(task, once.table)
            if not once.faults:
                assert (twice.faults, twice.table.to_pylist()) == ({}, once.table.to_pylist()), (roles, label)


@settings(deadline=None, max_examples=60)
@given(TURNS)
def test_a_conversation_has_as_many_turns_after_as_before(value: list[dict[str, str]]) -> None:
    task = kind_class("tasks", "chat")()
    found = cleaned(task, table_of("s", text=json.dumps(value), label="yes"))
    if not found.faults:
        kept = turns.load(found.table["text"][0].as_py())
        assert kept is not None
        # An answer that stands in the conversation, too, is its label and no turn before it.
        assert len(kept) == len(value) - (value[-1]["role"] == "gpt")


def test_what_cannot_be_read_is_named_without_personal_data() -> None:
    task = kind_class("tasks", "chat")()
    found = cleaned(task, table_of("s", text='[{"role": "user", "content": "write to anna@example.org"', label="x"))
    assert list(found.faults) == [0]
    assert "starts like a conversation and is no JSON" in found.faults[0]
    assert "example.org" not in found.faults[0] + found.table["text"][0].as_py()


@pytest.mark.parametrize(
    ("columns", "text", "label"),
    [
        ({"text": [["user", "a"], ["assistant", "b"]], "label": None}, [["user", "a"]], "b"),
        ({"text": [["user", "a"], ["assistant", "b"]], "label": "b"}, [["user", "a"]], "b"),
        ({"text": "a", "label": [["assistant", "b"]]}, "a", "b"),
        ({"text": [["user", "a"]], "label": [["user", "a"], ["assistant", "b"]]}, [["user", "a"]], "b"),
        ({"text": [["user", "c"]], "context": [["user", "a"], ["assistant", "b"]], "label": "d"},
         [["user", "a"], ["assistant", "b"], ["user", "c"]], "d"),
    ],
)  # fmt: skip
def test_an_answer_stands_in_its_column_or_ends_the_conversation(columns: Any, text: Any, label: str) -> None:
    def written(value: Any) -> Any:
        return turns.write([{"role": r, "content": c} for r, c in value]) if isinstance(value, list) else value

    found = cleaned(kind_class("tasks", "chat")(), table_of("s", **{k: written(v) for k, v in columns.items()}))
    assert found.faults == {}
    assert found.table["text"][0].as_py() == written(text)
    assert found.table["label"][0].as_py() == label


@pytest.mark.parametrize(
    ("text", "label", "why"),
    [
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "c", "has another answer"),
        ([{"role": "assistant", "content": "b"}], None, "only an assistant turn"),
        ([{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}], None, "two assistant turns"),
        ([{"role": "user", "content": "a"}], None, "answer is missing"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"name": "f"}]}], None, "tool calls"),
    ],
)
def test_a_conversation_without_one_answer_is_named(text: Any, label: str | None, why: str) -> None:
    found = cleaned(kind_class("tasks", "chat")(), table_of("s", text=json.dumps(text), label=label))
    assert why in found.faults[0]


def test_pairs_keep_the_last_turn_that_is_scored() -> None:
    text = turns.write([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    found = rows.clean(table_of("s", text=text), kind_class("tasks", "preference")(), CLEANER, requests=True)
    assert (found.faults, found.table["text"][0].as_py()) == ({}, text)


def test_code_is_left_alone_where_the_recipe_says_so() -> None:
    text = "Ask anna@example.org.\n```\nmail = 'bob@example.org'\n```\nor 192.168.7.14"
    assert CLEANER.clean([text])[0] == [
        text.replace("anna@example.org", "[EMAIL_ADDRESS]").replace("192.168.7.14", "[IP_ADDRESS]")
    ]
    assert "bob" not in personal.cleaner(PersonalData(), {}, "r").clean([text])[0][0]


def test_calls_hold_no_personal_data_in_names_keys_numbers_and_ids() -> None:
    mail, card = "anna@example.org", 4111111111111111
    arguments = {"to": [mail, {mail: 1, "bob@example.org": [float(card), card, 5, 2.5, True, None]}]}
    calls = [
        {"id": mail, "function": {"name": f"mail_{mail}", "arguments": arguments}},
        {"id": "call_1", "function": {"name": "clock", "arguments": "{}"}},
    ]
    asked = [
        {"role": "user", "content": "write"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": mail, "name": f"to {mail}", "content": f"sent to {mail}"},
    ]
    task = kind_class("tasks", "chat")()
    made = cleaned(task, table_of("files:x", text=json.dumps(asked), label="done"))
    assert made.faults == {}
    (text,) = made.table["text"].to_pylist()
    assert "example.org" not in text
    assert "4111" not in text
    _, called, told = json.loads(text)
    assert [one["id"] for one in called["tool_calls"]] == ["call_2", "call_1"]
    assert told["tool_call_id"] == "call_2"
    told = called["tool_calls"][0]["function"]["arguments"]["to"][1]
    assert told["[EMAIL_ADDRESS]"] == 1
    assert told["[EMAIL_ADDRESS]_"] == ["[CREDIT_CARD]", "[CREDIT_CARD]", 5, 2.5, True, None]
    assert cleaned(task, made.table).table.equals(made.table), "twice is once"
    raw = turns.write(turns.read(json.dumps(asked)) or [])
    assert sum(len(found) for found in CLEANER.finder.find(turns.flat([raw])[0]).values()) == 9
