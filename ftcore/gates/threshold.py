"""A metric must reach a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from ftcore._find import Config as Base
from ftcore.gates._undecided import undecided
from ftcore.statistics import estimate
from ftcore.verdict import Rule

if TYPE_CHECKING:
    from ftcore.verdict import Evidence

EXAMPLE = {"kind": "threshold", "metric": "accuracy", "minimum": 0.8}


class Config(Base):
    """The served model's metric must be at least ``minimum``, or at most ``maximum``."""

    kind: Literal["threshold"] = "threshold"
    metric: str = "accuracy"
    """Name of a metric of the task."""
    minimum: float | None = None
    """Lowest value that passes, in the metric's unit."""
    maximum: float | None = None
    """Highest value that passes, for a metric that is better when lower."""
    datasets: tuple[str, ...] = ("test",)
    """Datasets whose rows are judged together: ``test`` and names of holdouts."""
    certain: bool = False
    """Ask that even the worse end of the 95 % interval reaches the bound."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """With fewer rows the gate is undecided."""

    @model_validator(mode="after")
    def _has_one_bound(self) -> Config:
        if (self.minimum is None) == (self.maximum is None):
            raise ValueError("give either minimum or maximum")
        return self

    @property
    def bound(self) -> float:
        """The one that is given."""
        return self.minimum if self.minimum is not None else self.maximum or 0.0


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether the served model reaches the bound."""
    rows = evidence.on(config.datasets, config.metric)
    count = int(rows.sum())
    if count < config.min_rows:
        because = f"{count} rows are too few to judge {config.metric}, it takes {config.min_rows}"
        return undecided(config.kind, because, config.bound, count)
    served = evidence.candidate[evidence.served][rows]
    found = estimate(evidence.metrics, served, evidence.resamples, evidence.seed)[config.metric]
    if not found.defined:
        because = f"{config.metric} is not defined on {count:,} rows"
        return undecided(config.kind, because, config.bound, count)
    if config.maximum is None:
        passed = (found.low if config.certain else found.value) >= config.bound
        word = "reaches" if passed else "does not reach"
    else:
        passed = (found.high if config.certain else found.value) <= config.bound
        word = "stays within" if passed else "exceeds"
    return Rule(
        gate=config.kind,
        passed=passed,
        reason=f"{config.metric} {found} rows {word} {config.bound:g}",
        measured=found.value,
        bound=config.bound,
        low=found.low,
        high=found.high,
        rows=count,
    )
