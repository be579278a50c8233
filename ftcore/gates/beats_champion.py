"""The candidate must be better than the champion on the same rows, and not by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from ftcore._find import Config as Base
from ftcore.gates._undecided import undecided
from ftcore.statistics import difference
from ftcore.verdict import Rule

if TYPE_CHECKING:
    from ftcore.verdict import Evidence

EXAMPLE = {"kind": "beats_champion", "metric": "accuracy", "datasets": ["test"]}


class Config(Base):
    """A paired bootstrap of the difference; its one-sided lower bound must lie above ``minimum_gain``."""

    kind: Literal["beats_champion"] = "beats_champion"
    metric: str = "accuracy"
    """Name of a metric of the task; for one that is better when lower, a fall is a gain."""
    datasets: tuple[str, ...] = ("test",)
    """Datasets whose rows are judged together: ``test`` and names of holdouts."""
    minimum_gain: Annotated[float, Field(ge=0)] = 0.0
    """Smallest true gain that is worth a promotion, in the metric's unit."""
    non_inferior: Annotated[float, Field(gt=0)] | None = None
    """Instead of a gain: largest true loss that is still as good as the champion, in the metric's unit."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """That the true gain lies above the lower bound."""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """With fewer rows the gate is undecided."""

    @model_validator(mode="after")
    def _asks_for_one_thing(self) -> Config:
        if self.non_inferior is not None and self.minimum_gain:
            raise ValueError("minimum_gain asks for a gain, non_inferior allows a loss: give one of them")
        return self

    @property
    def bound(self) -> float:
        """What the lower bound of the gain must lie above."""
        return self.minimum_gain if self.non_inferior is None else -self.non_inferior


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether the candidate is better; a first model has nobody to beat."""
    rows = evidence.on(config.datasets, config.metric)
    count = int(rows.sum())
    if evidence.champion is None:
        return Rule(gate=config.kind, passed=True, reason="there is no champion to beat yet", rows=count)
    if count < config.min_rows:
        because = f"{count} rows are too few to compare with the champion, it takes {config.min_rows}"
        return undecided(config.kind, because, config.bound, count)

    both = [evidence.champion[evidence.served][rows], evidence.candidate[evidence.served][rows]]
    # Turned round, a fall of a metric that is better when lower is a gain.
    low, high = both if evidence.sign(config.metric) > 0 else both[::-1]
    gain = difference(evidence.metrics, config.metric, low, high, evidence.resamples, evidence.seed, config.confidence)
    where = f"on {count:,} paired rows of {', '.join(config.datasets)}"
    if not gain.defined:
        because = f"{config.metric} is not defined {where}"
        return undecided(config.kind, because, config.bound, count)
    passed = gain.low > config.bound
    word = (
        ("beats" if passed else "does not surely beat")
        if config.non_inferior is None
        else ("is as good as" if passed else "may be worse than")
    )
    reason = (
        f"{word} the champion in {config.metric} by {gain.value:+.3f} "
        f"(at least {gain.low:+.3f} with {config.confidence * 100:g} % confidence) {where}"
    )
    return Rule(
        gate=config.kind,
        passed=passed,
        reason=reason,
        measured=gain.value,
        bound=config.bound,
        low=gain.low,
        high=gain.high,
        rows=count,
    )
