"""A metric must reach a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ftcore.evaluation.gates._base import Gate, sure
from ftcore.statistics.intervals import estimate

if TYPE_CHECKING:
    from ftcore.registry.verdict import Evidence, Rule
    from ftcore.statistics.intervals import Estimate


class Threshold(Gate):
    """The served model's metric must be at least ``minimum``, or at most ``maximum``."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "threshold", "metric": "accuracy", "minimum": 0.8}

    kind: Literal["threshold"] = "threshold"
    metric: str = "accuracy"
    """Name of a metric of the task."""
    minimum: float | None = None
    """Lowest value that passes, in the metric's unit."""
    maximum: float | None = None
    """Highest value that passes, for a metric that is better when lower."""
    datasets: tuple[str, ...] = ("test",)
    """Datasets whose rows are judged together: ``test`` and names of holdouts."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """How far beyond the bound the true value may lie in a gate that passes, in the metric's unit; more than 0 lets a
    value near the bound pass with fewer rows."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """With fewer rows the gate is undecided, unless it surely fails."""
    min_groups: Annotated[int, Field(ge=1)] = 30
    """With fewer groups of rows the gate is undecided, where rows have groups, unless it surely fails."""

    @model_validator(mode="before")
    @classmethod
    def _is_always_certain(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "certain" not in values:
            return values
        if values["certain"] is not True:
            raise ValueError(
                "`certain: false` is gone, the interval decides: leave it out, and set `tolerance` if needed"
            )
        return {key: value for key, value in values.items() if key != "certain"}

    @model_validator(mode="after")
    def _has_one_bound(self) -> Threshold:
        if (self.minimum is None) == (self.maximum is None):
            raise ValueError("give either minimum or maximum")
        return self

    @property
    def bound(self) -> float:
        """The one that is given."""
        return self.minimum if self.minimum is not None else self.maximum or 0.0

    def judge(self, evidence: Evidence) -> Rule:
        """Whether the served model reaches the bound, by the 95 % interval: surely, surely not, or undecided.

        It passes where even the worse end of the interval reaches the bound, ``tolerance`` aside, and fails where even
        the better end does not; for a sure failure fewer than ``min_rows`` and ``min_groups`` are enough.
        """
        rows, metric = evidence.on(self.datasets, self.metric), evidence.title(self.metric)
        count, groups = int(rows.sum()), evidence.groups(rows)
        few = self.too_few(evidence, rows, f"judge {metric}")
        if not count:
            return self.undecided(few, count, groups)
        served = evidence.candidate[evidence.served][rows]
        found = estimate(evidence.metrics, served, evidence.resamples, evidence.seed, evidence.of(rows))[self.metric]
        if not found.defined:
            because = few or f"{metric} is not defined on {found.size}"
            return self.undecided(because, count, groups)
        passed = self._passes(found)
        if few and (passed is not False or not sure(count, groups)):
            because = f"{few}; {metric} {found}, {self.bound:g} is required"
            return self.undecided(because, count, groups, found)
        if passed is None:
            word = f"undecided: {metric} {found} may lie on either side of {self.bound:g}; add rows, or set tolerance"
        else:
            verb = ("reaches", "does not reach") if self.maximum is None else ("stays within", "exceeds")
            word = f"{metric} {found} {verb[0 if passed else 1]} {self.bound:g}"
        return self.rule(passed, word, count, groups, found)

    def _passes(self, found: Estimate) -> bool | None:
        """Whether all of the interval, or none of it, lies on the right side of the bound."""
        sign = 1 if self.maximum is None else -1
        worse, better = (found.low, found.high) if sign > 0 else (found.high, found.low)
        if sign * (worse - self.bound) >= -self.tolerance:
            return True
        return False if sign * (better - self.bound) < 0 else None
