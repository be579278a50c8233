"""Groups of rows: what belongs together is resampled together."""

from __future__ import annotations

import pyarrow as pa

from ftcore.steps import _slices


def test_rows_of_one_group_share_an_id_and_rows_without_one_are_alone() -> None:
    rows = pa.table(
        {
            "split_key": ["k1", "k1", None, None, None, None],
            "group": ["anna", "ben", "carl", "carl", None, None],
        }
    )
    ids = _slices.clusters(rows).tolist()
    assert ids[0] == ids[1], "the split key counts more than the group's name"
    assert ids[2] == ids[3]
    assert len(set(ids)) == 4


def test_a_table_of_an_older_evaluation_has_a_group_for_each_row() -> None:
    assert len(set(_slices.clusters(pa.table({"text": ["a", "a"]})).tolist())) == 2
    assert _slices.clusters(pa.table({"text": pa.array([], pa.string())})).tolist() == []
