"""Counts of rows: bars and periods hold every row, whatever its length or age."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftcore.data import snapshot
from ftcore.data.tally import DatasetSummary, _bars, _periods, tally


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([{"split": "train", "source": "a"} | row for row in rows],
                                schema=snapshot.schema(split=True))  # fmt: skip


def test_tables_add_up() -> None:
    seen = datetime(2026, 3, 1, 12, tzinfo=UTC)
    total = tally([
        table({"text": "four", "label": "x", "observed_at": seen}, {"text": "fünf!", "label": "y", "split": "test"}),
        table({"text": None, "label": "x"}),
        table(),
    ])  # fmt: skip
    assert (total.rows, dict(total.labels), dict(total.splits)) == (3, {"x": 2, "y": 1}, {"train": 2, "test": 1})
    assert dict(total.lengths) == {4: 1, 5: 1}
    assert total.newest == seen
    assert total.shape["balance"] == {"test": {"y": 1}, "train": {"x": 2}}
    assert (total.shape["days"], total.shape["undated"]) == ([["2026-03-01", 1]], 2)


def test_texts_that_somebody_wrote_are_no_labels() -> None:
    total = DatasetSummary(labelled=False)
    total.add(table({"text": "a question", "label": "a long answer"}))
    assert (total.labels, total.shape["balance"]) == ({}, {})


def test_nothing_has_an_empty_shape() -> None:
    assert DatasetSummary().shape == {"balance": {}, "lengths": [], "days": [], "undated": 0}


@given(st.lists(st.integers(0, 100_000), min_size=1))
def test_every_length_falls_into_one_bar(lengths: list[int]) -> None:
    from collections import Counter

    bars = _bars(Counter(lengths))
    for low, below, count in bars:
        assert sum(low <= length < below for length in lengths) == count
    assert sum(count for *_, count in bars) == len(lengths)
    assert bars[0][2] > 0
    assert bars[-1][2] > 0


@pytest.mark.parametrize(
    ("first", "last", "form", "bars"),
    [
        (date(2026, 1, 1), date(2026, 1, 10), "2026-01-01", 10),
        (date(2025, 11, 1), date(2026, 2, 10), "2025-11", 4),
        (date(2000, 11, 1), date(2026, 2, 10), "2000", 27),
    ],
)
def test_days_become_months_become_years(first: date, last: date, form: str, bars: int) -> None:
    from collections import Counter

    periods = _periods(Counter({first: 3, last: 4}))
    assert (periods[0], len(periods)) == ([form, 3], bars)
    assert sum(count for _, count in periods) == 7
