"""A model that says 80 % must get about 80 % right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ftcore._find import Config as Base
from ftcore.gates._undecided import undecided
from ftcore.statistics import Estimate
from ftcore.verdict import Rule

if TYPE_CHECKING:
    from ftcore.verdict import Evidence

EXAMPLE = {"kind": "calibration", "max_ece": 0.1}


class Config(Base):
    """The expected calibration error of the served model on the test rows, by an interval that allows for its bias."""

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


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether confidence matches accuracy: fails where the error is surely larger than ``max_ece``."""
    name = "ece_adaptive" if config.adaptive else "ece"
    measured = evidence.figures.get("calibration", {}).get("candidate", {}).get(evidence.served, {}).get(name)
    if measured is None:
        return undecided(config.kind, "this task's answers come without probabilities", config.max_ece)
    ece = Estimate.model_validate(measured)
    groups = ece.rows if ece.groups is None else ece.groups
    if ece.rows < config.min_rows or groups < min(config.min_groups, ece.rows) or not ece.defined:
        because = f"{ece.size} are too few to judge calibration, at least {config.min_rows} rows are needed (min_rows)"
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
        rows=ece.rows,
        groups=ece.groups,
    )
