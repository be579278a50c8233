"""Rows that evaluate judges on: holdouts are cleaned as snapshots are, and forgotten subjects are in none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftcore import forget, snapshot
from ftcore.steps import evaluate

if TYPE_CHECKING:
    from conftest import Product

PERSONAL = {"entities": {"IP_ADDRESS": "drop_row"}}


def rows_of(product: Product, identity: str) -> list[dict[str, str]]:
    table = evaluate._rows(product.context("evaluate"), identity)
    return [row for row in table.to_pylist() if row["dataset"] == "more"]


def test_holdouts_are_cleaned_as_snapshots_are(product: Product) -> None:
    product.change(
        evaluate={"holdouts": {"more": {"kind": "files", "path": "more.csv", "group": "who"}}},
        prepare={"personal_data": PERSONAL},
    )
    texts = [f"note {n:x} from reader{n}@example.org" for n in range(60)]
    lines = [f"{text},positive,c{n}" for n, text in enumerate(texts)]
    lines += [f"seen {n:x} from 10.20.30.{n},positive,d{n}" for n in range(60)]
    (product.path.parent / "more.csv").write_text("\n".join(["text,label,who", *lines]))
    identity = product.publish(range(30))
    expected = [n for n, text in enumerate(texts) if product.side(text, f"c{n}") == "test"]
    found = rows_of(product, identity)
    assert len(expected) > 5
    assert [row["text"] for row in found] == [f"note {n:x} from [EMAIL_ADDRESS]" for n in expected]
    gone = f"c{expected[0]}"
    forget.forget(product.recipe, product.shelf, product.settings, forget.Wish(gone))
    assert rows_of(product, identity) == found[1:]


def test_a_masked_text_that_the_snapshot_holds_is_no_holdout(product: Product) -> None:
    product.change(evaluate={"holdouts": {"more": {"kind": "files", "path": "more.csv"}}})
    for number in range(30):
        text = f"write {number:x} to reader{number}@example.org"
        if product.side(text) == "test":
            break
    (product.path.parent / "more.csv").write_text(f"text,label\n{text},positive\n")
    identity = product.publish(range(20))
    assert [row["text"] for row in rows_of(product, identity)] == [f"write {number:x} to [EMAIL_ADDRESS]"]
    rows = product.rows(range(20)).to_pylist()
    rows[0]["text"] = f"write {number:x} to [EMAIL_ADDRESS]"
    known = type(product.rows([1])).from_pylist(rows, schema=snapshot.schema(split=True))
    quarantine = snapshot.schema().append(known.schema.field("split").with_name("reason")).empty_table()
    assert rows_of(product, snapshot.publish(product.shelf, lambda: [known], quarantine, {})) == []
