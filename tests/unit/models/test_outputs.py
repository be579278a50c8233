"""Whatever a task's model says survives Parquet, and batches keep each row's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ftcore.models import outputs
from ftcore.store import store

KINDS: list[Any] = [
    np.array([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]], np.float32),
    np.array([1.5, -2.0, 1e300]),
    ["an answer", "", "ein Wört"],
    [["O", "B-PER"], [], ["O"]],
]


@pytest.mark.parametrize("said", KINDS, ids=["probabilities", "numbers", "texts", "tags"])
def test_they_come_back_as_they_were(said: Any, tmp_path: Path) -> None:
    store.write_table(tmp_path / "x.parquet", pa.table({"said": outputs.column(said)}))
    back = outputs.of(store.read_table(tmp_path / "x.parquet")["said"])
    assert type(back) is type(said)
    assert np.array_equal(back, said) if isinstance(said, np.ndarray) else back == said


@pytest.mark.parametrize("said", KINDS, ids=["probabilities", "numbers", "texts", "tags"])
def test_batches_are_put_back_into_order(said: Any) -> None:
    order = np.array([2, 0, 1])
    shuffled = [said[place] for place in order]
    parts = (
        [np.array(shuffled[:2]), np.array(shuffled[2:])]
        if isinstance(said, np.ndarray)
        else [shuffled[:2], shuffled[2:]]
    )
    back = outputs.join(parts, order)
    assert np.array_equal(back, said) if isinstance(said, np.ndarray) else back == said


def test_no_rows() -> None:
    assert outputs.join([], np.array([], int)) == []
    assert len(outputs.of(pa.chunked_array([], pa.list_(pa.float32())))) == 0
