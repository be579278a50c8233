"""How often gates about losses refuse an equally good candidate, and miss one that lost a slice."""

from __future__ import annotations

from tests.bench._candidates import FIRST_SEED, HARM, seeds, verdicts
from tests.bench._measure import Result, machine

CANDIDATES, ALLOWED, SLICE = 150, 0.06, "source=chat"
MAX_ECE = HARM[-1].max_ece


def run() -> Result:
    """Share of equally good candidates that any of the gates refuses; the aim is at most 6 %.

    Seeds are those from ``FTCORE_BENCH_SEED`` on, 0 by default: ``FTCORE_BENCH_SEED=5000 python -m tests.bench
    gate_slices`` judges candidates that no rule was tuned on.
    """
    mine = seeds(CANDIDATES)
    equal = verdicts(mine)
    refused = sum(False in rules for rules in zip(*equal.values(), strict=True)) / CANDIDATES
    undecided = sum(None in rules for rules in zip(*equal.values(), strict=True)) / CANDIDATES
    worse = verdicts(mine, {SLICE: 0.1})["slice"]
    caught = sum(passed is False for passed in worse) / CANDIDATES
    at_bound = verdicts(mine, too_modest=MAX_ECE)
    edge = sum(False in rules for rules in zip(*at_bound.values(), strict=True)) / CANDIDATES
    off = verdicts(mine, too_modest=MAX_ECE + 0.1)["calibration"].count(False) / CANDIDATES
    note = (
        f"the 6 % allowed to {', '.join(config.kind for config in HARM)} together on 6 slices and 2 holdouts; "
        f"undecided {undecided:.3f}; with a true calibration error of {MAX_ECE:g}, which is allowed, {edge:.3f} are "
        f"refused, of {MAX_ECE + 0.1:g} {off:.3f}; 10 points lost in a slice of 300 rows are caught in {caught:.3f} "
        f"(at least 0.9); seeds {mine.start} to {mine.stop - 1}, the first is {FIRST_SEED}"
    )
    return Result(
        "gate_slices", "share, ratio at most 1", refused, ALLOWED, refused / ALLOWED, 3100, 0, machine(), note
    )
