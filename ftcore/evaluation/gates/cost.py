"""Predictions must not cost more than they are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.evaluation.gates._base import Gate

if TYPE_CHECKING:
    from ftcore.registry.verdict import Evidence, Rule


class Cost(Gate):
    """Cost of a thousand predictions in batches, by the speed that was measured and ``FTCORE_COST_PER_HOUR``."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "cost", "max_per_1000": 0.05}

    kind: Literal["cost"] = "cost"
    max_per_1000: Annotated[float, Field(gt=0)]
    """Most that a thousand predictions may cost, in the currency of the setting."""

    @property
    def bound(self) -> float:
        """Highest cost."""
        return self.max_per_1000

    def judge(self, evidence: Evidence) -> Rule:
        """Whether the served form is cheap enough."""
        cost = evidence.figures.get("cost_per_1000", {}).get(evidence.served)
        if cost is None:
            return self.undecided("FTCORE_COST_PER_HOUR does not say what a machine costs")
        reason = f"1,000 predictions by {evidence.served} cost {cost:.4g}, {self.max_per_1000:g} is allowed"
        return self.rule(cost <= self.max_per_1000, reason, measured=cost)
