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
    """The expected calibration error of the served model on the test rows."""

    kind: Literal["calibration"] = "calibration"
    max_ece: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Largest mean gap between confidence and accuracy, 0 to 1. By chance alone it is about 0.05 on 500 rows."""
    adaptive: bool = False
    """Bins of equally many rows instead of equal width."""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """With fewer rows the gate is undecided: the error is too high by chance."""


def judge(config: Config, evidence: Evidence) -> Rule:
    """Whether confidence can be taken at its word."""
    name = "ece_adaptive" if config.adaptive else "ece"
    measured = evidence.figures.get("calibration", {}).get("candidate", {}).get(evidence.served, {}).get(name)
    if measured is None:
        return undecided(config.kind, "this task's answers come without probabilities", config.max_ece)
    ece = Estimate.model_validate(measured)
    if ece.rows < config.min_rows or not ece.defined:
        because = f"{ece.rows} rows are too few to judge calibration, it takes {config.min_rows}"
        return undecided(config.kind, because, config.max_ece, ece.rows)
    passed = ece.value <= config.max_ece
    return Rule(
        gate=config.kind,
        passed=passed,
        reason=f"calibration error {ece} test rows, {config.max_ece:g} is allowed",
        measured=ece.value,
        bound=config.max_ece,
        low=ece.low,
        high=ece.high,
        rows=ece.rows,
    )
