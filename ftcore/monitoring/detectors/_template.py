"""What this detector calls drift, in one sentence: it is what `ftcore ls` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.monitoring.detectors._base import Detector
from ftcore.monitoring.findings import ColumnType, Finding, Samples, Threshold, column_of, finding, require_rows

if TYPE_CHECKING:
    import pandas as pd


class Template(Detector):
    """What a recipe says about this detector."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "NAME", "column": "score"}
    TYPES: ClassVar[tuple[ColumnType, ...]] = ("num",)
    INSTEAD: ClassVar[str] = "use value_drift"

    kind: Literal["NAME"] = "NAME"
    column: str = "score"
    """Column of the prediction log."""
    threshold: Annotated[float, Field(gt=0)] = 0.2
    """Score above which there is an alarm."""

    def samples(self, reference: pd.DataFrame, current: pd.DataFrame, seed: int) -> Samples:
        """The column on both sides, cleaned alike."""
        old, new = column_of(reference, current, self.column)
        found = Samples(self.column, "num", old.astype("float64"), new.astype("float64"))
        require_rows(self.kind, found, 30)
        return found

    def calibrate(self, found: Samples, seed: int) -> Threshold:
        """The score above which there is an alarm: given, or measured on rows without drift."""
        return Threshold(self.threshold)

    def statistic(self, found: Samples) -> str:
        """Evidently's name of the score."""
        return "psi"

    def judge(self, found: Samples, threshold: Threshold, score: float) -> Finding:
        """The finding for what Evidently measured."""
        return finding(self.kind, f"{self.kind}_{self.column}", "PSI", score, threshold, found)
