"""What all sources share: templates, label maps, weights and caps; and that no recipe holds a password."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftcore.data import snapshot
from ftcore.data.credentials import scrub
from ftcore.data.sources.feedback import Feedback
from ftcore.errors import DataRejectedError, RecipeError
from ftcore.recipe.kinds import kind_class, kinds

Rows = Callable[..., list[dict[str, Any]]]


def table(ids: list[str]) -> pa.Table:
    return pa.table({name: ids if name == "row_id" else pa.nulls(len(ids)) for name in snapshot.COLUMNS}).cast(
        snapshot.schema()
    )


def write(tmp_path: Path, *records: dict[str, Any]) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")


@pytest.mark.parametrize("kind", kinds("sources"))
def test_every_kind_has_an_example_and_speaks_of_weight_and_cap(kind: str) -> None:
    made = kind_class("sources", kind)
    config = made.model_validate(made.EXAMPLE | {"weight": 0.5, "max_rows": 3})
    assert (config.weight, config.max_rows) == (0.5, 3)
    undocumented = [n for n, f in type(config).model_fields.items() if n != "kind" and not f.description]
    assert undocumented == []


def test_templates_label_maps_and_names(tmp_path: Path, rows: Rows) -> None:
    write(tmp_path, {"title": "T", "body": "B", "stars": 5, "who": "w1"}, {"title": "U", "body": None, "stars": 1})
    got = rows(
        kind="files", path="a.jsonl", name="reviews", text="{{ title }}\n{{ body }}", label="stars", group="who",
        id="{{ title }}-{{ stars }}", label_map={5: "positive", 1: "negative"},
    )  # fmt: skip
    assert [(row["text"], row["label"], row["group"]) for row in got] == [
        ("T\nB", "positive", "w1"),
        ("U\n", "negative", None),
    ]
    assert got[0]["row_id"] == snapshot.row_id("files:reviews", "T-5")


def test_a_row_has_a_context_and_answers_that_make_it_another_row(
    tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"q": "Why?", "page": "P"}
    write(
        tmp_path, asked | {"a": "So.", "b": "Dunno"}, asked | {"a": "Thus.", "b": "Dunno"}, {"q": "Why?", "page": "Q"}
    )
    mapped = {"kind": "files", "path": "a.jsonl", "text": "q", "context": "{{ page }}!", "label": "a", "rejected": "b"}
    got = rows(**mapped)
    assert [(r["text"], r["context"], r["label"], r["rejected"]) for r in got[:1]] == [("Why?", "P!", "So.", "Dunno")]
    assert got[0]["row_id"] == got[1]["row_id"] != got[2]["row_id"], "a label is corrected, not another row"
    monkeypatch.setattr(kind_class("tasks", "classification"), "TARGET", "text")
    assert len({r["row_id"] for r in rows(**mapped)}) == 3


@pytest.mark.parametrize("template", ["{{ ''.__class__.__mro__ }}", "{{ body.missing.deeper }}", "{{ 1 / 0 }}"])
def test_a_template_can_do_no_harm_and_says_where_it_fails(tmp_path: Path, rows: Rows, template: str) -> None:
    write(tmp_path, {"body": "B", "label": "x"})
    with pytest.raises(DataRejectedError, match=r"a\.jsonl.*(line 1|no column)"):
        rows(kind="files", path="a.jsonl", text=template + "{{ body }}")


def test_a_broken_template_is_a_fault_of_the_recipe(rows: Rows) -> None:
    with pytest.raises(RecipeError, match=r"sources\[0\]\.text: is no Jinja template"):
        rows(kind="files", path="a.jsonl", text="{{ body")


def test_a_missing_key_falls_back_to_the_text(tmp_path: Path, rows: Rows) -> None:
    write(tmp_path, {"text": "a", "id": None, "label": "x"}, {"text": "b", "id": 3, "label": "x"})
    got = rows(kind="files", path="a.jsonl", id="id")
    assert [row["row_id"] for row in got] == [snapshot.row_id("files:a", "a"), snapshot.row_id("files:a", "3")]


IDS = st.lists(st.integers(0, 10**6).map(lambda n: snapshot.row_id("s", str(n))), max_size=60)


@settings(max_examples=80, deadline=None)
@given(ids=IDS, cap=st.integers(1, 20), cuts=st.lists(st.integers(0, 60), max_size=5), order=st.randoms())
def test_a_cap_takes_the_lowest_ids_in_any_order_and_any_pieces(
    ids: list[str], cap: int, cuts: list[int], order: Any
) -> None:
    expected = sorted(ids)[:cap]
    order.shuffle(ids)
    edges = [0, *sorted(cuts), len(ids)]
    pieces = [table(ids[a:b]) for a, b in pairwise(edges)]
    got = [i for t in Feedback(max_rows=cap).sampled(pieces) for i in t["row_id"].to_pylist()]
    assert got == expected


@settings(max_examples=30, deadline=None)
@given(ids=IDS, weights=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)))
def test_a_larger_weight_only_adds_rows(ids: list[str], weights: tuple[float, float]) -> None:
    low, high = (
        {i for t in Feedback(weight=w).sampled([table(ids)]) for i in t["row_id"].to_pylist()} for w in sorted(weights)
    )
    assert low <= high


def test_a_weight_is_a_share() -> None:
    ids = [snapshot.row_id("s", str(n)) for n in range(20_000)]
    kept = sum(t.num_rows for t in Feedback(weight=0.3).sampled([table(ids)]))
    assert 5_700 < kept < 6_300


def test_a_large_stream_under_a_cap_holds_little() -> None:
    ids = [snapshot.row_id("s", str(n)) for n in range(120_000)]
    pieces = (table(ids[start : start + 10_000]) for start in range(0, len(ids), 10_000))
    got = [i for t in Feedback(max_rows=100).sampled(pieces) for i in t["row_id"].to_pylist()]
    assert got == sorted(ids)[:100]


SECRETS = [
    {"kind": "sql", "connection": "postgresql://bob:hunter2@db/x", "query": "SELECT 1"},
    {"kind": "sql", "connection": "db", "query": "SELECT 1", "url": "postgresql://bob:hunter2@db/x"},
    {"kind": "files", "path": "https://bob:hunter2@example.org/a.csv"},
    {"kind": "files", "path": "https://example.org/a.csv?X-Amz-Signature=hunter2"},
    {"kind": "files", "path": "s3://key:hunter2@bucket/a.csv"},
]


@pytest.mark.parametrize("source", SECRETS)
def test_a_password_in_a_recipe_is_a_fault_that_does_not_repeat_it(source: dict[str, Any], rows: Rows) -> None:
    with pytest.raises(RecipeError, match=r"sources\[0\]: holds a URL with credentials") as caught:
        rows(**source)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_scrub_hides_passwords_signatures_and_what_it_is_told() -> None:
    said = scrub("GET https://a:p%40ss@h/x?sig=abc&y=1 with p@ss", ["p%40ss"])
    assert said == "GET https://***@h/x?sig=***&y=1 with ***"
