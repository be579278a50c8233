"""What a candidate must prove, in one sentence: it is what `ftcore ls` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.evaluation.gates._undecided import undecided
from ftcore.recipe.kinds import Config as Base
from ftcore.registry.verdict import Rule

if TYPE_CHECKING:
    from ftcore.registry.verdict import Evidence

EXAMPLE = {"kind": "NAME", "bound": 0.5}


class Config(Base):
    """What a recipe says about this gate."""

    kind: Literal["NAME"] = "NAME"
    bound: Annotated[float, Field(ge=0, le=1)]
    """Say what it bounds and in which unit."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """With fewer rows the gate is undecided."""


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether the candidate passes. Judge the flavour that serves, and say *undecided* rather than guess."""
    rows = len(evidence.dataset)
    if rows < config.min_rows:
        because = f"{rows} rows are too few, at least {config.min_rows} are needed"
        return undecided(config.kind, because, config.bound, rows)
    measured = evidence.value("accuracy", evidence.candidate[evidence.served])
    reason = f"measured {measured:.3f} on {rows:,} rows, {config.bound:g} is required"
    passed = measured >= config.bound
    return Rule(gate=config.kind, passed=passed, reason=reason, measured=measured, bound=config.bound, rows=rows)
