"""Predictions must not cost more than they are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.evaluation.gates._undecided import undecided
from ftcore.recipe.kinds import Config as Base
from ftcore.registry.verdict import Rule

if TYPE_CHECKING:
    from ftcore.registry.verdict import Evidence

EXAMPLE = {"kind": "cost", "max_per_1000": 0.05}


class Config(Base):
    """Cost of a thousand predictions in batches, by the speed that was measured and ``FTCORE_COST_PER_HOUR``."""

    kind: Literal["cost"] = "cost"
    max_per_1000: Annotated[float, Field(gt=0)]
    """Most that a thousand predictions may cost, in the currency of the setting."""


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether the served form is cheap enough."""
    cost = evidence.figures.get("cost_per_1000", {}).get(evidence.served)
    if cost is None:
        return undecided(config.kind, "FTCORE_COST_PER_HOUR does not say what a machine costs", config.max_per_1000)
    reason = f"1,000 predictions by {evidence.served} cost {cost:.4g}, {config.max_per_1000:g} is allowed"
    passed = cost <= config.max_per_1000
    return Rule(gate=config.kind, passed=passed, reason=reason, measured=cost, bound=config.max_per_1000)
