"""Incremental: what is new, what is replayed, and where it starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftcore.training.methods import incremental

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
    old, fresh = (set(train_rows(grown, part)["row_id"].to_pylist()) for part in (range(50, 100), range(100, 160)))
    config = incremental.Incremental(replay=replay)
    taken = config.rows(grown.context("train"), table)["row_id"].to_pylist()
    assert fresh <= set(taken), "every new row is learnt"
    replayed = [row for row in taken if row in old]
    assert len(replayed) == min(round(len(fresh) * replay / (1 - replay)), len(old))
    assert len(set(taken)) == len(taken)
    again = config.rows(grown.context("train"), table)["row_id"].to_pylist()
    assert again == taken
    gone = set(train_rows(grown, range(50))["row_id"].to_pylist())
    assert not gone & set(taken), "what is not in the planned snapshot never comes back"


def test_what_was_corrected_is_new_and_what_was_forgotten_stays_away(grown: Product) -> None:
    """The earlier label and a forgotten person's row used to come back from the champion's own snapshot."""
    import pyarrow as pa

    table = train_rows(grown, range(50, 160))
    labels = table["label"].to_pylist()
    labels[0] = "negative" if labels[0] == "positive" else "positive"
    texts = table["text"].to_pylist()
    texts[1] = f"{texts[1]} after a correction"
    for name, values in (("label", labels), ("text", texts)):
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    for replay in (0.0, 0.9):
        taken = incremental.Incremental(replay=replay).rows(grown.context("train"), table).to_pylist()
        assert table.slice(0, 2).to_pylist() == [
            row for row in taken if row["row_id"] in table["row_id"].to_pylist()[:2]
        ]
        assert all(row in table.to_pylist() for row in taken), "each as the planned snapshot has it"


def test_a_subject_forgotten_after_the_plan_is_not_trained_on(grown: Product) -> None:
    import os

    from ftcore.data import suppression
    from ftcore.store.records import now
    from ftcore.training import jobs

    known = suppression.opened(grown.shelf, os.environ, keep=True)
    row = train_rows(grown, range(100, 160)).to_pylist()[0]
    suppression.add(grown.shelf, known.entry("somebody", now(), in_text=False, row_ids=(row["row_id"],)))
    found = jobs.rows(grown.context("train"))
    assert row["row_id"] not in found["train"]["row_id"].to_pylist()


def test_a_text_that_judges_is_never_replayed(grown: Product) -> None:
    taken = incremental.Incremental(replay=0.9).rows(grown.context("train"), train_rows(grown, range(50, 160)))
    assert set(taken["split"].to_pylist()) == {"train"}
    judging = {row["text"] for row in grown.rows(range(50, 160)).to_pylist() if row["split"] != "train"}
    assert not judging & set(taken["text"].to_pylist())


def test_without_a_champion_or_anything_new_all_rows_are_learnt(product: Product) -> None:
    identity = product.publish(range(40))
    product.run("plan")
    table = train_rows(product, range(40))
    assert incremental.Incremental().rows(product.context("train"), table) is table
    assert incremental.Incremental().start(product.context("train")) == product.recipe.base
    product.crown("first", identity)
    product.run("plan", "r2", train="always")
    assert incremental.Incremental().rows(product.context("train", "r2"), table) is table


def test_it_starts_from_the_champion_that_the_plan_saw(product: Product, tiny: Path) -> None:
    first = product.crown("first", product.publish(range(40)), [tiny / "model"])
    product.run("plan", train="always")
    product.crown("second", folders=[tiny / "model"])
    assert incremental.Incremental().start(product.context("train")) == f"models:/{product.name}/{first.number}"
