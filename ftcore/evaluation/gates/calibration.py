"""A model that says 80 % must get about 80 % right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.evaluation.gates._base import Gate, share
from ftcore.statistics import calibration

if TYPE_CHECKING:
    import numpy as np

    from ftcore.registry.verdict import Evidence, Rule

TEST = "test"


class Calibration(Gate):
    """The expected calibration error of the served model on the test rows, by an interval that allows for its bias.

    Its error rate is shared with ``slice``, ``forgetting`` and ``fairness``.
    """

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "calibration", "max_ece": 0.1}

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

    @property
    def bound(self) -> float:
        """Largest calibration error."""
        return self.max_ece

    def comparisons(self, evidence: Evidence) -> int:
        """One, as soon as there are probabilities."""
        return int(self._tallies(evidence) is not None)

    def judge(self, evidence: Evidence) -> Rule:
        """Whether confidence matches accuracy: fails where the error is surely larger than ``max_ece``."""
        tallies = self._tallies(evidence)
        if tallies is None:
            return self.undecided("this task's answers come without probabilities")
        alpha, rows = share(evidence), evidence.on([TEST])
        ece = calibration.estimate(tallies, evidence.seed, evidence.of(rows), alpha)
        few = self.too_few(evidence, rows, "judge calibration")
        if few or not ece.defined:
            because = few or f"the calibration error is not defined on {ece.size}"
            because += f"; calibration error {ece}, {self.max_ece:g} is allowed" if ece.defined else ""
            return self.undecided(because, ece.rows, ece.groups, ece)
        passed = False if ece.low > self.max_ece else True if ece.high < self.max_ece + self.margin else None
        word = "undecided: " if passed is None else ""
        more = f"; too few rows to exclude {self.max_ece + self.margin:g}" if passed is None else ""
        reason = f"{word}calibration error {ece} of the test split, {self.max_ece:g} is allowed{more}"
        return self.rule(passed, reason, ece.rows, ece.groups, ece, alpha=alpha)

    def _tallies(self, evidence: Evidence) -> np.ndarray | None:
        """The served model's tallies of calibration on the test rows; None where answers have no probability."""
        right = evidence.right
        if evidence.confidence is None or right is None:
            return None
        rows = evidence.on([TEST])
        sure = evidence.confidence[rows]
        return calibration.tallies(sure, right[rows], calibration.edges(sure, adaptive=self.adaptive))
