"""Forgotten subjects: told in later rows, spelt nowhere, and not told without the secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from ftcore.data import snapshot, suppression
from ftcore.data.suppression import SECRET_VARIABLE, Suppression
from ftcore.errors import ConfigurationError
from ftcore.store.records import now
from ftcore.store.store import RecipeStore

SECRET = {SECRET_VARIABLE: "0123456789abcdef-secret"}


def rows(*made: dict[str, Any]) -> pa.Table:
    plain = {"row_id": "0" * 20, "text": "a text", "label": "pos", "source": "sql:crm"}
    return pa.Table.from_pylist([plain | one for one in made], schema=snapshot.schema())


def forgotten(*keys: str, in_text: bool = False, **more: Any) -> Suppression:
    empty = Suppression(b"key", ())
    return Suppression(b"key", tuple(empty.entry(key, now(), in_text=in_text, **more) for key in keys))


@pytest.fixture
def shelf(tmp_path: Path) -> RecipeStore:
    return RecipeStore(UPath(tmp_path) / "demo", "demo", tmp_path / "locks")


def test_a_subject_is_told_by_its_group_with_or_without_the_sources_name() -> None:
    told = forgotten("Anna@example.org").matches(
        rows(
            {"group": "sql:crm:anna@example.org"},
            {"group": "anna@example.org"},
            {"group": "sql:crm:anna@example.org.uk"},
            {"group": "sql:other:anna@example.org"},
            {"group": None, "text": "anna@example.org"},
        )
    )
    assert told == [True, True, False, False, False]


def test_a_subject_is_told_by_its_row_ids() -> None:
    one = snapshot.row_id("sql:crm", "17")
    assert forgotten("17", row_ids=(one,)).matches(rows({"row_id": one}, {})) == [True, False]


@pytest.mark.parametrize(
    ("key", "text", "there"),
    [
        ("anna@example.org", "write to <Anna@Example.org>, please", True),
        ("anna@example.org", "write to joanna@example.org", False),
        ("anna@example.org", "write to anna@example.org.", True),
        ("anna@example.org", "write to anna&#64;example.org", True),
        ("Anna Kowalska", "says (anna\n  KOWALSKA).", True),
        ("Anna Kowalska", "Anna and Kowalska", False),
        ("+49 30 901820", "call (+49) 30/901820!", True),
        ("C-10", "about C-10, not C-100", True),
        ("C-10", "about C-100", False),
    ],
)
def test_a_text_is_searched_word_by_word(key: str, text: str, there: bool) -> None:
    assert forgotten(key, in_text=True).matches(rows({"text": text})) == [there]
    assert forgotten(key).matches(rows({"text": text})) == [False], "only where it was asked for"


@given(st.text(min_size=1, max_size=12), st.text(max_size=12), st.text(max_size=12))
def test_a_key_between_spaces_is_always_found(key: str, before: str, after: str) -> None:
    if suppression.words(key):
        assert forgotten(key, in_text=True).matches(rows({"text": f"{before} {key} {after}"})) == [True]


def test_no_entry_keeps_the_very_table() -> None:
    table = rows({}, {})
    assert Suppression(b"", ()).keep(table) is table
    assert Suppression(b"", ()).state == ""


def test_the_store_spells_nobody(shelf: RecipeStore) -> None:
    one = suppression.opened(shelf, SECRET, keep=True).entry("Anna Kowalska", now(), in_text=True)
    suppression.add(shelf, one)
    written = "".join(file.read_text() for file in (shelf.root / "state" / "forgotten").iterdir()).casefold()
    assert "anna" not in written
    assert "secret" in written, "whether there is one, by a hash"
    assert SECRET[SECRET_VARIABLE] not in written
    loaded = suppression.load(shelf, SECRET)
    assert loaded.keep(rows({"group": "anna kowalska"}, {"text": "by Anna Kowalska"}, {})).num_rows == 1
    assert loaded.suppressed == 2


def test_two_recipes_have_other_hashes(tmp_path: Path) -> None:
    made = [
        suppression.opened(RecipeStore(UPath(tmp_path) / name, name, tmp_path), {}, keep=True).hash("subject", "anna")
        for name in ("a", "b")
    ]
    assert made[0] != made[1]


def test_without_the_secret_nothing_passes_as_not_forgotten(shelf: RecipeStore) -> None:
    suppression.add(shelf, suppression.opened(shelf, SECRET, keep=True).entry("anna", now(), in_text=False))
    for environment in ({}, {SECRET_VARIABLE: "another secret of the recipe"}):
        with pytest.raises(ConfigurationError, match=SECRET_VARIABLE):
            suppression.load(shelf, environment)


def test_a_secret_that_came_later_changes_nothing(shelf: RecipeStore) -> None:
    suppression.add(shelf, suppression.opened(shelf, {}, keep=True).entry("anna", now(), in_text=False))
    assert suppression.load(shelf, SECRET).matches(rows({"group": "anna"})) == [True]


def test_an_entry_is_only_ever_widened(shelf: RecipeStore) -> None:
    opened = suppression.opened(shelf, {}, keep=True)
    first = suppression.add(shelf, opened.entry("anna", now(), in_text=True, row_ids=("a",), reason="case 1"))
    again = suppression.add(shelf, opened.entry("anna", now(), in_text=False, row_ids=("b",), reason="case 2"))
    assert (again.row_ids, again.reason, again.at, again.text) == (("a", "b"), "case 1", first.at, first.text)
    assert suppression.load(shelf, {}).entries == (again,)


def test_a_newer_source_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    subject = forgotten("anna", sources=("sql:crm",))
    for _ in range(2):
        subject.keep(rows({}, {"source": "sql:new"}))
    assert [one.getMessage()[:17] for one in caplog.records] == ["sql:new is newer "]
