"""What the ledger's lines mean to the ring."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ftcore.store import ledger

if TYPE_CHECKING:
    from conftest import Product


def test_the_newest_open_request(product: Product) -> None:
    shelf = product.shelf
    assert ledger.open_request(shelf, "r1") is None
    shelf.add_to_ledger("decide", "m1", "wait", "")
    assert ledger.open_request(shelf, "r1") is None
    shelf.add_to_ledger("decide", "m2", "retrain", "")
    assert ledger.open_request(shelf, "r1") == "m2"
    shelf.add_to_ledger("plan", "r1", "train", "", answers="m2")
    assert ledger.open_request(shelf, "r2") is None
    assert ledger.open_request(shelf, "r1") == "m2", "a plan that is run again must find what it answered"


def test_the_last_look_of_other_runs(product: Product) -> None:
    shelf = product.shelf
    assert ledger.looked_until(shelf, "m1") is None
    shelf.add_to_ledger("decide", "m1", "wait", "", until="2026-03-02T00:00:00+00:00")
    shelf.add_to_ledger("decide", "m0", "wait", "", until="2026-03-01T00:00:00+00:00")
    assert ledger.looked_until(shelf, "m9") == datetime(2026, 3, 2, tzinfo=UTC)
    assert ledger.looked_until(shelf, "m1") == datetime(2026, 3, 1, tzinfo=UTC)
