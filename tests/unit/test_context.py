"""What a step is given, and what it is told when something lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ftcore.errors import FtcoreError

if TYPE_CHECKING:
    from conftest import Product


def test_a_step_writes_in_folders_of_its_own(product: Product) -> None:
    one, other = product.context("train", "r1"), product.context("export", "r1")
    assert one.folder.is_dir()
    assert one.scratch.is_dir()
    assert len({str(path) for path in (one.folder, other.folder, one.scratch, other.scratch)}) == 4
    assert one.written(one.folder / "x.json") == "runs/r1/train/x.json"


def test_an_earlier_step_that_was_not_run_is_named(product: Product) -> None:
    with pytest.raises(FtcoreError, match="train needs the record of plan in run r1") as error:
        product.context("train").earlier("plan")
    assert f"ftcore step plan {product.name} --run r1" in error.value.hint
