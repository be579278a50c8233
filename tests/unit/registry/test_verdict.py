"""What gates say, in short."""

from __future__ import annotations

import pytest

from ftcore.registry.verdict import brief


@pytest.mark.parametrize(
    ("reason", "short"),
    [
        ("one; two", "one"),
        (
            "error 0.029 [0.000, 0.046; 90 % interval] on 300 rows; at most 0.05",
            "error 0.029 [0.000, 0.046; 90 % interval] on 300 rows",
        ),
        ("it rests on few (12; the rest agree). More", "it rests on few (12; the rest agree)"),
        ("a bracket ( that nobody closes; two", "a bracket ( that nobody closes; two"),
        ("word " * 50, "word " * 31 + "…"),
    ],
)
def test_a_reason_in_short_is_its_first_clause(reason: str, short: str) -> None:
    assert brief(reason) == short
