"""What every detector has: a column of the prediction log, samples of it, and a score that Evidently measures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ftcore.monitoring.detectors import _columns
from ftcore.recipe.kinds import Config

if TYPE_CHECKING:
    import pandas as pd
    from evidently.core.metric_types import Metric

    from ftcore.monitoring.findings import ColumnType, Finding, Samples, Threshold
    from ftcore.recipe.model import Recipe


class Detector(Config, ABC):
    """A comparison of the window with the champion's reference; its fields are what a recipe may set."""

    EXAMPLE: ClassVar[dict[str, Any]]
    """A valid entry of a recipe's ``watch.detectors``."""
    TYPES: ClassVar[tuple[ColumnType, ...]]
    """Types of columns that it reads."""
    INSTEAD: ClassVar[str]
    """What to do about a column of another type."""
    kind: str
    column: Annotated[str, Field(min_length=1)]
    """Column of the prediction log."""

    def faults(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """Contradictions with the recipe, each with its key: a column that the task's predictions do not have."""
        yield from _columns.faults(self.column, self.TYPES, self.INSTEAD, recipe)

    @abstractmethod
    def samples(self, reference: pd.DataFrame, current: pd.DataFrame, seed: int) -> Samples:
        """The column on both sides, cleaned alike.

        Args:
            reference: what the champion was judged on, with the columns of the prediction log.
            current: the window, with the same columns.
            seed: of what is drawn.

        Raises:
            FtcoreError: a side has no such column, or one of another type.
            NotEnoughDataError: a side has too few values.
        """

    @abstractmethod
    def calibrate(self, found: Samples, seed: int) -> Threshold:
        """The score above which there is an alarm: given, or measured on rows without drift.

        Raises:
            NotEnoughDataError: nothing can be measured on these samples.
        """

    @abstractmethod
    def statistic(self, found: Samples) -> str:
        """Evidently's name of the score."""

    def metric(self, found: Samples, threshold: Threshold) -> Metric:
        """The metric of Evidently's report."""
        from evidently.metrics import ValueDrift

        return ValueDrift(column=found.column, method=self.statistic(found), threshold=threshold.value)

    @abstractmethod
    def judge(self, found: Samples, threshold: Threshold, score: float) -> Finding:
        """The finding for the score that Evidently measured."""

    def redact(self, widgets: list[Any]) -> None:
        """Take personal data out of the report's widgets, in place; by default there is none."""
