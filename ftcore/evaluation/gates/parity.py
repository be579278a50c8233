"""Every export must do what the trained model does."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.evaluation.gates._base import Gate
from ftcore.registry.verdict import TORCH
from ftcore.statistics.intervals import quantile
from ftcore.statistics.resampling import by_group

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from ftcore.registry.verdict import Evidence, Rule

CONFIDENCE = 0.95
"""Of each bound of the share of rows that disagree."""


class Parity(Gate):
    """No export's metric may differ from torch's by more than ``max_difference``, and few rows may get another answer.

    What an export computes for a row may not depend on what else is in its batch.
    """

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "parity", "max_difference": 0.01}

    kind: Literal["parity"] = "parity"
    metric: str = "accuracy"
    """Name of a metric of the task."""
    max_difference: Annotated[float, Field(ge=0)] = 0.01
    """Largest difference of the metric, either way, in its unit."""
    max_disagreement: Annotated[float, Field(gt=0, le=1)] = 0.03
    """Largest share of rows to which an export gives another answer than torch, 0 to 1. The one-sided 95 % bounds of
    the share decide: an upper bound above it with a lower bound below it is undecided. For tasks whose outputs are
    numbers only ``max_difference`` counts."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """With fewer rows the gate is undecided."""

    @property
    def bound(self) -> float:
        """Largest difference of the metric."""
        return self.max_difference

    def judged(self, datasets: Sequence[str]) -> list[tuple[str, ...]]:
        """All rows together."""
        return [tuple(datasets)]

    def judge(self, evidence: Evidence) -> Rule:
        """Whether all exports agree with the trained model; the worst one is reported."""
        mine = evidence.on(list(set(evidence.dataset)), self.metric)
        rows = int(mine.sum())
        if rows < self.min_rows:
            because = f"{rows} rows are too few to compare the exports, at least {self.min_rows} are needed"
            return self.undecided(because, rows)
        exports = {name: tallies[mine] for name, tallies in evidence.candidate.items()}
        torch = exports.pop(TORCH)
        differences = {
            name: evidence.value(self.metric, tallies) - evidence.value(self.metric, torch)
            for name, tallies in exports.items()
        }
        if undefined := [name for name, difference in differences.items() if not isfinite(difference)]:
            because = (
                f"{evidence.title(self.metric)} of torch or {', '.join(undefined)} is not defined on {rows:,} rows"
            )
            return self.undecided(because, rows)
        counted = bool((torch % 1 == 0).all())  # of sums of scores no two are ever the same
        worst = max(differences, key=lambda name: abs(differences[name]))
        agree = f"and agrees on {float((exports[worst] == torch).all(-1).mean()):.1%} of" if counted else "on"
        reason = (
            f"{worst} differs from torch by {differences[worst]:+.4f} in {evidence.title(self.metric)} "
            f"{agree} {rows:,} rows; {self.max_difference:g} is allowed"
        )
        # Rounded, because 1.00 - 0.99 is more than 0.01.
        passed = round(abs(differences[worst]), 9) <= self.max_difference
        rule = self.rule(passed, reason, rows, evidence.groups(mine), measured=abs(differences[worst]))
        if faults := _by_row(evidence.figures.get("agreement", {})):
            return rule.model_copy(update={"passed": False, "reason": "; ".join([*faults, reason])})
        if not rule.passed or not counted:
            return rule
        return self._by_share(rule, _disagreement(exports, torch, evidence.of(mine)))

    def _by_share(self, rule: Rule, found: tuple[str, float, float, float]) -> Rule:
        """A rule that passed by its metric, judged by the share of rows that get another answer, too."""
        name, share, low, high = found
        bounds = (
            f"{name} gives {share:.1%} of the rows another answer (one-sided 95 % bounds {low:.1%} and {high:.1%}); "
            f"{self.max_disagreement:g} is allowed"
        )
        if high <= self.max_disagreement:
            return rule.model_copy(update={"reason": f"{rule.reason}; {bounds}"})
        if low > self.max_disagreement:
            passed, reason = False, f"{bounds}; {rule.reason}"
        else:
            passed, reason = None, f"undecided: {bounds}; add test rows, or raise max_disagreement"
        ends = {
            "measured": share,
            "bound": self.max_disagreement,
            "low": low,
            "high": high,
            "level": 2 * CONFIDENCE - 1,
        }
        return rule.model_copy(update={**ends, "passed": passed, "reason": reason})


def _by_row(agreement: Mapping[str, Any]) -> list[str]:
    """Exports in float32 with other outputs than torch, and exports whose outputs depend on the batch, in words."""
    faults = []
    for name, found in agreement.items():
        if found["exact"] and found["off"]:
            faults.append(
                f"{name} computes in torch's precision, and differs from it on {found['off']:,} of {found['rows']:,} "
                f"rows, by up to {found['max_difference']:.4g}"
            )
        if (alone := found["alone"])["off"]:
            faults.append(
                f"{name} gives {alone['off']:,} of {alone['rows']:,} rows other outputs alone than in a batch, by up "
                f"to {alone['max_difference']:.4g}"
            )
    return faults


def _disagreement(
    exports: Mapping[str, np.ndarray], torch: np.ndarray, group: np.ndarray | None
) -> tuple[str, float, float, float]:
    """The export with the most rows that get another answer than torch's: its name, their share, and its bounds.

    Rows of one group are not independent: the bounds are those of the effective number of rows.

    Sources: C. Clopper and E. Pearson (1934), *The use of confidence or fiducial limits*; E. Korn and B. Graubard
    (1998), *Confidence intervals for proportions with small expected number of positive counts estimated from survey
    data*.
    """
    from scipy.special import betaincinv

    others = {name: (tallies != torch).any(-1) for name, tallies in exports.items()}
    worst = max(others, key=lambda name: int(others[name].sum()))
    apart = others[worst]
    share, rows = float(apart.mean()), _effective(apart, group)
    hits, alpha = share * rows, 1 - CONFIDENCE
    low = float(betaincinv(hits, rows - hits + 1, alpha)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, rows - hits, 1 - alpha)) if hits < rows else 1.0
    return worst, share, low, high


def _effective(apart: np.ndarray, group: np.ndarray | None) -> float:
    """Independent rows that would tell as much of a share as these rows in their groups; at most as many as there are.

    Args:
        apart: what the share is of, ``[rows]``.
        group: of each row, ``[rows]``; None where each row is a group of its own.
    """
    import numpy as np

    share, rows = float(apart.mean()), len(apart)
    hits, sizes = by_group(apart[:, None].astype(float), group)
    groups = len(sizes)
    if groups in (1, rows) or not 0 < share < 1:
        return float(rows if groups > 1 else 1)
    around = hits[:, 0] - share * sizes
    variance = groups / (groups - 1) * float(around @ around) / rows**2
    unsure = quantile(CONFIDENCE, np.inf) / quantile(CONFIDENCE, groups - 1)  # so few groups tell their spread badly
    return min(share * (1 - share) / variance * unsure**2, float(rows)) if variance > 0 else float(rows)
