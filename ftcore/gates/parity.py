"""Every export must do what the trained model does."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore._find import Config as Base
from ftcore.gates._undecided import undecided
from ftcore.verdict import TORCH, Rule

if TYPE_CHECKING:
    from ftcore.verdict import Evidence

EXAMPLE = {"kind": "parity", "max_difference": 0.01}


class Config(Base):
    """No export's metric may differ from torch's by more than ``max_difference``, on the rows that it is about."""

    kind: Literal["parity"] = "parity"
    metric: str = "accuracy"
    """Name of a metric of the task."""
    max_difference: Annotated[float, Field(ge=0)] = 0.01
    """Largest difference of the metric, either way, in its unit."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """With fewer rows the gate is undecided."""


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether all exports agree with the trained model; the worst one is reported."""
    mine = evidence.on(list(set(evidence.dataset)), config.metric)
    rows = int(mine.sum())
    if rows < config.min_rows:
        because = f"{rows} rows are too few to compare the exports, it takes {config.min_rows}"
        return undecided(config.kind, because, config.max_difference, rows)
    exports = {name: tallies[mine] for name, tallies in evidence.candidate.items()}
    torch = exports.pop(TORCH)
    differences = {
        name: evidence.value(config.metric, tallies) - evidence.value(config.metric, torch)
        for name, tallies in exports.items()
    }
    if undefined := [name for name, difference in differences.items() if not isfinite(difference)]:
        because = f"{config.metric} of torch or {', '.join(undefined)} is not defined on {rows:,} rows"
        return undecided(config.kind, because, config.max_difference, rows)
    worst = max(differences, key=lambda name: abs(differences[name]))
    passed = round(abs(differences[worst]), 9) <= config.max_difference  # 1.00 - 0.99 is more than 0.01
    counted = bool((torch % 1 == 0).all())  # of sums of scores no two are ever the same
    agree = f"and agrees on {float((exports[worst] == torch).all(-1).mean()):.1%} of" if counted else "on"
    reason = (
        f"{worst} differs from torch by {differences[worst]:+.4f} in {config.metric} "
        f"{agree} {rows:,} rows; {config.max_difference:g} is allowed"
    )
    return Rule(
        gate=config.kind,
        passed=passed,
        reason=reason,
        measured=abs(differences[worst]),
        bound=config.max_difference,
        rows=rows,
    )
