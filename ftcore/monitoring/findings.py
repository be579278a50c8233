"""What every detector takes and gives: two samples of a column, a threshold, a finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ftcore.errors import FtcoreError, NotEnoughDataError

if TYPE_CHECKING:
    import pandas as pd

ColumnType = Literal["text", "num", "cat"]
"""What Evidently calls text, numbers and categories."""


@dataclass(frozen=True)
class Samples:
    """One column of the reference and of the window, cleaned alike; null where a row has no usable value."""

    column: str
    """Name of the column."""
    type: ColumnType
    """How its values are read."""
    reference: pd.Series
    """The champion's reference, one value a row."""
    current: pd.Series
    """The window, one value a row."""

    @property
    def rows(self) -> tuple[int, int]:
        """Usable rows of the reference and of the window."""
        return int(self.reference.notna().sum()), int(self.current.notna().sum())


@dataclass(frozen=True)
class Threshold:
    """The score above which a detector raises an alarm."""

    value: float
    """The threshold, in the unit of the score."""
    null_mean: float | None = None
    """Mean score of samples without drift; none where the recipe gave the threshold."""
    null_sd: float | None = None
    """Their standard deviation."""

    def __str__(self) -> str:
        """The threshold and where it comes from, as part of a sentence."""
        if self.null_mean is None:
            return f"{self.value:.3f} (given)"
        return f"{self.value:.3f} (chance gives {self.null_mean:.3f} ± {self.null_sd:.3f})"


@dataclass(frozen=True)
class Finding:
    """What one detector says about a window."""

    kind: str
    """Kind of the detector."""
    name: str
    """Kind, column and, where the recipe chose one, method."""
    score: float | None
    """How far the window is from the reference; the more, the further. None where it could not be measured."""
    threshold: float | None
    """Score above which there is an alarm; None where it could not be measured."""
    alarm: bool
    """Whether the score is above the threshold."""
    rows_reference: int
    """Rows of the reference that had a value."""
    rows_current: int
    """Rows of the window that had a value."""
    reason: str
    """One sentence for people, with the numbers."""

    @property
    def summary(self) -> str:
        """Name, score and threshold; or why there is no score."""
        if self.score is None or self.threshold is None:
            return f"{self.name} was not measured: {self.reason}"
        return f"{self.name} {self.score:.3f} (alarm above {self.threshold:.3f})"


def unmeasured(kind: str, column: str, reason: str) -> Finding:
    """The finding of a detector that has nothing to compare: no score, no alarm, and the reason."""
    name = f"{kind}_{column}" if column else kind
    return Finding(kind, name, None, None, alarm=False, rows_reference=0, rows_current=0, reason=reason)


def column_of(reference: pd.DataFrame, current: pd.DataFrame, column: str) -> tuple[pd.Series, pd.Series]:
    """The column of both frames.

    Raises:
        FtcoreError: one of them does not have it.
    """
    for name, frame in (("reference", reference), ("window", current)):
        if column not in frame.columns:
            known = ", ".join(map(str, frame.columns))
            raise FtcoreError(f"the {name} has no column {column!r}; it has {known}", hint="see watch.detectors")
    return reference[column], current[column]


def require_rows(kind: str, samples: Samples, least: int) -> None:
    """Insist on ``least`` usable values on each side.

    Raises:
        NotEnoughDataError: with the counts of both sides.
    """
    of_reference, of_current = samples.rows
    if min(of_reference, of_current) < least:
        raise NotEnoughDataError(
            f"{kind} on {samples.column!r} needs {least} values on each side: the reference has {of_reference} "
            f"in {len(samples.reference)} rows, the window {of_current} in {len(samples.current)} rows",
            hint="wait for more predictions, or raise watch.min_rows so that small windows are not looked at",
        )


def above_chance(null: Sequence[float], sigmas: float, floor: float) -> Threshold:
    """``max(floor, mean + sigmas · sd)`` of scores without drift; sd is the sample standard deviation."""
    import numpy as np

    mean, sd = float(np.mean(null)), float(np.std(null, ddof=1))
    return Threshold(max(floor, mean + sigmas * sd), mean, sd)


def finding(kind: str, name: str, score_name: str, score: float, threshold: Threshold, samples: Samples) -> Finding:
    """The finding for a score, with its sentence."""
    of_reference, of_current = samples.rows
    alarm = score > threshold.value
    verdict = "drift" if alarm else "no drift"
    reason = (
        f"{verdict} in {samples.column}: {score_name} {score:.3f}, threshold {threshold}; "
        f"{of_current:,} rows against {of_reference:,} of the reference"
    )
    left_out = len(samples.current) - of_current
    if left_out:
        reason += f"; {left_out:,} rows of the window have no usable value"
    return Finding(kind, name, score, threshold.value, alarm, of_reference, of_current, reason)
