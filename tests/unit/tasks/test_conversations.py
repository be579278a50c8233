"""Answers and questions of rows that may hold conversations."""

from __future__ import annotations

import pytest

from ftcore.data.cleaning.rows import Rows
from ftcore.tasks.chat import Chat


def parsed(text: str | None, label: str | None) -> tuple[Rows, str | None]:
    rows = Rows([text], [None], [label], [None], ["s"])
    faults = Chat().parse_rows(rows)
    return rows, (faults or Chat().check_rows(rows)).get(0)


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ('[{"type": "text", "text": "x"}]', "x"),
        ("{'type': 'text', 'text': 'x'}", "x"),
        ('{"role": "assistant", "content": "x",}', "x"),
        ('\ufeff[{"role": "assistant", "content": "x"}]', "x"),
        ("[]", "[]"),
        ('{"answer": "x"}', '{"answer": "x"}'),
        ('["a", "b"]', '["a", "b"]'),
    ],
)
def test_an_answer_is_read_to_its_text(label: str, text: str) -> None:
    rows, fault = parsed("q", label)
    assert (rows.label[0], fault) == (text, None)


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("{'role': 'assistant', 'content': None}", "label: turn 1 (assistant) has no content"),
        ('[{"role": "assistant", "content": NaN}]', "label: turn 1 (assistant) has a content that is no text: nan"),
        ("[null]", "label is a list of nulls: [null]"),
        ("[None]", "label is a list of nulls: [None]"),
        (" \u200b\ufeff", "answer is empty or blank"),
        ('[{"type": "image_url", "image_url": {"url": "x"}}]', "label: the text has a content part of the type"),
    ],
)
def test_an_answer_that_is_none_is_named(label: str, why: str) -> None:
    assert (parsed("q", label)[1] or "").startswith(why)


@pytest.mark.parametrize("text", ["[]", "{}", "[null]"])
def test_an_empty_value_is_no_question(text: str) -> None:
    assert "looks like a conversation and cannot be read" in (parsed(text, "a")[1] or "")
