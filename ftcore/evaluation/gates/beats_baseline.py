"""The candidate must be better than the commonest label and than a linear model over words, on every dataset.

What must be beaten is beaten on each dataset by itself: a gate that passes only where all of several tests do keeps the
error rate of each (R. Berger 1982, *Multiparameter hypothesis testing and acceptance sampling*, intersection-union
tests). That a candidate is worse on a holdout is decided with Bonferroni's correction over holdouts and baselines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.evaluation.gates._base import Gate, sure
from ftcore.statistics.intervals import difference

if TYPE_CHECKING:
    import numpy as np

    from ftcore.registry.verdict import Evidence, Rule
    from ftcore.statistics.intervals import Estimate

TEST = "test"


class BeatsBaseline(Gate):
    """A paired bootstrap against each baseline, trained on the same rows, on each dataset by itself."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "beats_baseline", "metric": "accuracy"}

    kind: Literal["beats_baseline"] = "beats_baseline"
    metric: str = "accuracy"
    """Name of a metric of the task."""
    datasets: tuple[str, ...] = ()
    """Datasets on each of which every baseline must be beaten: ``test`` and names of holdouts. Empty judges all: on
    ``test`` every baseline must be beaten, and on no holdout may the candidate be surely worse than one."""
    minimum_gain: Annotated[float, Field(ge=0)] = 0.0
    """Gain over the better baseline that is worth a larger model, in the metric's unit."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """That the true gain lies above the lower bound."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """With fewer rows of a dataset that must be beaten the gate is undecided, unless the candidate is surely not better
    by ``minimum_gain``; a holdout with fewer decides nothing."""
    min_groups: Annotated[int, Field(ge=1)] = 30
    """The same in groups of rows, where rows have groups."""

    @property
    def bound(self) -> float:
        """The gain that is needed where a baseline must be beaten."""
        return self.minimum_gain

    def judged(self, datasets: Sequence[str]) -> list[tuple[str, ...]]:
        """Each dataset by itself."""
        return [(name,) for name in self.datasets or datasets]

    def judge(self, evidence: Evidence) -> Rule:
        """Whether the served model beats each baseline on what must be beaten, and is surely worse nowhere else."""
        every = list(dict.fromkeys(evidence.dataset.tolist()))
        wanted = self.datasets or tuple(sorted(every, key=lambda name: name != TEST))
        others = [name for name in wanted if not self.datasets and name != TEST]
        looks = max(1, len(others) * len(evidence.baselines))
        found = [self._judge(evidence, name, None if name not in others else looks) for name in wanted]
        failed = [one for one in found if one.outcome is False]
        open_ = [one for one in found if one.outcome is None and one.must_beat]
        told = "; ".join(
            one.sentence for one in [*failed, *open_, *(o for o in found if o not in failed and o not in open_)]
        )
        first = next(iter([*failed, *open_, *found]))
        if open_ and not failed:
            return self.undecided(told, first.rows, first.groups, first.gain)
        bound = self.bound if first.must_beat else 0.0
        return self.rule(not failed, told, first.rows, first.groups, first.gain, bound=bound)

    def _judge(self, evidence: Evidence, dataset: str, looks: int | None) -> Finding:
        """One dataset; ``looks``: comparisons that share the error rate, None where baselines must be beaten."""
        must_beat = looks is None
        rows = evidence.on([dataset], self.metric)
        size = int(rows.sum()), evidence.groups(rows)
        few = self.too_few(evidence, rows, f"compare with a baseline on {dataset}")
        if not size[0]:
            return Finding(dataset, must_beat, None, few, *size)
        confidence = self.confidence if looks is None else 1 - (1 - self.confidence) / looks
        gains = {name: self._gain(evidence, name, rows, confidence) for name in evidence.baselines}
        if not gains or not all(gain.defined for gain in gains.values()):
            because = few or f"no baseline has {evidence.title(self.metric)} on {size[0]:,} rows of {dataset}"
            return Finding(dataset, must_beat, None, because, *size)
        name, gain = min(gains.items(), key=lambda item: item[1].low if must_beat else item[1].high)
        outcome = gain.low > self.minimum_gain if must_beat else gain.high >= 0
        sentence = self._sentence(evidence, (name, gain), rows, (dataset, must_beat, confidence))
        if few and not (must_beat and gain.high < self.minimum_gain and sure(*size)):
            return Finding(dataset, must_beat, None, f"{few}; {sentence}", *size, gain)
        return Finding(dataset, must_beat, outcome, sentence, *size, gain)

    def _gain(self, evidence: Evidence, baseline: str, rows: np.ndarray, confidence: float) -> Estimate:
        """How much better the candidate is than a baseline on some rows, turned so that higher is better."""
        both = [evidence.baselines[baseline][rows], evidence.candidate[evidence.served][rows]]
        low, high = both if evidence.sign(self.metric) > 0 else both[::-1]
        drawing = (evidence.resamples, evidence.seed, confidence, evidence.of(rows))
        return difference(evidence.metrics, self.metric, low, high, *drawing)

    def _sentence(
        self,
        evidence: Evidence,
        closest: tuple[str, Estimate],
        rows: np.ndarray,
        how: tuple[str, bool, float],
    ) -> str:
        """What was found on a dataset, with the numbers."""
        (name, gain), (dataset, must_beat, confidence) = closest, how
        where = f"on {gain.size} of {dataset}"
        mine, theirs = self._values(evidence, [evidence.candidate[evidence.served], evidence.baselines[name]], rows)
        if gain.value < 0:
            word = "is worse than" if gain.high < 0 else "may be worse than"
            return (
                f"{word} the {name} baseline in {evidence.title(self.metric)} {where}: {mine:.3f} against "
                f"{theirs:.3f}, {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
            )
        if must_beat:
            word = "beats" if gain.low > self.minimum_gain else "does not surely beat"
            return (
                f"{word} the {name} baseline in {evidence.title(self.metric)} by {gain.value:+.3f} "
                f"(at least {gain.low:+.3f} with {confidence * 100:g} % confidence) {where}"
            )
        amount = f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
        return f"is no worse than the {name} baseline in {evidence.title(self.metric)} {where}: {amount}"

    def _values(self, evidence: Evidence, models: Sequence[np.ndarray], rows: np.ndarray) -> list[float]:
        return [evidence.value(self.metric, tallies[rows]) for tallies in models]


@dataclass(frozen=True)
class Finding:
    """The candidate and the baseline that comes closest to it, on one dataset."""

    dataset: str
    must_beat: bool
    outcome: bool | None
    """True: beaten, or not surely worse. None: too few rows, or nothing to compare with."""
    sentence: str
    """For people, with the numbers."""
    rows: int
    groups: int
    gain: Estimate | None = None
