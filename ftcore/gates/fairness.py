"""The model must serve groups of people or texts alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore._find import Config as Base
from ftcore.gates._undecided import undecided
from ftcore.statistics import Estimate
from ftcore.verdict import Rule

if TYPE_CHECKING:
    from ftcore.verdict import Evidence

EXAMPLE = {"kind": "fairness", "by": "source", "metric": "accuracy", "max_difference": 0.15}


class Config(Base):
    """The largest difference of a metric between groups of rows, as fairlearn's MetricFrame measures it."""

    kind: Literal["fairness"] = "fairness"
    by: Literal["source", "language", "length"] = "source"
    """What tells the groups apart; it must be one of the recipe's ``evaluate.slices``."""
    metric: str = "accuracy"
    """Name of a metric of the task."""
    max_difference: Annotated[float, Field(ge=0)] = 0.1
    """Largest difference between the best and the worst group, in the metric's unit."""
    min_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Smallest ratio of the lowest to the highest; 0.8 is the four-fifths rule."""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """With fewer rows in all groups together the gate is undecided."""


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether the groups are served alike; groups of fewer than 30 rows are left out."""
    measured = evidence.figures.get("fairness", {}).get(config.by)
    if measured is None:
        return undecided(config.kind, f"there are no two groups of 30 rows by {config.by}", config.max_difference)
    found = measured["metrics"][config.metric]
    spread, ratio = Estimate.model_validate(found["difference"]), found["ratio"]
    if spread.rows < config.min_rows or not spread.defined or ratio is None:
        because = f"{spread.rows} rows are too few to compare groups, it takes {config.min_rows}"
        return undecided(config.kind, because, config.max_difference, spread.rows)
    by_group = {name: value for name, value in found["by_group"].items() if value is not None}
    lowest, highest = min(by_group, key=by_group.__getitem__), max(by_group, key=by_group.__getitem__)
    reason = (
        f"{config.metric} is {by_group[lowest]:.3f} for {lowest} and {by_group[highest]:.3f} for {highest}: "
        f"{spread.value:.3f} [{spread.low:.3f}, {spread.high:.3f}] apart, {config.max_difference:g} is allowed, "
        f"in a ratio of {ratio:.2f}"
    ) + (f", {config.min_ratio:g} is asked" if config.min_ratio else "")
    return Rule(
        gate=config.kind,
        passed=spread.value <= config.max_difference and ratio >= config.min_ratio,
        reason=reason,
        measured=spread.value,
        bound=config.max_difference,
        low=spread.low,
        high=spread.high,
        rows=spread.rows,
    )
