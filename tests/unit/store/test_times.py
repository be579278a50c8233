"""Times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ftcore.store.times import moment, utc


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        ("2026-11-28T05:22:03", "2026-11-28 05:22:03 UTC"),
        ("2026-11-28T05:22:03.5+02:00", "2026-11-28 03:22:03 UTC"),
        (datetime(2026, 11, 28, 5, 22, 3, tzinfo=UTC), "2026-11-28 05:22:03 UTC"),
        ("2026-11-28", "2026-11-28 00:00:00 UTC"),
    ],
)
def test_a_time_is_shown_in_utc(at: object, shown: str) -> None:
    assert moment(at) == shown


@pytest.mark.parametrize(
    "at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "yesterday", "2026-13-01", "", None, 5, [], {}]
)
def test_what_is_no_time_stands_as_it_is(at: object) -> None:
    assert utc(at) is None
    assert moment(at) == str(at or "")
