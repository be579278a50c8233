"""Wherever people or a judge are shown a row, a conversation reads as one: turns behind their roles, never as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ftcore.data import snapshot
from ftcore.data.conversations import turns
from ftcore.evaluation import examples as _examples
from ftcore.evaluation import judge, slices
from ftcore.recipe import reading as recipes
from ftcore.recipe.sections import Prepare
from ftcore.reports import profile
from ftcore.reports import snapshot as reports
from ftcore_airflow.pages import examples as pages
from tests.unit.steps._drafts import RECIPE

CALL = {"type": "function", "function": {"name": "weather", "arguments": {"town": "Paris"}}}
TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": 'What is\n"rain"?'},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "wet"},
]
TEXT = turns.write(TURNS)
READ = (
    'system: Be brief.\n\nuser: What is\n"rain"?\n\n'
    'assistant: <tool_call>\n{"name": "weather", "arguments": {"town": "Paris"}}\n</tool_call>\n\ntool: wet'
)
ROW = dict.fromkeys(snapshot.COLUMNS) | {"row_id": "r", "text": TEXT, "label": "a", "source": "s", "dataset": "test"}


def _asked() -> str:
    return str(json.loads(judge.messages(ROW, "a", "b")[-1]["content"])["text"])


def _kept() -> str:
    rows = pa.Table.from_pylist([{name: ROW[name] for name in ("row_id", "dataset", "source", "text", "label")}])
    answers = {"candidate": (["x"], np.ones(1))}
    return str(_examples.pick(rows, {"candidate": np.ones(1)}, answers, 1)["best"][0]["text"])


def _on_the_page() -> str:
    schema = snapshot.schema().append(pa.field("reason", pa.string()))
    quarantine = pa.Table.from_pylist([{name: ROW.get(name) for name in snapshot.COLUMNS} | {"reason": "why"}], schema)
    manifest = {"recipe": "demo", "settings": {"prepare": Prepare().model_dump(mode="json")}}
    return str(reports._examples(manifest, quarantine, None)["why"][0]["text"])


def _in_airflow() -> str:
    return pages._example(ROW, {"candidate": ("x", None)}).text


@pytest.mark.parametrize("show", [_asked, _kept, _on_the_page, _in_airflow])
def test_a_conversation_is_shown_as_people_read_it(show: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    folded = " ".join(show().split())
    assert folded == " ".join(READ.split())[: len(folded) - 1] + folded[-1]
    assert len(folded) > 100
    monkeypatch.setitem(ROW, "text", '[{"role": "x"}] is refused, why?')
    assert show() == '[{"role": "x"}] is refused, why?'


def test_languages_and_lengths_are_those_of_what_was_written() -> None:
    said = "Guten Morgen, ich habe eine Frage zu meiner Rechnung vom letzten Monat."
    rows = pa.table({"text": [turns.write([{"role": "user", "content": said}])]})
    assert slices._languages(rows, "language") == ["de"]
    assert slices._lengths(rows, "length") == ["51-150"]
    row = dict.fromkeys(snapshot.COLUMNS) | {"source": "s", "text": rows["text"][0].as_py()}
    table = pa.Table.from_pylist([row | {"row_id": str(n)} for n in range(4)], schema=snapshot.schema())
    chat: dict[str, Any] = RECIPE | {"task": {"kind": "chat"}, "exports": []}
    chat |= {"gates": [{"kind": "threshold", "maximum": 50, "metric": "perplexity"}]}
    assert profile.look(recipes.parse(chat), [table], 100)["languages"] == {"de": 1.0}
