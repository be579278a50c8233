"""The served model must answer fast enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.evaluation.gates._base import Gate

if TYPE_CHECKING:
    from ftcore.registry.verdict import Evidence, Rule


class Latency(Gate):
    """Times of single texts, measured by the evaluation on its own machine."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "latency", "max_p95_ms": 200}

    kind: Literal["latency"] = "latency"
    max_p95_ms: Annotated[float, Field(gt=0)]
    """95th percentile of the time for one text, in milliseconds."""
    min_rows_per_s: Annotated[float, Field(ge=0)] = 0.0
    """Fewest texts a second in batches."""

    @property
    def bound(self) -> float:
        """Longest time."""
        return self.max_p95_ms

    def judge(self, evidence: Evidence) -> Rule:
        """Whether the served model is fast enough."""
        speed = evidence.figures.get("latency", {}).get(evidence.served)
        if speed is None:
            return self.undecided(f"the latency of {evidence.served} was not measured")
        reason = (
            f"{evidence.served} answers in {speed['p95_ms']:.1f} ms at the 95th percentile, {self.max_p95_ms:g} are "
            f"allowed, and {speed['rows_per_s']:,.0f} rows/s in batches"
        ) + (f", {self.min_rows_per_s:g} are required" if self.min_rows_per_s else "")
        passed = speed["p95_ms"] <= self.max_p95_ms and speed["rows_per_s"] >= self.min_rows_per_s
        return self.rule(passed, reason, speed.get("timed", 0), measured=speed["p95_ms"])
