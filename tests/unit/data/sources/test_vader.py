"""The demo's collections, counted: what a change of the archive or of its reading would move."""

from __future__ import annotations

import html
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

if TYPE_CHECKING:
    from conftest import Product

from ftcore.data.sources import vader
from ftcore.errors import NotFoundError


def read(product: Product, **config: Any) -> list[dict[str, Any]]:
    (table,) = vader.Vader(**config).read(product.context("ingest"))
    return table.to_pylist()


@pytest.mark.usefixtures("assets")
class TestCollections:
    @pytest.mark.parametrize(
        ("domain", "rows", "positive", "groups"),
        [("movie", 10072, 4996, 0), ("tweets", 3432, 2345, 0), ("amazon", 2985, 1750, 298), ("nyt", 2970, 1187, 497)],
    )
    def test_counts(self, product: Product, domain: str, rows: int, positive: int, groups: int) -> None:
        found = read(product, domain=domain)
        labels = Counter(row["label"] for row in found)
        assert set(labels) == {"positive", "negative"}
        groups_found = {row["group"] for row in found} - {None}
        assert (len(found), labels["positive"], len(groups_found)) == (rows, positive, groups)

    def test_ids_are_unique_and_rows_in_their_order(self, product: Product) -> None:
        ids = [row["row_id"] for domain in vader.FILES for row in read(product, domain=domain)]
        assert len(set(ids)) == len(ids)
        assert [row["row_id"] for row in read(product, domain="nyt")] == sorted(
            row["row_id"] for row in read(product, domain="nyt")
        )

    @pytest.mark.parametrize("instruction", ["", "Go on."])
    def test_rows_carry_the_sources_name(self, product: Product, instruction: str) -> None:
        config = vader.Vader(domain="nyt", max_rows=5, instruction=instruction)
        (table,) = config.read(product.context("ingest"))
        assert set(table["source"].to_pylist()) == {config.source_name()}

    @pytest.mark.parametrize("instruction", ["", "Go on."])
    def test_a_row_can_be_found_where_it_came_from(self, product: Product, instruction: str) -> None:
        found = read(product, domain="nyt", min_rating=0, instruction=instruction)
        lines = vader._ground_truth("nyt", product.context("ingest")).read().decode(errors="replace").split("\n")
        for row in found[:20]:
            file, line = row["origin"].split(", line ")
            key, _, text = lines[int(line) - 1].split("\t", 2)
            assert (file, row["source_id"]) == ("nytEditorialSnippets_GroundTruth.txt", key)
            assert row["text"] == html.unescape(text.rstrip("\r"))

    def test_fewer_rows_are_always_the_same_ones(self, product: Product) -> None:
        everything = read(product, domain="amazon")
        assert read(product, domain="amazon", max_rows=50) == everything[:50]

    def test_a_lower_bound_lets_more_rows_in(self, product: Product) -> None:
        counts = [len(read(product, domain="nyt", min_rating=rating)) for rating in (0, 0.5, 2)]
        assert counts == sorted(counts, reverse=True)
        assert counts[0] > counts[1] > counts[2] > 0

    def test_a_sentence_is_asked_to_be_continued(self, product: Product) -> None:
        found = read(product, domain="nyt", instruction="Go on.")
        every = read(product, domain="nyt", min_rating=0)
        assert len({row["row_id"] for row in found} & {row["row_id"] for row in every}) == 0
        assert (len(found), len(every)) == (4549, 5190), "an item's last sentence has no next, nor has one before a gap"
        assert {row["context"] for row in found} == {"Go on."}
        assert {row["group"] for row in found} <= {row["group"] for row in every}
        texts = {row["text"]: row["group"] for row in every}
        assert all(texts[row["label"]] and row["text"] != row["label"] for row in found[:200])
        follows = {(row["group"], row["text"]): row["label"] for row in found}
        chained = sum((group, label) in follows for (group, _), label in follows.items())
        assert chained > 0.8 * len(follows), "most sentences that follow are followed by another"

    def test_only_items_of_several_sentences_can_be_continued(self) -> None:
        with pytest.raises(ValidationError, match="only sentences of amazon and nyt follow one another"):
            vader.Vader(domain="movie", instruction="Go on.")

    def test_sentences_of_one_item_are_one_group(self, product: Product) -> None:
        for domain, grouped in {"movie": False, "tweets": False, "amazon": True, "nyt": True}.items():
            groups = {row["group"] for row in read(product, domain=domain)}
            assert (None in groups) != grouped
            assert all(group.startswith(f"vader:{domain}:") for group in groups - {None})


def test_without_the_archive_it_says_how_to_get_it(product: Product, home: Path) -> None:
    with pytest.raises(NotFoundError, match="make setup") as error:
        read(product, domain="nyt")
    assert str(home) in str(error.value)
