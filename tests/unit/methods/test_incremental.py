"""Incremental: what is new, what is replayed, and where it starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftcore.methods import incremental

if TYPE_CHECKING:
    import pyarrow as pa

    from tests.conftest import Product


def train_rows(product: Product, numbers: range) -> pa.Table:
    import pyarrow.compute as pc

    table = product.rows(numbers)
    return table.filter(pc.equal(table["split"], "train"))


@pytest.fixture
def grown(product: Product) -> Product:
    """A champion of 100 rows, and a plan for a snapshot that has lost 50 of them and has 60 new ones."""
    product.crown("first", product.publish(range(100)))
    product.publish(range(50, 160))
    product.run("plan", train="always")
    return product


@pytest.mark.parametrize("replay", [0.0, 0.25, 0.5])
def test_old_rows_are_mixed_in_at_their_share(grown: Product, replay: float) -> None:
    table = train_rows(grown, range(50, 160))
    old, fresh = (set(train_rows(grown, part)["row_id"].to_pylist()) for part in (range(100), range(100, 160)))
    config = incremental.Config(replay=replay)
    taken = incremental.rows(config, grown.context("train"), table)["row_id"].to_pylist()
    assert fresh <= set(taken), "every new row is learnt"
    replayed = [row for row in taken if row in old]
    assert len(replayed) == round(len(fresh) * replay / (1 - replay))
    assert len(set(taken)) == len(taken)
    again = incremental.rows(config, grown.context("train"), table)["row_id"].to_pylist()
    assert again == taken
    gone = set(train_rows(grown, range(50))["row_id"].to_pylist())
    assert bool(gone & set(replayed)) is (replay > 0), "rows of the earlier snapshot come back, too"


def test_a_text_that_judges_is_never_replayed(grown: Product) -> None:
    taken = incremental.rows(incremental.Config(replay=0.9), grown.context("train"), train_rows(grown, range(50, 160)))
    assert set(taken["split"].to_pylist()) == {"train"}
    judging = {row["text"] for row in grown.rows(range(50, 160)).to_pylist() if row["split"] != "train"}
    assert not judging & set(taken["text"].to_pylist())


def test_without_a_champion_or_anything_new_all_rows_are_learnt(product: Product) -> None:
    identity = product.publish(range(40))
    product.run("plan")
    table = train_rows(product, range(40))
    assert incremental.rows(incremental.Config(), product.context("train"), table) is table
    assert incremental.start(incremental.Config(), product.context("train")) == product.recipe.base
    product.crown("first", identity)
    product.run("plan", "r2", train="always")
    assert incremental.rows(incremental.Config(), product.context("train", "r2"), table) is table


def test_it_starts_from_the_champion_that_the_plan_saw(product: Product, tiny: Path) -> None:
    first = product.crown("first", product.publish(range(40)), [tiny / "model"])
    product.run("plan", train="always")
    product.crown("second", folders=[tiny / "model"])
    assert incremental.start(incremental.Config(), product.context("train")) == f"models:/{product.name}/{first.number}"
