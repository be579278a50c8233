"""What this detector calls drift, in one sentence: it is what `ftcore ls` shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ftcore.monitoring.detectors import _columns
from ftcore.monitoring.detectors._finding import Finding, Samples, Threshold, column_of, finding, require_rows
from ftcore.recipe.kinds import Config as Base

if TYPE_CHECKING:
    import pandas as pd
    from evidently.metrics import ValueDrift

    from ftcore.recipe.model import Recipe

EXAMPLE = {"kind": "NAME", "column": "score"}


class Config(Base):
    """What a recipe says about this detector."""

    kind: Literal["NAME"] = "NAME"
    column: str = "score"
    """Column of the prediction log."""
    threshold: Annotated[float, Field(gt=0)] = 0.2
    """Score above which there is an alarm."""


def faults(config: Config, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What ``ftcore check`` refuses, each with the key: a column that the task's predictions do not have."""
    yield from _columns.faults(config.column, ("num",), "use value_drift", recipe)


def samples(config: Config, reference: pd.DataFrame, current: pd.DataFrame, seed: int) -> Samples:
    """The column on both sides, cleaned alike."""
    old, new = column_of(reference, current, config.column)
    found = Samples(config.column, "num", old.astype("float64"), new.astype("float64"))
    require_rows(config.kind, found, 30)
    return found


def calibrate(config: Config, found: Samples, seed: int) -> Threshold:
    """The score above which there is an alarm: given, or measured on rows without drift."""
    return Threshold(config.threshold)


def metric(config: Config, found: Samples, threshold: Threshold) -> ValueDrift:
    """What Evidently's report has to measure."""
    from evidently.metrics import ValueDrift

    return ValueDrift(column=found.column, method="psi", threshold=threshold.value)


def judge(config: Config, found: Samples, threshold: Threshold, score: float) -> Finding:
    """The finding for what Evidently measured."""
    return finding(config.kind, f"{config.kind}_{config.column}", "PSI", score, threshold, found)


def redact(config: Config, widgets: list[Any]) -> None:
    """Take personal data out of the report's widgets."""
