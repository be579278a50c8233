"""How often gates about losses refuse an equally good candidate, and miss one that lost a slice."""

from __future__ import annotations

from tests.bench._candidates import HARM, verdicts
from tests.bench._measure import Result, machine

CANDIDATES, ALLOWED, SLICE = 150, 0.06, "source=chat"


def run() -> Result:
    """Share of equally good candidates that any of the gates refuses; the aim is at most 6 %."""
    equal = verdicts(range(CANDIDATES))
    refused = sum(False in rules for rules in zip(*equal.values(), strict=True)) / CANDIDATES
    undecided = sum(None in rules for rules in zip(*equal.values(), strict=True)) / CANDIDATES
    worse = verdicts(range(CANDIDATES), {SLICE: 0.1})["slice"]
    caught = sum(passed is False for passed in worse) / CANDIDATES
    note = (
        f"the 6 % allowed to {', '.join(config.kind for config in HARM)} together on 6 slices and 2 holdouts; "
        f"undecided {undecided:.3f}; a loss of 10 points in a slice of 300 rows is caught in {caught:.3f} (0.9 asked)"
    )
    return Result(
        "gate_slices", "share, ratio at most 1", refused, ALLOWED, refused / ALLOWED, 3100, 0, machine(), note
    )
