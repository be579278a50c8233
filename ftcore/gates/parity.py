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
    """No export's metric may differ from torch's by more than ``max_difference``, on the rows that it is about.

    No export may predict otherwise on more than ``max_disagreement`` of them.
    """

    kind: Literal["parity"] = "parity"
    metric: str = "accuracy"
    """Name of a metric of the task."""
    max_difference: Annotated[float, Field(ge=0)] = 0.01
    """Largest difference of the metric, either way, in its unit."""
    max_disagreement: Annotated[float, Field(ge=0, le=1)] | None = None
    """Largest share of the rows on which an export's prediction is another one than the trained model's, 0 to 1: errors
    that cancel out leave the metric as it is. Null: five times ``max_difference``. Tasks that are scored by degrees have
    no such bound."""
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
    # What is bounded is a deviation that was measured, of models that are meant to be the same: no sample of anything.
    counted = bool((torch % 1 == 0).all())  # of sums of scores no two are ever the same
    apart = {name: float((tallies != torch).any(-1).mean()) for name, tallies in exports.items()} if counted else {}
    allowed = min(5 * config.max_difference, 1.0) if config.max_disagreement is None else config.max_disagreement
    too_much = [name for name, share in apart.items() if _exceeds(share, allowed)]
    worst = max(too_much or differences, key=lambda name: apart[name] if too_much else abs(differences[name]))
    agree = f"and agrees on {1 - apart[worst]:.1%} of" if counted else "on"
    reason = (
        f"{worst} differs from torch by {differences[worst]:+.4f} in {config.metric} "
        f"{agree} {rows:,} rows; {config.max_difference:g} is allowed"
    )
    if too_much:
        reason += f", and {allowed:.1%} of the rows may disagree"
    return Rule(
        gate=config.kind,
        passed=not too_much and not any(_exceeds(abs(one), config.max_difference) for one in differences.values()),
        reason=reason,
        measured=apart[worst] if too_much else abs(differences[worst]),
        bound=allowed if too_much else config.max_difference,
        rows=rows,
    )


def _exceeds(measured: float, bound: float) -> bool:
    """Whether a difference of two measurements is beyond its bound; 1.00 - 0.99 is more than 0.01 to a float."""
    return round(measured, 9) > bound
