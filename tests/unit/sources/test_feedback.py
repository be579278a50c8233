"""Feedback is joined to the predictions that it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from conftest import Product

from ftcore import snapshot
from ftcore.serving.scoring import log_schema
from ftcore.sources import feedback

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def predictions(product: Product, *requests: tuple[str, str, str | None]) -> None:
    rows = [{"request_id": r, "text": t, "group": g, "at": START, "label": "positive"} for r, t, g in requests]
    product.shelf.append("predictions", pa.Table.from_pylist(rows, schema=log_schema()), "2026-03-01", "p")


def labels(product: Product, after_s: int, *given: tuple[str, str], name: str) -> None:
    schema = pa.schema([("request_id", pa.string()), ("label", pa.string()), ("at", pa.timestamp("ms", "UTC"))])
    rows = [{"request_id": r, "label": label, "at": START + timedelta(seconds=after_s)} for r, label in given]
    product.shelf.append("feedback", pa.Table.from_pylist(rows, schema=schema), "2026-03-01", name)


def read(product: Product) -> list[dict[str, object]]:
    return [row for t in feedback.read(feedback.Config(), product.context("ingest")) for row in t.to_pylist()]


def test_without_logs_there_are_no_rows(product: Product) -> None:
    assert read(product) == []
    predictions(product, ("a", "text a", None))
    assert read(product) == []


def test_labels_find_their_text_and_group(product: Product) -> None:
    predictions(product, ("a", "text a", "ann"), ("b", "text b", None), ("c", "text c", None))
    labels(product, 5, ("b", "negative"), ("a", "positive"), ("never-scored", "positive"), name="f")
    expected = dict.fromkeys(snapshot.COLUMNS) | {"source": "feedback", "observed_at": START}
    assert read(product) == [
        expected | {"row_id": snapshot.row_id("feedback", "a"), "text": "text a", "label": "positive", "group": "ann"},
        expected | {"row_id": snapshot.row_id("feedback", "b"), "text": "text b", "label": "negative"},
    ]


def test_the_later_label_counts_whatever_the_file_is_called(product: Product) -> None:
    predictions(product, ("a", "text a", None))
    labels(product, 1, ("a", "positive"), name="zzz")
    labels(product, 2, ("a", "negative"), name="aaa")
    assert [row["label"] for row in read(product)] == ["negative"]


def test_rows_of_several_parts_say_which_was_asked(product: Product) -> None:
    rows = [{"request_id": part, "text": f"text {part}", "at": START, "part": part} for part in ("mood", "stars")]
    product.shelf.append("predictions", pa.Table.from_pylist(rows, schema=log_schema()), "2026-03-01", "p")
    labels(product, 1, ("mood", "positive"), ("stars", "4.5"), name="f")
    assert [row["source"] for row in read(product)] == ["feedback:mood", "feedback:stars"]
