"""The candidate must be better than the commonest label and than a linear model over words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore._find import Config as Base
from ftcore.gates._undecided import too_few, undecided
from ftcore.statistics import difference
from ftcore.verdict import Rule

if TYPE_CHECKING:
    from ftcore.verdict import Evidence

EXAMPLE = {"kind": "beats_baseline", "metric": "accuracy"}


class Config(Base):
    """A paired bootstrap against each baseline, which learnt from the same training rows."""

    kind: Literal["beats_baseline"] = "beats_baseline"
    metric: str = "accuracy"
    """Name of a metric of the task."""
    datasets: tuple[str, ...] = ("test",)
    """Datasets whose rows are judged together: ``test`` and names of holdouts."""
    minimum_gain: Annotated[float, Field(ge=0)] = 0.0
    """Gain over the better baseline that is worth a larger model, in the metric's unit."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """That the true gain lies above the lower bound."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """With fewer rows the gate is undecided."""
    min_groups: Annotated[int, Field(ge=1)] = 30
    """With fewer groups of rows the gate is undecided, where rows have groups."""


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether the served model beats each baseline; the closest one is reported."""
    chosen = evidence.on(config.datasets, config.metric)
    rows, groups = int(chosen.sum()), evidence.groups(chosen)
    if because := too_few(config, evidence, chosen, "compare with a baseline"):
        return undecided(config.kind, because, config.minimum_gain, rows, groups)
    gains = {}
    for name, tallies in evidence.baselines.items():
        both = [tallies[chosen], evidence.candidate[evidence.served][chosen]]
        low, high = both if evidence.sign(config.metric) > 0 else both[::-1]
        drawing = (evidence.resamples, evidence.seed, config.confidence, evidence.of(chosen))
        gains[name] = difference(evidence.metrics, config.metric, low, high, *drawing)
    if not gains or not all(gain.defined for gain in gains.values()):
        because = f"no baseline has {config.metric} on {rows:,} rows"
        return undecided(config.kind, because, config.minimum_gain, rows, groups)
    name, gain = min(gains.items(), key=lambda item: item[1].low)
    passed = gain.low > config.minimum_gain
    reason = (
        f"{'beats' if passed else 'does not surely beat'} the {name} baseline in {config.metric} by {gain.value:+.3f} "
        f"(at least {gain.low:+.3f} with {config.confidence * 100:g} % confidence) on {gain.size}"
    )
    return Rule(
        gate=config.kind,
        passed=passed,
        reason=reason,
        measured=gain.value,
        bound=config.minimum_gain,
        low=gain.low,
        high=gain.high,
        rows=rows,
        groups=groups,
    )
