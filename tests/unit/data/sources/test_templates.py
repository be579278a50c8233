"""A hole in a row costs that row, and no text is made of nothing but what stands between the fields."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftcore.data import snapshot
from ftcore.data.sources._templates import HoleError, condition, template
from ftcore.errors import DataRejectedError, RecipeError

Rows = Callable[..., list[dict[str, Any]]]
TICKET = {"kind": "files", "path": "a.jsonl", "text": "{{ ticket.subject }}: {{ ticket.body }}", "label": None,
          "id": "{{ ticket.id }}", "group": "{{ customer.name }}"}  # fmt: skip


def write(folder: Path, *records: dict[str, Any]) -> None:
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")


def test_rows_with_holes_lie_in_the_quarantine_each_with_its_line(tmp_path: Path, rows: Rows) -> None:
    good = {"ticket": {"id": 7, "subject": "S", "body": "B"}, "customer": {"name": "ann"}}
    holes: list[Any] = [None, "text", {"id": 8, "subject": "S"}, {"id": 9, "subject": None, "body": ""}, [1]]
    write(
        tmp_path,
        good,
        *(good | {"ticket": one} for one in holes),
        good | {"customer": None},
        {"ticket": good["ticket"]},
    )
    got = rows(**TICKET)
    assert [row["origin"].rsplit(" ", 1)[1] for row in got] == [str(n) for n in range(1, 9)]
    assert [row["text"] for row in got if row["text"][0] != "\ufffd"] == ["S: B"] * 3
    said = [row["text"][2:].split("] ")[0] for row in got[1:6]]
    assert said[0] == "[text: ticket.subject is missing: 'None' has no attribute 'subject'"
    assert said[2] == "[text: ticket.body is missing: 'dict object' has no attribute 'body'"
    assert said[3] == "[text: ticket.subject, ticket.body are all null or empty"
    assert all("ticket.subject" in why for why in (said[1], said[4]))
    assert [row["group"] is None for row in got[-2:]] == [True, True], "without a group a row stays"
    assert got[3]["source_id"] == "8"
    assert len({row["row_id"] for row in got[1:6]}) == 5


def test_a_template_that_fails_in_every_row_is_a_fault_of_the_recipe(tmp_path: Path, rows: Rows) -> None:
    write(tmp_path, {"ticket": {"id": 1, "subject": "S"}, "customer": None}, {"ticket": None, "customer": None})
    with pytest.raises(DataRejectedError) as error:
        rows(**TICKET)
    said = str(error.value)
    assert "a.jsonl, line 1: ticket.body is missing" in said
    assert "`text: {{ ticket.subject }}: {{ ticket.body }}` fails in every row (2 rows)" in said
    (tmp_path / "b.csv").write_text("text,label\nx,y\n")
    with pytest.raises(DataRejectedError, match=r"`group: \{\{ text.name \}\}` fails in every row"):
        rows(kind="files", path="b.csv", group="{{ text.name }}")


ROW = {
    "t": {"a": "x", "n": None},
    "n": None,
    "e": "",
    "l": ["p", None, "q"],
    "o": {"k": 1},
    "f": float("nan"),
    "b": True,
}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("{{ t.a }}: {{ t.n }}", "x: "),
        ("{{ t.n }}: {{ n }}", None),
        ("{{ n }} - {{ e }}", None),
        ("{{ n ~ ': ' ~ t.a }}", ": x"),
        ("{{ n ~ ': ' ~ e }}", None),
        ("{{ [e, n] | join(': ') }}", None),
        ("{{ [n, t.a] | join(' / ') }}", "x"),
        ("{{ l | join(' ') }}", "p q"),
        ("{{ n | join(' ') }}", None),
        ("{{ n | upper }}{{ n | trim }}{{ n | string }}{{ n | lower | title }}", None),
        ("{{ t.a | upper }}", "X"),
        ("{{ n | default('d', true) }}", "d"),
        ("{{ t.zz | default('d') }}", "d"),
        ("{{ f }}", None),
        ("{{ b }}", "True"),
        ("{{ o | tojson }}", '{"k": 1}'),
        ("{{ n | tojson }}", None),
        ("{% if b %}yes{% else %}no{% endif %}", "yes"),
        ("{% for one in l if one %}[{{ one }}]{% endfor %}", "[p][q]"),
        ("{{ n.deeper }}", HoleError),
        ("{{ t.zz }}", HoleError),
        ("{{ o }}", HoleError),
        ("{{ 'all: ' ~ o }}", HoleError),
        ("{{ [o, 1] | join }}", HoleError),
        ("{{ n + 'x' }}", HoleError),
        ("{{ l[9] }}", HoleError),
        ("{{ ''.__class__ }}", HoleError),
    ],
)
def test_what_a_template_makes_of_nulls_and_structures(spec: str, text: Any) -> None:
    if text is HoleError:
        with pytest.raises(HoleError):
            template(spec).render(ROW)
    else:
        assert template(spec).render(ROW) == text


VALUES = st.recursive(
    st.none() | st.just("") | st.text("xyz ", max_size=3) | st.integers(0, 9) | st.booleans(),
    lambda inner: st.dictionaries(st.sampled_from("ab"), inner, max_size=2) | st.lists(inner, max_size=2),
    max_leaves=4,
)


SPECS = [
    "{{ a.a }}: {{ b }}",
    "{{ a ~ ': ' ~ b.b }}",
    "{{ [a, b] | join(': ') }}",
    "{{ a | upper }}: {{ b | trim }}",
]


@settings(max_examples=200, deadline=None)
@given(row=st.fixed_dictionaries({"a": VALUES, "b": VALUES}), spec=st.sampled_from(SPECS))
def test_no_row_gives_punctuation_alone_or_the_word_none(row: dict[str, Any], spec: str) -> None:
    text: str | None = None
    with suppress(HoleError):
        text = template(spec).render(row)
    assert text is None or (text.strip(" :") and "one" not in text.lower() and "{" not in text)


def test_where_filters_rows_and_counts_them(tmp_path: Path, rows: Rows, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ftcore")
    write(tmp_path, *({"text": f"t{n}", "label": "x", "lang": lang} for n, lang in enumerate(["en", "de", "en", None])))
    assert [row["text"] for row in rows(kind="files", path="a.jsonl", where="lang == 'en'")] == ["t0", "t2"]
    assert "`where` filtered 2 of 4 rows" in caplog.text
    got = rows(kind="files", path="a.jsonl", where="lang|length == 2")
    assert [row["text"][:8] for row in got] == ["t0", "t1", "t2", "\ufffd [where"], "a row that it fails on is a fault"
    with pytest.raises(DataRejectedError, match="has no column 'stars'"):
        rows(kind="files", path="a.jsonl", where="stars > 3")
    with pytest.raises(RecipeError, match=r"sources\[0\]\.where: is an expression without braces"):
        rows(kind="files", path="a.jsonl", where="{{ lang }}")
    with pytest.raises(RecipeError, match=r"sources\[0\]\.where: is no Jinja expression"):
        rows(kind="files", path="a.jsonl", where="lang ==")
    assert condition("a.b").names == ("a",)


def test_where_spares_rows_that_a_template_would_fail_on(tmp_path: Path, rows: Rows) -> None:
    write(tmp_path, {"t": {"s": "S"}, "label": "x"}, {"t": None, "label": "x"})
    assert [row["text"] for row in rows(kind="files", path="a.jsonl", text="{{ t.s }}", where="t")] == ["S"]


def test_one_column_a_label(tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "a.csv").write_text("text,spam,ham\na,1,0\nb,,True\nc,0,0\nd,yes,1.0\ne,maybe,0\n")
    got = rows(kind="files", path="a.csv", label_columns=["spam", "ham"], label_map={"ham": "fine"})
    assert [(row["text"][:1], row["label"]) for row in got] == [
        ("a", "spam"), ("b", "fine"), ("c", None), ("\ufffd", None), ("\ufffd", None)
    ]  # fmt: skip
    assert "[label: 2 columns hold 1]" in got[3]["text"]
    assert "[label: column 'spam' holds neither 1 nor 0]" in got[4]["text"]
    with pytest.raises(RecipeError, match="either label or label_columns"):
        rows(kind="files", path="a.csv", label="spam", label_columns=["spam", "ham"])


def test_every_row_says_where_it_came_from(tmp_path: Path, rows: Rows) -> None:
    write(tmp_path, {"text": "a", "label": "x", "id": 12}, {"text": ["no text"], "label": "x", "id": 13})
    got = rows(kind="files", path="a.jsonl", id="id")
    assert [(row["source_id"], row["origin"].rsplit("/", 1)[1]) for row in got] == [
        ("12", "a.jsonl, line 1"), ("13", "a.jsonl, line 2")
    ]  # fmt: skip
    assert got[0]["row_id"] == snapshot.row_id("files:a", "12")
