"""The model must serve groups of people or texts alike."""

from __future__ import annotations

import math
from itertools import permutations
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.evaluation.gates._base import LEAST_GROUPS, LEAST_ROWS, Gate, share
from ftcore.evaluation.gates._losses import MARGIN, listed
from ftcore.statistics.intervals import size
from ftcore.statistics.simultaneous import Bounds, Effect, bounds, clusters, effect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftcore.registry.verdict import Evidence, Rule


class Fairness(Gate):
    """The difference of a metric between any two groups of rows; bounds hold for all pairs at once (max-T)."""

    ON_FEWER: ClassVar[str] = "on fewer no slice is large enough, and only a large difference is seen"
    EXAMPLE: ClassVar[dict[str, Any]] = {
        "kind": "fairness",
        "by": "source",
        "metric": "accuracy",
        "max_difference": 0.15,
    }

    kind: Literal["fairness"] = "fairness"
    by: Literal["source", "language", "length"] = "source"
    """What tells the groups apart; it must be one of the recipe's ``evaluate.slices``."""
    metric: str = "accuracy"
    """Name of a metric of the task."""
    max_difference: Annotated[float, Field(ge=0)] = 0.1
    """Largest difference between the best and the worst group, in the metric's unit."""
    min_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Smallest ratio of the lowest to the highest; 0.8 is the four-fifths rule."""
    margin: Annotated[float, Field(gt=0)] | None = None
    """Excess over the bound that the rows must be able to show; with too few rows for it the gate is undecided. Null:
    as much again as ``max_difference``, and at least 0.05."""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """A pair with a smaller group fails where it surely differs too much, and does not leave the gate undecided."""
    min_groups: Annotated[int, Field(ge=1)] = 30
    """The same in groups of rows that are not independent, such as customers, where rows have them."""

    @property
    def bound(self) -> float:
        """Largest difference."""
        return self.max_difference

    def judged(self, datasets: Sequence[str]) -> list[tuple[str, ...]]:
        """Slices are of all rows."""
        return [tuple(datasets)]

    def comparisons(self, evidence: Evidence) -> int:
        """All pairs of groups are one comparison: their bounds hold at once."""
        return 1

    def judge(self, evidence: Evidence) -> Rule:
        """Whether no two groups surely differ by more than is allowed; groups of fewer than 30 rows are left out.

        A pair fails where its difference is surely beyond the bound, passes where a difference of ``margin`` beyond it
        is excluded or would have been seen in four of five, and is undecided otherwise.
        """
        effects, skipped = self._effects(evidence)
        left_out = f". Left out: {listed([f'{name} ({why})' for name, why in skipped.items()])}" if skipped else ""
        if len(effects) < 2:
            because = f"there are no two groups of {LEAST_ROWS} rows by {self.by}{left_out}"
            return self.undecided(because)
        alpha = share(evidence)  # all pairs are one comparison of many
        held = bounds(self._contrasts(effects), alpha, evidence.seed)
        failed = {pair: one for pair, one in held.items() if one.low > 0}
        short = {pair: one for pair, one in held.items() if pair not in failed and not self._told(one)}
        large = {pair: one for pair, one in short.items() if all(self._large(effects[name]) for name in pair[:2])}
        pairs = len({frozenset(pair[:2]) for pair in short})
        untold = short if pairs == math.comb(len(effects), 2) else large
        pair, worst = max((failed or untold or held).items(), key=lambda item: item[1].value)
        count, groups = self._union(evidence, pair[:2])
        found = f"{evidence.title(self.metric)} is {self._found(effects, (pair, worst), size(count, groups))}"
        reason = f"{found}. Judged: {listed(effects)}{left_out}"
        if untold and not failed:
            needed = max(one.needed(self._margin()) for one in untold.values())
            more = f"{self._margin():g} more than is allowed, about {needed:,} in both groups are needed"
            reason = f"undecided: too few rows to see {more}; {reason}"
        elif short:
            names = sorted({name for pair in short for name in pair[:2] if not self._large(effects[name])})
            reason += f". Too few rows to decide: {listed([f'{name} ({effects[name].size})' for name in names])}"
        bound = self.max_difference if pair[2] == "difference" else 0.0
        passed = False if failed else None if untold else True
        ends: dict[str, Any] = {"measured": worst.value + bound, "low": worst.low + bound, "high": worst.high + bound}
        return self.rule(passed, reason, count, groups, **ends, bound=bound, level=1 - 2 * alpha, alpha=alpha)

    def _union(self, evidence: Evidence, names: tuple[str, ...]) -> tuple[int, int]:
        """Rows and groups of a pair together; a group with rows on both sides is one."""
        rows = sum(evidence.slices[f"{self.by}={name}"] for name in names) > 0
        rows &= evidence.on(sorted(set(evidence.dataset)), self.metric)
        return int(rows.sum()), evidence.groups(rows)

    def _effects(self, evidence: Evidence) -> tuple[dict[str, Effect], dict[str, str]]:
        """The metric of each group that can be judged, and why the others cannot."""
        answerable = evidence.on(sorted(set(evidence.dataset)), self.metric)
        numbers = clusters(evidence.group, len(evidence.dataset))
        effects, skipped = {}, {}
        for slice_name, inside in evidence.slices.items():
            column, _, name = slice_name.partition("=")
            if column != self.by:
                continue
            rows = inside & answerable
            count, groups = int(rows.sum()), evidence.groups(rows)
            if count < LEAST_ROWS or groups < LEAST_GROUPS:
                skipped[name] = size(count, groups)
                continue
            one = effect(evidence.metrics, self.metric, [evidence.candidate[evidence.served]], rows, numbers)
            if one.defined:
                effects[name] = one
            else:
                skipped[name] = f"{evidence.title(self.metric)} is not defined"
        return effects, skipped

    def _contrasts(self, effects: dict[str, Effect]) -> dict[tuple[str, str, str], Effect]:
        """By how much each ordered pair of groups exceeds each bound: a positive value is too much."""
        found = {}
        for high, low in permutations(effects, 2):
            found[high, low, "difference"] = _above(effects[high].minus(effects[low]), self.max_difference)
            if self.min_ratio:
                found[high, low, "ratio"] = _turned(effects[low].minus(effects[high], self.min_ratio))
        return found

    def _margin(self) -> float:
        return max(self.max_difference, MARGIN) if self.margin is None else self.margin

    def _told(self, excess: Bounds) -> bool:
        return excess.high < self._margin() or excess.detectable <= self._margin()

    def _large(self, group: Effect) -> bool:
        return group.rows >= self.min_rows and group.groups >= self.min_groups

    def _found(self, effects: dict[str, Effect], worst: tuple[tuple[str, str, str], Bounds], of: str) -> str:
        """The pair that differs most, with the interval of its difference."""
        (high, low, _), excess = worst
        apart = effects[high].minus(effects[low])
        error = excess.half
        ratio = effects[low].value / effects[high].value if effects[high].value else 1.0
        return (
            f"{effects[low].value:.3f} for {low} and {effects[high].value:.3f} for {high}: "
            f"{apart.value:.3f} [{apart.value - error:.3f}, {apart.value + error:.3f}] apart on {of}, "
            f"{self.max_difference:g} is allowed, in a ratio of {ratio:.2f}"
        ) + (f", {self.min_ratio:g} is required" if self.min_ratio else "")


def _above(one: Effect, bound: float) -> Effect:
    return Effect(one.value - bound, one.contributions, one.extra, one.freedom, one.rows, one.groups)


def _turned(one: Effect) -> Effect:
    return Effect(-one.value, -one.contributions, one.extra, one.freedom, one.rows, one.groups)
