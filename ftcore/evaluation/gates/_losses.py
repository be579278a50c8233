"""Where the candidate is worse than the champion: the rule behind `slice` and `forgetting`."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ftcore.evaluation.gates._base import LEAST_GROUPS, LEAST_ROWS, Gate, share
from ftcore.statistics.intervals import Estimate, quantile, size
from ftcore.statistics.simultaneous import Bounds, Effect, bounds, clusters, effect

if TYPE_CHECKING:
    import numpy as np

    from ftcore.registry.verdict import Evidence, Rule

MARGIN = 0.05
NAMED = 12
"""Groups that a reason names; a verdict is read by people."""


class LossGate(Gate):
    """A gate about what the candidate loses against the champion in parts of the rows; bounds hold for all at once."""

    metric: str = "accuracy"
    """Name of a metric of the task."""
    max_loss: Annotated[float, Field(ge=0)] = 0.05
    """Largest loss against the champion, in the metric's unit."""
    margin: Annotated[float, Field(gt=0)] | None = None
    """Loss beyond ``max_loss`` that the rows must be able to show; a part of too few rows for it is undecided. Null: as
    much again as ``max_loss``, and at least 0.05."""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """A smaller part fails where it surely loses, and does not leave the gate undecided where little can be told."""
    min_groups: Annotated[int, Field(ge=1)] = 30
    """The same in groups of rows, where rows have groups."""

    @property
    def bound(self) -> float:
        """Largest loss, as a gain."""
        return -self.max_loss

    @abstractmethod
    def parts(self, evidence: Evidence) -> dict[str, np.ndarray]:
        """Parts of the rows that are judged, each a mask ``[rows]``."""

    def elsewhere(self, evidence: Evidence) -> dict[str, Estimate]:
        """Gains that were measured on other rows, higher being better."""
        return {}

    def judge(self, evidence: Evidence) -> Rule:
        """Whether no part of the rows loses more than ``max_loss`` against the champion.

        With ``beyond = max_loss + margin``, and each statement but the first with 95 % confidence, one-sided:

        - a part *fails* where it surely loses, at an error rate that holds for all parts and gates about losses
          together, and either surely loses more than ``max_loss``, or a loss of ``beyond`` is not excluded;
        - it *passes* where it does not fail and a loss of ``beyond`` is excluded or would have been seen in four of
          five;
        - it is *undecided* otherwise, for want of rows.

        The gate fails where one part fails, is undecided where one of at least ``min_rows`` rows and ``min_groups``
        groups is undecided or where all are, and passes otherwise. Smaller parts that are undecided are named. Of fewer
        than 30 rows or 10 groups nothing can be told: they are left out.

        Args:
            evidence: candidate and champion on the same rows.
        """
        if evidence.champion is None:
            return self.rule(True, "there is no champion to lose against yet", bound=None)
        gains, skipped = self._gains(evidence)
        if not gains:
            because = (
                f"{evidence.title(self.metric)} is defined on no part of {LEAST_ROWS} rows and {LEAST_GROUPS} groups"
            )
            return self.undecided(because + _disclosed({}, skipped))
        alpha = share(evidence, len(gains))
        held = bounds(gains, alpha, evidence.seed, least={name: self._least(gain) for name, gain in gains.items()})
        failed = {name: one for name, one in held.items() if one.value < -one.limit}
        short = {name: one for name, one in held.items() if name not in failed and not self._told(one)}
        large = {name for name, one in short.items() if self._large(one.effect)}
        untold = short if len(short) == len(held) else {name: short[name] for name in large}
        chosen = failed or untold or {name: one for name, one in held.items() if name not in short}
        name, worst = min(chosen.items(), key=lambda item: item[1].value)
        found = (held, failed, untold)
        reason = self._reason(evidence.title(self.metric), found, (name, worst))
        small = {n: f"{one.effect.size}, {self._needs(one)}" for n, one in short.items() if n not in untold}
        passed = False if failed else None if untold else True
        ends: dict[str, Any] = {"measured": worst.value, "low": worst.low, "high": worst.high}
        reason += _disclosed(held, skipped, small)
        return self.rule(
            passed, reason, worst.effect.rows, worst.effect.groups, **ends, level=1 - 2 * alpha, alpha=alpha
        )

    def comparisons(self, evidence: Evidence) -> int:
        """Number of parts that will be judged."""
        return 0 if evidence.champion is None else len(self._gains(evidence)[0])

    def beyond(self) -> float:
        """Loss that must not go unseen."""
        return self.max_loss + (max(self.max_loss, MARGIN) if self.margin is None else self.margin)

    def _least(self, gain: Effect) -> float:
        """Measured loss from which on a part surely loses more than ``max_loss``, or ``beyond`` is not excluded."""
        either = quantile(0.95, gain.freedom) * gain.error
        return max(self.max_loss, min(self.max_loss + either, self.beyond() - either))

    def _told(self, gain: Bounds) -> bool:
        excluded = gain.value - quantile(0.95, gain.effect.freedom) * gain.effect.error > -self.beyond()
        return excluded or gain.detectable <= self.beyond()

    def _large(self, gain: Effect) -> bool:
        return gain.rows >= self.min_rows and gain.groups >= self.min_groups

    def _needs(self, gain: Bounds) -> str:
        return f"about {gain.needed(self.beyond()):,} are needed"

    def _reason(
        self,
        metric: str,
        found: tuple[Mapping[str, Bounds], Mapping[str, Bounds], Mapping[str, Bounds]],
        worst: tuple[str, Bounds],
    ) -> str:
        """What was found, with the parts that were judged, those that failed and those that could not be told."""
        (held, failed, untold), (name, gain) = found, worst
        if failed:
            also = "".join(f", and so does {other}" for other in sorted(set(failed) - {name}))
            return f"{name} loses more than {self.max_loss:g} in {metric}: {gain}{also}"
        if untold:
            several = ", ".join(f"{part} ({one.effect.size}, {self._needs(one)})" for part, one in untold.items())
            return (
                f"undecided: too few rows to see a loss of {self.beyond():g} in {metric} in {several}; {name}: {gain}"
            )
        return f"none of {len(held)} parts loses more than {self.max_loss:g} in {metric}; the worst is {name}: {gain}"

    def _gains(self, evidence: Evidence) -> tuple[dict[str, Effect], dict[str, str]]:
        """The gain of each part that can be judged, and why the others cannot."""
        assert evidence.champion is not None
        answerable = evidence.on(sorted(set(evidence.dataset)), self.metric)
        numbers = clusters(evidence.group, len(evidence.dataset))
        both = [side[evidence.served] for side in (evidence.champion, evidence.candidate)]
        both = both if evidence.sign(self.metric) > 0 else both[::-1]  # turned so that higher is better
        gains, skipped = {}, {}
        for name, inside in self.parts(evidence).items():
            rows = inside & answerable
            count, groups = int(rows.sum()), evidence.groups(rows)
            if count < LEAST_ROWS or groups < LEAST_GROUPS:
                skipped[name] = size(count, groups)
            else:
                gains[name] = effect(evidence.metrics, self.metric, both, rows, numbers)
        clusters_in_all = len(numbers) and int(numbers.max()) + 1
        for name, one in self.elsewhere(evidence).items():
            if one.rows < LEAST_ROWS:
                skipped[name] = size(one.rows, one.groups)
            else:
                gains[name] = _elsewhere(one, int(clusters_in_all))
        skipped |= {name: "not defined" for name, gain in gains.items() if not gain.defined}
        return {name: gain for name, gain in gains.items() if gain.defined}, skipped


def _elsewhere(gain: Estimate, clusters: int) -> Effect:
    """A gain on other rows with its 95 % interval, independent of the gains on the evaluated ones."""
    import numpy as np

    error = (gain.high - gain.low) / 2 / 1.96 if gain.defined else math.nan
    groups = gain.rows if gain.groups is None else gain.groups
    return Effect(gain.value, np.zeros(clusters), error, groups - 1.0, gain.rows, groups)


def _disclosed(judged: Collection[str], skipped: Mapping[str, str], small: Mapping[str, str] | None = None) -> str:
    """Which parts were judged, in which only a sure loss would have been seen, and which were left out and why."""
    text = f". Judged: {listed(judged)}" if judged else ""
    for label, parts in (("Only a larger loss would have been seen in", small), ("Left out", skipped)):
        text += f". {label}: {listed([f'{name} ({why})' for name, why in parts.items()])}" if parts else ""
    return text


def listed(groups: Collection[str]) -> str:
    """Names of groups in a sentence, the first dozen of them."""
    more = f" and {len(groups) - NAMED} more" if len(groups) > NAMED else ""
    return ", ".join(sorted(groups)[:NAMED]) + more
