"""prepare: one row a text, the label seen last, and a side that no later row can change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftcore import snapshot, store
from ftcore.recipe import Prepare
from ftcore.steps import ingest, prepare

if TYPE_CHECKING:
    from conftest import Product

SHARES = Prepare(validation=0.3, test=0.3)
START = datetime(2026, 1, 1, tzinfo=UTC)


def row(text: str, label: str = "positive", key: str = "", day: int | None = None, group: str | None = None) -> Any:
    at = None if day is None else START + timedelta(days=day)
    identity = snapshot.row_id("test", key or text)
    return {"row_id": identity, "text": text, "label": label, "source": "test", "group": group, "observed_at": at}


def deduplicate(*rows: Any) -> tuple[list[Any], list[Any], dict[str, int]]:
    kept, bad, counts = prepare.deduplicate(pa.Table.from_pylist(rows, schema=snapshot.schema()), SHARES)
    assert kept.num_rows + bad.num_rows + counts["duplicates"] == len(rows)
    return kept.to_pylist(), bad.to_pylist(), counts


def test_duplicates_are_dropped_whatever_their_case_and_spacing() -> None:
    kept, bad, counts = deduplicate(row("A  film", key="1"), row("a film", key="2"), row("another", key="3"))
    assert len(kept) == 2
    assert (bad, counts) == ([], {"duplicates": 1, "contradictions": 0})


def test_a_later_label_corrects_the_row_and_not_its_identity() -> None:
    history, feedback = row("a film", "positive", "h"), row("a film", "negative", "f", day=3)
    ((only,), bad, _) = deduplicate(feedback, history)
    assert bad == []
    assert (only["row_id"], only["label"], only["observed_at"]) == (history["row_id"], "negative", None)


def test_contradictions_that_time_does_not_settle_are_quarantined() -> None:
    kept, bad, counts = deduplicate(
        row("a", "positive", "1"), row("A", "negative", "2"), row("b", key="3"), row("b", key="4")
    )
    assert [r["text"] for r in kept] == ["b"]
    assert {r["reason"] for r in bad} == {"the same text has different labels"}
    assert (len(bad), counts) == (2, {"duplicates": 1, "contradictions": 2})


def test_a_later_label_settles_a_contradiction() -> None:
    ((only,), bad, _) = deduplicate(
        row("a", "positive", "1"), row("a", "negative", "2"), row("a", "negative", "3", day=1)
    )
    assert (only["label"], bad) == ("negative", [])


@pytest.mark.parametrize("keys", ["123", "111"])
def test_empty_texts_are_left_for_the_suite(keys: str) -> None:
    labels = ("positive", "negative", "negative")
    kept, bad, _ = deduplicate(*(row(" ", label, key) for label, key in zip(labels, keys, strict=True)))
    assert (len(kept), bad) == (3, [])


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["positive", "negative"]), st.integers(0, 5)), max_size=30),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["positive", "negative"]), st.integers(0, 5)), max_size=30),
)
def test_no_text_changes_sides_when_rows_are_added(first: list[Any], second: list[Any]) -> None:
    def rows(facts: list[Any], start: int) -> list[Any]:
        # Every third text belongs to a group, always to the same one.
        return [
            row(f"text {t}", label, f"{start + n}", day or None, f"group {t}" if t % 3 == 0 else None)
            for n, (t, label, day) in enumerate(facts)
        ]

    before, _, _ = deduplicate(*rows(first, 0))
    after, _, _ = deduplicate(*rows(first, 0), *rows(second, 100))
    sides = {r["text"]: r["split"] for r in after}
    assert all(sides.get(r["text"], r["split"]) == r["split"] for r in before)


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = [row(f"text {n % 7}", "positive", str(n), n % 5) for n in range(30)]
    one, other = (deduplicate(*some)[0] for some in (rows, rows[::-1]))
    assert sorted(one, key=lambda r: r["row_id"]) == sorted(other, key=lambda r: r["row_id"])


def test_one_group_is_on_one_side() -> None:
    kept, _, _ = deduplicate(*(row(f"text {n}", group=f"g{n % 5}") for n in range(50)))
    assert len({(r["group"], r["split"]) for r in kept}) == 5


def test_a_text_in_groups_on_different_sides_is_set_aside() -> None:
    for number in range(20):
        first = row("same text", key="b", group="g")
        ((before,), _, _) = deduplicate(first)
        kept, bad, _ = deduplicate(first, row("same text", key=f"other {number}", group=f"g{number}"))
        assert [after["split"] for after in kept] in ([before["split"]], []), "it stays where it was, or goes"
        assert len(bad) == (0 if kept else 2)


def test_text_is_mended() -> None:
    texts = ["cafÃ©", "two\n\twords ", "&lt;b&gt;", "ﬁne", None, "caf\ufffd"]
    table = pa.Table.from_pylist([row("x") | {"text": text} for text in texts], schema=snapshot.schema())
    assert prepare.normalise(table)["text"].to_pylist() == ["café", "two words", "<b>", "fine", "", "caf\ufffd"]


def test_the_step_writes_a_draft_with_its_content_hash(product: Product) -> None:
    product.write_rows([("A film", "positive"), ("a film ", "positive"), ("b", "negative"), ("B", "positive")])
    context = product.context("ingest")
    read = ingest.run(context)
    product.shelf.write_record(_record(product, read))
    outcome = prepare.run(product.context("prepare"))
    rows = store.read_table(product.shelf.root / outcome.paths["rows"])
    assert rows["text"].to_pylist() == ["A film"]
    assert outcome.figures["content"] == snapshot.content_id(rows)
    assert outcome.inputs == read.inputs
    assert store.read_table(product.shelf.root / outcome.paths["quarantine"]).num_rows == 2
    assert snapshot.current(product.shelf) is None


def _record(product: Product, outcome: Any) -> Any:
    from ftcore.records import Record, now

    return Record(
        step="ingest",
        recipe=product.name,
        run_id="r1",
        fingerprint="",
        started_at=now(),
        paths=outcome.paths,
        inputs=outcome.inputs,
    )
