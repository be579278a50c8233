"""ingest: every source in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ftcore import snapshot, store
from ftcore.errors import DataRejectedError, MissingExtraError
from ftcore.steps import ingest

if TYPE_CHECKING:
    from conftest import Product


def test_sources_are_read_in_the_recipes_order(product: Product) -> None:
    product.write_rows([("one", "positive"), ("two", "negative")], "b.csv")
    product.write_rows([("three", "positive")], "a.csv")
    files = [{"kind": "files", "path": name} for name in ("b.csv", "a.csv")]
    product.change(sources=[*files, {"kind": "feedback"}])
    outcome = ingest.run(product.context("ingest"))
    rows = store.read_table(product.shelf.root / outcome.paths["rows"])
    assert rows["text"].to_pylist() == ["one", "two", "three"]
    assert rows.schema.equals(snapshot.schema())
    assert outcome.figures == {"rows": 3, "by_source": {"0:files": 2, "1:files": 1, "2:feedback": 0}}
    assert outcome.inputs == {"rows": store.hash_file(product.shelf.root / outcome.paths["rows"])}


def test_sources_without_a_row_are_refused(product: Product) -> None:
    product.write_rows([])
    with pytest.raises(DataRejectedError, match=r"hold no row\n  - 0:files: 0 rows"):
        ingest.run(product.context("ingest"))


def test_a_source_that_is_not_there_is_named(product: Product) -> None:
    with pytest.raises(MissingExtraError, match=r"rows\.csv"):
        ingest.run(product.context("ingest"))
