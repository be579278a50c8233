"""A model that says 80 % must get about 80 % right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore.evaluation.gates._undecided import share, too_few, undecided
from ftcore.recipe.kinds import Config as Base
from ftcore.registry.verdict import Rule
from ftcore.statistics import calibration

if TYPE_CHECKING:
    import numpy as np

    from ftcore.registry.verdict import Evidence

TEST = "test"
EXAMPLE = {"kind": "calibration", "max_ece": 0.1}


class Config(Base):
    """The expected calibration error of the served model on the test rows, by an interval that allows for its bias.

    Its error rate is shared with ``slice``, ``forgetting`` and ``fairness``.
    """

    kind: Literal["calibration"] = "calibration"
    max_ece: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Largest mean gap between confidence and accuracy, 0 to 1. By chance alone about 0.05 is measured on 500 rows."""
    margin: Annotated[float, Field(gt=0)] = 0.05
    """Excess over ``max_ece`` that the rows must exclude; where they do not, the gate is undecided."""
    adaptive: bool = False
    """Bins of equally many rows instead of equal width."""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """With fewer rows the gate is undecided."""
    min_groups: Annotated[int, Field(ge=1)] = 30
    """With fewer groups of rows the gate is undecided, where rows have groups."""


def comparisons(config: Config, evidence: Evidence) -> int:
    """One comparison of many: how often the gates refuse a candidate without a fault holds for all of them together."""
    return int(_tallies(config, evidence) is not None)


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether confidence matches accuracy: fails where the error is surely larger than ``max_ece``."""
    tallies = _tallies(config, evidence)
    if tallies is None:
        return undecided(config.kind, "this task's answers come without probabilities", config.max_ece)
    alpha, rows = share(evidence), evidence.on([TEST])
    ece = calibration.estimate(tallies, evidence.seed, evidence.of(rows), alpha)
    few = too_few(config, evidence, rows, "judge calibration")
    if few or not ece.defined:
        because = few or f"the calibration error is not defined on {ece.size}"
        because += f"; calibration error {ece}, {config.max_ece:g} is allowed" if ece.defined else ""
        return undecided(config.kind, because, config.max_ece, ece.rows, ece.groups, ece)
    passed = False if ece.low > config.max_ece else True if ece.high < config.max_ece + config.margin else None
    word = "undecided: " if passed is None else ""
    more = f"; too few rows to exclude {config.max_ece + config.margin:g}" if passed is None else ""
    return Rule(
        gate=config.kind,
        passed=passed,
        reason=f"{word}calibration error {ece} of the test split, {config.max_ece:g} is allowed{more}",
        measured=ece.value,
        bound=config.max_ece,
        low=ece.low,
        high=ece.high,
        level=ece.level,
        rows=ece.rows,
        groups=ece.groups,
        alpha=alpha,
    )


def _tallies(config: Config, evidence: Evidence) -> np.ndarray | None:
    """The served model's tallies of calibration on the test rows; None where answers have no probability."""
    right = evidence.right
    if evidence.confidence is None or right is None:
        return None
    rows = evidence.on([TEST])
    sure = evidence.confidence[rows]
    return calibration.tallies(sure, right[rows], calibration.edges(sure, adaptive=config.adaptive))
