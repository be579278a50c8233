"""What the plan says of memory is what a training takes: the smallest case of ``make bench ONLY=memory``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import memory
from tests.conftest import Product


def test_a_training_takes_what_was_estimated(product: Product, tmp_path: Path) -> None:
    estimated, figures = memory.measured(memory.SMALLEST, product, tmp_path)
    used = figures["peak_memory_bytes"]
    assert memory.LEAST <= estimated / used <= memory.MOST, f"{estimated:,} bytes estimated, {used:,} used"
    assert figures["actual_vs_estimated"]["memory"] == pytest.approx(used / estimated, abs=1e-3)
