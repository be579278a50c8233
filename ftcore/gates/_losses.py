"""Where the candidate is worse than the champion: the rule behind `slice` and `forgetting`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Protocol

from ftcore.gates._undecided import undecided
from ftcore.statistics import Estimate, difference
from ftcore.verdict import Rule

if TYPE_CHECKING:
    import numpy as np

    from ftcore.verdict import Evidence


LEAST_ROWS = 30
"""One row that was lost is a loss of everything, with certainty, to a bootstrap of it."""
NAMED = 12
"""Groups that a reason names; a verdict is read by people."""


class Limits(Protocol):
    """What both gates are told."""

    @property
    def kind(self) -> str:
        """Of the gate."""
        ...

    @property
    def metric(self) -> str:
        """Which metric may fall."""
        ...

    @property
    def max_loss(self) -> float:
        """How far."""
        ...

    @property
    def min_rows(self) -> int:
        """With fewer, only a sure loss counts."""
        ...


def judge(
    limits: Limits, evidence: Evidence, groups: Mapping[str, np.ndarray], more: Mapping[str, Estimate] | None = None
) -> Rule:
    """Whether no group of rows loses more than ``max_loss`` against the champion.

    A group of at least ``min_rows`` rows is judged by its measured loss, a smaller one by the interval: it fails only
    where it has surely lost more. Of fewer than 30 rows a bootstrap knows nothing: they are left out. The reason names
    the groups that were judged, and those that were not.

    Args:
        limits: of the gate.
        evidence: candidate and champion on the same rows.
        groups: of rows, each a mask ``[rows]``.
        more: gains that were measured on other rows, higher being better.
    """
    if evidence.champion is None:
        return Rule(gate=limits.kind, passed=True, reason="there is no champion to lose against yet")
    known, skipped = _gains(limits.metric, evidence, groups, more or {})
    if not known:
        because = f"{limits.metric} is known on no group of {LEAST_ROWS} rows{_disclosed(known, skipped)}"
        return undecided(limits.kind, because, -limits.max_loss)
    lost = {name: gain for name, gain in known.items() if _lost(limits, gain)}
    large = {name: gain for name, gain in known.items() if gain.rows >= limits.min_rows}
    name, worst = min((lost or large or known).items(), key=lambda item: item[1].value)
    amount = f"{worst.value:+.3f} [{worst.low:+.3f}, {worst.high:+.3f}] on {worst.rows:,} rows"
    if lost:
        also = "".join(f", and so does {other}" for other in sorted(set(lost) - {name}))
        reason = f"{name} loses more than {limits.max_loss:g} in {limits.metric}: {amount}{also}"
    else:
        reason = (
            f"none of {len(known)} groups loses more than {limits.max_loss:g} in {limits.metric}; "
            f"the worst is {name}: {amount}"
        )
    return Rule(
        gate=limits.kind,
        passed=not lost,
        reason=reason + _disclosed(known, skipped),
        measured=worst.value,
        bound=-limits.max_loss,
        low=worst.low,
        high=worst.high,
        rows=worst.rows,
    )


def _gains(
    metric: str, evidence: Evidence, groups: Mapping[str, np.ndarray], more: Mapping[str, Estimate]
) -> tuple[dict[str, Estimate], dict[str, str]]:
    """The gain of each group that can be judged, and why the others cannot."""
    answerable = evidence.on(sorted(set(evidence.dataset)), metric)
    groups = {name: inside & answerable for name, inside in groups.items()}
    measured = {name: _gain(metric, evidence, rows) for name, rows in groups.items() if rows.sum() >= LEAST_ROWS}
    gains = {**measured, **{name: gain for name, gain in more.items() if gain.rows >= LEAST_ROWS}}
    known = {name: gain for name, gain in gains.items() if gain.defined}
    rows = {name: int(inside.sum()) for name, inside in groups.items()} | {n: gain.rows for n, gain in more.items()}
    why = {name: "not defined" if name in gains else f"{count} rows" for name, count in rows.items()}
    return known, {name: because for name, because in why.items() if name not in known}


def _disclosed(judged: Collection[str], skipped: Mapping[str, str]) -> str:
    """Which groups were judged, and which were not and why."""
    said = f". Judged: {named(judged)}" if judged else ""
    return said + (f". Left out: {named([f'{name} ({why})' for name, why in skipped.items()])}" if skipped else "")


def named(groups: Collection[str]) -> str:
    """Names of groups in a sentence, the first dozen of them."""
    more = f" and {len(groups) - NAMED} more" if len(groups) > NAMED else ""
    return ", ".join(sorted(groups)[:NAMED]) + more


def _gain(metric: str, evidence: Evidence, rows: np.ndarray) -> Estimate:
    """How much better the candidate is on some rows, turned so that higher is better."""
    assert evidence.champion is not None
    both = [evidence.champion[evidence.served][rows], evidence.candidate[evidence.served][rows]]
    low, high = both if evidence.sign(metric) > 0 else both[::-1]
    return difference(evidence.metrics, metric, low, high, evidence.resamples, evidence.seed)


def _lost(limits: Limits, gain: Estimate) -> bool:
    return (gain.value if gain.rows >= limits.min_rows else gain.high) < -limits.max_loss
