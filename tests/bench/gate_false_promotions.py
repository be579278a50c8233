"""How often `beats_champion` promotes a candidate that is truly no better."""

from __future__ import annotations

from tests.bench._candidates import promoted
from tests.bench._measure import Result, machine

CANDIDATES, ROWS, ALLOWED = 500, 2000, 0.06


def run() -> Result:
    """Share of 500 candidates without a true difference that pass at 95 %; the aim is at most 6 %."""
    share, f1 = (promoted(CANDIDATES, ROWS, 0.0, metric) for metric in ("accuracy", "f1"))
    note = f"the 6 % allowed; each of {CANDIDATES} candidates on {ROWS:,} rows of its own; by F1 {f1:.3f}"
    return Result(
        "gate_false_promotions", "share, ratio at most 1", share, ALLOWED, share / ALLOWED, ROWS, 0, machine(), note
    )
