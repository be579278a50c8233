"""Conversations that a base model's template refuses cost one row each, in training, evaluation and production."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from ftcore.data.conversations import templates, turns
from ftcore.errors import TrainingError
from ftcore.models import base, loading
from ftcore.models.outputs import Example
from ftcore.serving import scoring
from ftcore.store import store
from ftcore.tasks.chat import Chat
from ftcore.tasks.preference import Preference
from ftcore.training.readable_rows import readable
from tests.models import rows, small

if TYPE_CHECKING:
    from conftest import Product

STRICT = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
KNOWS_TOOLS = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %}"
    "CALL {{ c.function.name }} {{ c.function.arguments | tojson }}{% endfor %}\n{% endfor %}"
)
CALL = {"type": "function", "function": {"name": "clock", "arguments": {"place": 'the "house"'}}}
CALLED = [
    {"role": "user", "content": "a ?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "noon", "name": "clock"},
]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    small("llama", folder)
    return folder


@pytest.fixture
def words(llama: Path) -> Any:
    return loading.tokenizer(llama)


def twice(*contents: str) -> str:
    return turns.write([{"role": "user", "content": one} for one in contents])


def test_a_refused_row_is_left_out_and_named(words: Any, caplog: pytest.LogCaptureFixture) -> None:
    words.chat_template = STRICT
    table = rows(("a ?", None, "b"), (twice("a", "b"), None, "c"), ("c ?", None, "d"))
    kept, reasons = readable(Chat(), words, table, "the train split")
    ids = table["row_id"].to_pylist()
    assert kept["row_id"].to_pylist() == [ids[0], ids[2]]
    assert "roles must alternate" in reasons[ids[1]]
    assert f"1 of 3 rows of the train split are left out (rows {ids[1]})" in caplog.text
    assert len(Chat().encode(words, kept, 60)) == 2


def test_where_all_are_refused_nothing_can_be_trained(words: Any) -> None:
    words.chat_template = STRICT
    with pytest.raises(TrainingError, match=r"cannot be given any of the 1 rows of train.*roles must alternate"):
        readable(Chat(), words, rows((twice("a", "b"), None, "c")), "train")


def test_both_answers_of_a_pair_are_looked_at(words: Any) -> None:
    words.chat_template = "{% for m in messages %}{% if m.content == 'bad' %}{{ raise_exception('no') }}{% endif %}{{ m.content }}{% endfor %}"  # fmt: skip # noqa: E501
    found = Preference().unreadable(words, [Example("a", None, "b", "bad"), Example("a", None, "b", "c")])
    assert list(found) == [0]


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        (KNOWS_TOOLS, 'CALL clock {"place": "the \\"house\\""}'),
        (None, '<tool_call>\n{"name": "clock", "arguments": {"place": "the \\"house\\""}}\n</tool_call>'),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "tool: noon"),
        (STRICT, "user: <tool_response>\nnoon\n</tool_response>"),
    ],
)
def test_a_model_sees_tool_calls_and_their_results_whatever_its_template(words: Any, template: Any, shown: str) -> None:
    words.chat_template = template
    text = templates.render(templates.templated(words), CALLED, ask=False)
    assert shown in text
    assert "clock" in text
    assert "None" not in text


def test_a_template_that_drops_a_turn_is_refused(words: Any) -> None:
    words.chat_template = "{% for m in messages if m.role != 'tool' %}{{ m.role }}: {{ m.content }}{% endfor %}"
    assert "noon" in templates.render(words, CALLED, ask=False)  # in a user turn
    words.chat_template = "{{ messages[0].content }}"
    assert "leaves out" in Chat().unreadable(words, [Example(turns.write(CALLED))])[0]


def test_in_production_what_cannot_be_asked_is_refused_by_name(product: Product, llama: Path, tmp_path: Path) -> None:
    task = {"kind": "chat", "answer_tokens": 3}
    tokenizer = loading.tokenizer(llama)
    tokenizer.chat_template = STRICT
    base.write_model(Chat().load(llama), tokenizer, tmp_path / "model")
    card = {"task": Chat(answer_tokens=3).model_dump(mode="json"), "max_length_tokens": 64}
    store.write_json(tmp_path / "model" / "ftcore.json", card)
    product.crown("first", folders=[tmp_path / "model"])
    product.change(task=task, exports=[])
    asked = [
        "a ?",
        twice("a", "b"),
        '[{"role": "user", "content": "broken',
        json.dumps([{"from": "human", "value": "a ? ann@example.org"}]),
        json.dumps([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]),
    ]
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in asked), encoding="utf-8")
    table = scoring.score(product.recipe, product.shelf, product.settings, path)
    refusals = table[scoring.REFUSAL].to_pylist()
    assert refusals[0] is refusals[3] is None
    assert "roles must alternate" in refusals[1]
    assert "is no JSON" in refusals[2]
    assert "there is no question" in refusals[4]
    assert [label is None for label in table["label"].to_pylist()] == [False, True, True, False, True]
    log = product.shelf.read_log("predictions")
    assert isinstance(log, pa.Table)
    assert log["text"].to_pylist() == ["a ?", '[{"role": "user", "content": "a ? [EMAIL_ADDRESS]"}]']
    again = scoring.score(product.recipe, product.shelf, product.settings, path)
    assert [again[name].to_pylist() for name in ("request_id", "label", scoring.REFUSAL)] == [
        table[name].to_pylist() for name in ("request_id", "label", scoring.REFUSAL)
    ]
    assert scoring.summary(table)["refused"] == 3
