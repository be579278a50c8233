"""The served model must answer fast enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.evaluation.gates._undecided import undecided
from ftcore.recipe.kinds import Config as Base
from ftcore.registry.verdict import Rule

if TYPE_CHECKING:
    from ftcore.registry.verdict import Evidence

EXAMPLE = {"kind": "latency", "max_p95_ms": 200}


class Config(Base):
    """Times of single texts, measured by the evaluation on its own machine."""

    kind: Literal["latency"] = "latency"
    max_p95_ms: Annotated[float, Field(gt=0)]
    """95th percentile of the time for one text, in milliseconds."""
    min_rows_per_s: Annotated[float, Field(ge=0)] = 0.0
    """Fewest texts a second in batches."""


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether the served model is fast enough."""
    speed = evidence.figures.get("latency", {}).get(evidence.served)
    if speed is None:
        return undecided(config.kind, f"the latency of {evidence.served} was not measured", config.max_p95_ms)
    reason = (
        f"{evidence.served} answers in {speed['p95_ms']:.1f} ms at the 95th percentile, {config.max_p95_ms:g} are "
        f"allowed, and {speed['rows_per_s']:,.0f} rows/s in batches"
    ) + (f", {config.min_rows_per_s:g} are required" if config.min_rows_per_s else "")
    return Rule(
        gate=config.kind,
        passed=speed["p95_ms"] <= config.max_p95_ms and speed["rows_per_s"] >= config.min_rows_per_s,
        reason=reason,
        measured=speed["p95_ms"],
        bound=config.max_p95_ms,
        rows=speed.get("timed", 0),
    )
