"""The candidate must be better than the champion on the same rows, and not by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore._find import Config as Base
from ftcore.statistics import difference
from ftcore.verdict import Rule

if TYPE_CHECKING:
    from ftcore.verdict import Evidence

EXAMPLE = {"kind": "beats_champion", "metric": "accuracy", "datasets": ["test"]}


class Config(Base):
    """A paired bootstrap of the difference; its one-sided 95 % lower bound must lie above ``minimum_gain``."""

    kind: Literal["beats_champion"] = "beats_champion"
    metric: str = "accuracy"
    """Name of a metric of the task."""
    datasets: tuple[str, ...] = ("test",)
    """Datasets whose rows are judged together: ``test`` and names of holdouts."""
    minimum_gain: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """Smallest true gain that is worth a promotion."""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """With fewer rows the gate is undecided."""


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether the candidate is better; a first model has nobody to beat."""
    rows = evidence.on(config.datasets)
    count = int(rows.sum())
    if evidence.champion is None:
        return Rule(gate=config.kind, passed=True, reason="there is no champion to beat yet", rows=count)
    if count < config.min_rows:
        reason = f"undecided: {count} rows are too few to compare with the champion, it takes {config.min_rows}"
        return Rule(gate=config.kind, passed=None, reason=reason, bound=config.minimum_gain, rows=count)

    served = evidence.served
    champion, candidate = evidence.champion[served][rows], evidence.candidate[served][rows]
    gain = difference(
        evidence.metrics, config.metric, evidence.truth[rows], champion, candidate, evidence.resamples, evidence.seed
    )
    passed = gain.low > config.minimum_gain
    word = "beats" if passed else "does not surely beat"
    reason = (
        f"{word} the champion in {config.metric} by {gain.value:+.3f} (at least {gain.low:+.3f} with 95 % confidence) "
        f"on {count:,} paired rows of {', '.join(config.datasets)}"
    )
    return Rule(
        gate=config.kind,
        passed=passed,
        reason=reason,
        measured=gain.value,
        bound=config.minimum_gain,
        low=gain.low,
        high=gain.high,
        rows=count,
    )
