"""A metric must reach a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore._find import Config as Base
from ftcore.statistics import estimate
from ftcore.verdict import Rule

if TYPE_CHECKING:
    from ftcore.verdict import Evidence

EXAMPLE = {"kind": "threshold", "metric": "accuracy", "minimum": 0.8}


class Config(Base):
    """The served model's metric must be at least ``minimum``."""

    kind: Literal["threshold"] = "threshold"
    metric: str = "accuracy"
    """Name of a metric of the task."""
    minimum: Annotated[float, Field(ge=0, le=1)]
    """Lowest value that passes."""
    datasets: tuple[str, ...] = ("test",)
    """Datasets whose rows are judged together: ``test`` and names of holdouts."""
    certain: bool = False
    """Ask that even the lower end of the 95 % interval reaches ``minimum``."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """With fewer rows the gate is undecided."""


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether the served model reaches the bound."""
    rows = evidence.on(config.datasets)
    served = evidence.candidate[evidence.served]
    count = int(rows.sum())
    if count < config.min_rows:
        reason = f"undecided: {count} rows are too few to judge {config.metric}, it takes {config.min_rows}"
        return Rule(gate=config.kind, passed=None, reason=reason, bound=config.minimum, rows=count)
    found = estimate(evidence.metrics, evidence.truth[rows], served[rows], evidence.resamples, evidence.seed)[
        config.metric
    ]
    passed = (found.low if config.certain else found.value) >= config.minimum
    word = "reaches" if passed else "does not reach"
    interval = f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
    reason = f"{config.metric} {interval} on {count:,} rows {word} {config.minimum:g}"
    return Rule(
        gate=config.kind,
        passed=passed,
        reason=reason,
        measured=found.value,
        bound=config.minimum,
        low=found.low,
        high=found.high,
        rows=count,
    )
