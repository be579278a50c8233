"""The model must serve groups of people or texts alike."""

from __future__ import annotations

import math
from itertools import permutations
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.evaluation.gates._losses import MARGIN, named
from ftcore.evaluation.gates._undecided import LEAST_GROUPS, LEAST_ROWS, share, undecided
from ftcore.recipe.kinds import Config as Base
from ftcore.registry.verdict import Rule
from ftcore.statistics.intervals import size
from ftcore.statistics.simultaneous import Bounds, Effect, bounds, clusters, effect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftcore.registry.verdict import Evidence

ON_FEWER = "on fewer no slice is large enough, and only a large difference is seen"
EXAMPLE = {"kind": "fairness", "by": "source", "metric": "accuracy", "max_difference": 0.15}


class Config(Base):
    """The difference of a metric between any two groups of rows; bounds hold for all pairs at once (max-T)."""

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


def judged(config: Config, datasets: Sequence[str]) -> list[tuple[str, ...]]:
    """Slices are of all rows."""
    return [tuple(datasets)]


def comparisons(config: Config, evidence: Evidence) -> int:
    """All pairs of groups are one comparison: their bounds hold at once."""
    return 1


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether no two groups surely differ by more than is allowed; groups of fewer than 30 rows are left out.

    A pair fails where its difference is surely beyond the bound, passes where a difference of ``margin`` beyond it is
    excluded or would have been seen in four of five, and is undecided otherwise.
    """
    effects, skipped = _effects(config, evidence)
    left_out = f". Left out: {named([f'{name} ({why})' for name, why in skipped.items()])}" if skipped else ""
    if len(effects) < 2:
        because = f"there are no two groups of {LEAST_ROWS} rows by {config.by}{left_out}"
        return undecided(config.kind, because, config.max_difference)
    alpha = share(evidence)  # all pairs are one comparison of many
    held = bounds(_contrasts(config, effects), alpha, evidence.seed)
    failed = {pair: one for pair, one in held.items() if one.low > 0}
    short = {pair: one for pair, one in held.items() if pair not in failed and not _told(config, one)}
    large = {pair: one for pair, one in short.items() if all(_large(config, effects[name]) for name in pair[:2])}
    pairs = len({frozenset(pair[:2]) for pair in short})
    untold = short if pairs == math.comb(len(effects), 2) else large
    pair, worst = max((failed or untold or held).items(), key=lambda item: item[1].value)
    count, groups = _union(config, evidence, pair[:2])
    found = f"{evidence.title(config.metric)} is {_found(config, effects, (pair, worst), size(count, groups))}"
    reason = f"{found}. Judged: {named(effects)}{left_out}"
    if untold and not failed:
        needed = max(one.needed(_margin(config)) for one in untold.values())
        more = f"{_margin(config):g} more than is allowed, about {needed:,} in both groups are needed"
        reason = f"undecided: too few rows to see {more}; {reason}"
    elif short:
        names = sorted({name for pair in short for name in pair[:2] if not _large(config, effects[name])})
        reason += f". Too few rows to decide: {named([f'{name} ({effects[name].size})' for name in names])}"
    bound = config.max_difference if pair[2] == "difference" else 0.0
    return Rule(
        gate=config.kind,
        passed=False if failed else None if untold else True,
        reason=reason,
        measured=worst.value + bound,
        bound=bound,
        low=worst.low + bound,
        high=worst.high + bound,
        level=1 - 2 * alpha,
        rows=count,
        groups=groups,
        alpha=alpha,
    )


def _union(config: Config, evidence: Evidence, names: tuple[str, ...]) -> tuple[int, int]:
    """Rows and groups of a pair together; a group with rows on both sides is one."""
    rows = sum(evidence.slices[f"{config.by}={name}"] for name in names) > 0
    rows &= evidence.on(sorted(set(evidence.dataset)), config.metric)
    return int(rows.sum()), evidence.groups(rows)


def _effects(config: Config, evidence: Evidence) -> tuple[dict[str, Effect], dict[str, str]]:
    """The metric of each group that can be judged, and why the others cannot."""
    answerable = evidence.on(sorted(set(evidence.dataset)), config.metric)
    numbers = clusters(evidence.group, len(evidence.dataset))
    effects, skipped = {}, {}
    for slice_name, inside in evidence.slices.items():
        column, _, name = slice_name.partition("=")
        if column != config.by:
            continue
        rows = inside & answerable
        count, groups = int(rows.sum()), evidence.groups(rows)
        if count < LEAST_ROWS or groups < LEAST_GROUPS:
            skipped[name] = size(count, groups)
            continue
        one = effect(evidence.metrics, config.metric, [evidence.candidate[evidence.served]], rows, numbers)
        if one.defined:
            effects[name] = one
        else:
            skipped[name] = f"{evidence.title(config.metric)} is not defined"
    return effects, skipped


def _contrasts(config: Config, effects: dict[str, Effect]) -> dict[tuple[str, str, str], Effect]:
    """By how much each ordered pair of groups exceeds each bound: a positive value is too much."""
    found = {}
    for high, low in permutations(effects, 2):
        found[high, low, "difference"] = _above(effects[high].minus(effects[low]), config.max_difference)
        if config.min_ratio:
            found[high, low, "ratio"] = _turned(effects[low].minus(effects[high], config.min_ratio))
    return found


def _above(one: Effect, bound: float) -> Effect:
    return Effect(one.value - bound, one.contributions, one.extra, one.freedom, one.rows, one.groups)


def _turned(one: Effect) -> Effect:
    return Effect(-one.value, -one.contributions, one.extra, one.freedom, one.rows, one.groups)


def _margin(config: Config) -> float:
    return max(config.max_difference, MARGIN) if config.margin is None else config.margin


def _told(config: Config, excess: Bounds) -> bool:
    return excess.high < _margin(config) or excess.detectable <= _margin(config)


def _large(config: Config, group: Effect) -> bool:
    return group.rows >= config.min_rows and group.groups >= config.min_groups


def _found(config: Config, effects: dict[str, Effect], worst: tuple[tuple[str, str, str], Bounds], of: str) -> str:
    """The pair that differs most, with the interval of its difference."""
    (high, low, _), excess = worst
    apart = effects[high].minus(effects[low])
    error = excess.half
    ratio = effects[low].value / effects[high].value if effects[high].value else 1.0
    return (
        f"{effects[low].value:.3f} for {low} and {effects[high].value:.3f} for {high}: "
        f"{apart.value:.3f} [{apart.value - error:.3f}, {apart.value + error:.3f}] apart on {of}, "
        f"{config.max_difference:g} is allowed, in a ratio of {ratio:.2f}"
    ) + (f", {config.min_ratio:g} is required" if config.min_ratio else "")
