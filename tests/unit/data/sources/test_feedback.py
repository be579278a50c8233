"""Feedback is joined to the predictions that it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from conftest import Product

from ftcore.data import snapshot
from ftcore.data.sources import feedback
from ftcore.serving.scoring import log_schema

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def predictions(product: Product, *requests: tuple[str, str, str | None]) -> None:
    rows = [{"request_id": r, "text": t, "group": g, "at": START, "label": "positive"} for r, t, g in requests]
    product.shelf.append("predictions", pa.Table.from_pylist(rows, schema=log_schema()), "2026-03-01", "p")


def labels(product: Product, after_s: int, *given: tuple[str, str], name: str) -> None:
    schema = pa.schema([("request_id", pa.string()), ("label", pa.string()), ("at", pa.timestamp("ms", "UTC"))])
    rows = [{"request_id": r, "label": label, "at": START + timedelta(seconds=after_s)} for r, label in given]
    product.shelf.append("feedback", pa.Table.from_pylist(rows, schema=schema), "2026-03-01", name)


def read(product: Product) -> list[dict[str, object]]:
    return [row for t in feedback.Feedback().read(product.context("ingest")) for row in t.to_pylist()]


def test_without_logs_there_are_no_rows(product: Product) -> None:
    assert read(product) == []
    predictions(product, ("a", "text a", None))
    assert read(product) == []


def test_labels_find_their_text_and_group(product: Product) -> None:
    predictions(product, ("a", "text a", "ann"), ("b", "text b", None), ("c", "text c", None))
    labels(product, 5, ("b", "negative"), ("a", "positive"), ("never-scored", "positive"), name="f")
    expected = dict.fromkeys(snapshot.COLUMNS) | {"source": "feedback", "observed_at": START}
    found = read(product)
    assert [(row.pop("source_id"), row.pop("origin")) for row in found] == [
        (name, f"feedback on the request {name}") for name in "ab"
    ]
    expected = {name: value for name, value in expected.items() if name not in {"source_id", "origin"}}
    assert found == [
        expected | {"row_id": snapshot.row_id("feedback", "a"), "text": "text a", "label": "positive", "group": "ann"},
        expected | {"row_id": snapshot.row_id("feedback", "b"), "text": "text b", "label": "negative"},
    ]


def day(product: Product, number: int, *requests: tuple[str, str]) -> None:
    """Predictions of another day."""
    at = START + timedelta(days=number)
    rows = [{"request_id": r, "text": t, "at": at, "label": "positive"} for r, t in requests]
    product.shelf.append("predictions", pa.Table.from_pylist(rows, schema=log_schema()), f"{at:%Y-%m-%d}", "p")


def test_a_label_joins_the_newest_prediction_that_is_not_younger(product: Product) -> None:
    day(product, 0, ("1", "you have won a prize"), ("2", "good day"))
    day(product, 1, ("1", "meeting at ten"))
    labels(product, 86_400 + 5, ("1", "negative"), name="tuesday")
    day(product, 2, ("1", "another text"), ("3", "younger than its label"))
    labels(product, 86_400 + 6, ("3", "positive"), name="early")
    assert [(row["text"], row["label"]) for row in read(product)] == [("meeting at ten", "negative")]


def test_an_id_that_once_named_two_texts_keeps_the_label_of_each(product: Product) -> None:
    day(product, 0, ("1", "you have won a prize"))
    labels(product, 5, ("1", "negative"), name="monday")
    before = read(product)
    day(product, 1, ("1", "meeting at ten"))
    labels(product, 86_400 + 5, ("1", "positive"), name="tuesday")
    found = read(product)
    assert [(row["text"], row["label"]) for row in found] == [
        ("you have won a prize", "negative"),
        ("meeting at ten", "positive"),
    ]
    assert found[:1] == before, "the first text keeps the identity of its row"
    assert len({row["row_id"] for row in found}) == 2


def test_a_request_that_a_new_champion_answers_again_is_one_row(product: Product) -> None:
    day(product, 0, ("1", "good day"))
    labels(product, 5, ("1", "negative"), name="first")
    day(product, 1, ("1", "good  Day"))
    labels(product, 86_400 + 5, ("1", "positive"), name="second")
    assert [(row["row_id"], row["label"]) for row in read(product)] == [(snapshot.row_id("feedback", "1"), "positive")]


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
