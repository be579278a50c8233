"""validate: the shipped suite through real Great Expectations, on rows that came through ingest and prepare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import parquet

from ftcore import snapshot, store
from ftcore.errors import DataRejectedError, RecipeError

if TYPE_CHECKING:
    from conftest import Product

    from ftcore.records import Record


def good(count: int) -> list[tuple[str | None, str | None]]:
    return [(f"a film, number {number}", ("negative", "positive")[number % 2]) for number in range(count)]


def validate(product: Product, run_id: str = "r1") -> Record:
    return [product.run(step, run_id) for step in ("ingest", "prepare", "validate")][-1]


def quarantine(product: Product, record: Record) -> dict[str, str]:
    table = store.read_table(product.shelf.root / record.paths["snapshot"] / "quarantine.parquet")
    return dict(zip(table["text"].to_pylist(), table["reason"].to_pylist(), strict=True))


def test_good_rows_become_the_current_snapshot(product: Product) -> None:
    product.write_rows(good(30))
    record = validate(product)
    identity = record.figures["snapshot"]
    assert snapshot.current(product.shelf) == identity
    rows = snapshot.read(product.shelf, identity)
    assert snapshot.content_id(rows) == identity
    assert sorted(rows["text"].to_pylist()) == sorted(text for text, _ in good(30))
    manifest = snapshot.manifest(product.shelf, identity)
    assert (manifest["rows_in"], manifest["rows"], manifest["quarantined"]) == (30, 30, 0)
    assert manifest["labels"] == {"negative": 15, "positive": 15}
    assert sum(manifest["splits"].values()) == 30
    assert (product.shelf.root / record.paths["data_docs"]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert store.read_json(snapshot.folder(product.shelf, identity) / "validation" / "result.json")["success"]


def test_the_same_rows_in_another_run_are_the_same_snapshot(product: Product) -> None:
    product.write_rows(good(30))
    first = validate(product, "r1")
    product.write_rows(good(30)[::-1])
    second = validate(product, "r2")
    assert first.figures["snapshot"] == second.figures["snapshot"]
    assert snapshot.manifest(product.shelf, second.figures["snapshot"])["run_id"] == "r1"


def test_bad_rows_are_quarantined_each_with_its_reason(product: Product) -> None:
    huge = "x" * 1_000_000
    bad = [("caf\ufffd", "positive"), ("good film", "neutral"), ("no label", None), (huge, "negative")]
    product.write_rows([*good(60), *bad, ("", "positive"), (" \t ", "negative")], "rows.csv")
    product.change(validation={"min_rows": 10, "max_quarantined": 0.2})
    record = validate(product)
    found = quarantine(product, record)
    assert record.figures["rows"] == 60
    empty = found.pop("")
    assert {text[:20]: reason for text, reason in found.items()} == {
        "caf\ufffd": "text was decoded wrongly: it holds the replacement character U+FFFD",
        "good film": "label is not one of negative, positive",
        "no label": "label is missing",
        "x" * 20: "text is shorter than 1 or longer than 20,000 characters",
    }
    # Without an id a row is known by its text, and so two empty ones share it; the dictionary keeps the second.
    assert empty.split("; ") == [
        "row id repeats an earlier row's",
        "text is empty or blank",
        "text is shorter than 1 or longer than 20,000 characters",
    ]
    assert record.figures["quarantined"] == len(bad) + 2
    assert {*found.values(), empty} < set(record.figures["quarantine_reasons"])


def test_of_two_rows_with_one_id_the_first_is_kept(product: Product, tmp_path: Path) -> None:
    texts = [text for text, _ in good(30)]
    ids = [f"{number}" for number in range(29)] + ["3"]
    labels = [label for _, label in good(30)]
    parquet.write_table(pa.table({"id": ids, "text": texts, "label": labels}), product.path.parent / "rows.parquet")
    product.change(sources=[{"kind": "files", "path": "rows.parquet", "id": "id"}])
    record = validate(product)
    assert record.figures["quarantine_reasons"] == {"row id repeats an earlier row's": 1}
    assert record.figures["rows"] == 29


def test_too_many_bad_rows_reject_everything_and_change_nothing(product: Product) -> None:
    product.write_rows(good(30))
    before = validate(product, "good").figures["snapshot"]
    product.write_rows([*good(40), *((f"broken \ufffd {number}", "positive") for number in range(4))])
    with pytest.raises(DataRejectedError, match=r"9\.1% of 44 rows would be quarantined, 5\.0% are allowed") as error:
        validate(product, "bad")
    assert error.value.exit_code == 3
    assert not error.value.retryable
    assert "4 × text was decoded wrongly" in str(error.value)
    assert "broken \ufffd 3" in Path(error.value.report).read_text(encoding="utf-8")
    assert product.shelf.record("bad", "validate") is None
    assert snapshot.current(product.shelf) == before
    published = {path.name for path in (product.shelf.root / "snapshots").iterdir()}
    assert published == {before, "current.json"}


def test_a_rejection_before_the_first_snapshot_leaves_none(product: Product) -> None:
    product.write_rows(good(9))
    with pytest.raises(DataRejectedError, match="too few rows: 9, at least 10 are needed"):
        validate(product)
    assert not (product.shelf.root / "snapshots").exists()


def test_contradictions_count_towards_the_limit(product: Product) -> None:
    pairs = [(f"same text {n}", label) for n in range(3) for label in ("positive", "negative")]
    product.write_rows([*good(30), *pairs])
    with pytest.raises(DataRejectedError, match=r"6 × the same text has different labels"):
        validate(product)


def test_a_label_without_a_row_is_rejected(product: Product) -> None:
    product.write_rows([(text, "positive") for text, _ in good(20)])
    with pytest.raises(DataRejectedError, match="labels without a single row: negative"):
        validate(product)


def test_a_suite_that_is_not_there_is_named(product: Product) -> None:
    product.write_rows(good(20))
    product.change(validation={"suite": "mine"})
    with pytest.raises(RecipeError, match=r"validation.suite: there is no .*mine\.json"):
        validate(product)
