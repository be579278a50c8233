"""Have the answers changed? Compares the distribution of one column, such as the predicted label or its probability.

The distance is one of Evidently's. What chance alone gives grows as windows shrink, so the threshold is measured for
each comparison by a permutation test: the rows of both sides are shuffled together and the same distance is taken.
Measured against 1,140 rows with windows of 50, 300 and 1,500: false alarms in 1, 3 and 1 of 300 windows each on a score
(Wasserstein), in none on a label of two values (Jensen-Shannon).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftcore.errors import FtcoreError
from ftcore.monitoring.detectors import _columns
from ftcore.monitoring.detectors._base import Detector
from ftcore.monitoring.findings import (
    ColumnType,
    Finding,
    Samples,
    Threshold,
    above_chance,
    column_of,
    finding,
    require_rows,
)

if TYPE_CHECKING:
    import pandas as pd

    from ftcore.recipe.model import Recipe

LEAST_ROWS = 30
"""With fewer, chance alone gives distances that no change of the answers can exceed."""


class ValueDrift(Detector):
    """A column whose values are distributed otherwise than in the reference."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "value_drift", "column": "label", "method": "jensenshannon"}
    TYPES: ClassVar[tuple[ColumnType, ...]] = ("num", "cat")
    INSTEAD: ClassVar[str] = "use text_drift"

    kind: Literal["value_drift"] = "value_drift"
    column: Annotated[str, Field(min_length=1)] = "score"
    """Column of the prediction log: ``label``, ``score``, or any other with numbers or categories."""
    method: Literal["wasserstein", "jensenshannon", "psi", "hellinger"] | None = None
    """Evidently's distance; null means ``wasserstein``, in standard deviations of the reference, for numbers and
    ``jensenshannon``, 0 to 0.83, for categories. Only distances are offered: p-values call every large window drift."""
    threshold: Annotated[float, Field(gt=0)] | None = None
    """Distance above which there is an alarm; null means that it is measured, see ``sigmas`` and ``floor``."""
    sigmas: Annotated[float, Field(gt=0, le=20)] = 4.0
    """Standard deviations above what chance gives before there is an alarm. Distances are skewed, hence not 3."""
    floor: Annotated[float, Field(ge=0)] = 0.1
    """Distance below which there is never an alarm: in large windows a difference can be certain and yet not matter."""
    permutations: Annotated[int, Field(ge=10, le=10_000)] = 100
    """Shuffles that measure what chance gives; about a millisecond each."""

    def faults(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """A column that the task's predictions do not have, or whose values have no distribution to compare."""
        yield from super().faults(recipe)
        if self.method == "wasserstein" and _columns.columns(recipe).get(self.column) == "cat":
            yield "method", f"wasserstein needs numbers, {self.column!r} holds categories; use jensenshannon"

    def samples(self, reference: pd.DataFrame, current: pd.DataFrame, seed: int) -> Samples:
        """The values of both sides, as numbers or as categories. Infinite numbers count as missing.

        Raises:
            FtcoreError: a side has no such column, one has numbers and the other has not, or the method does not suit
                them.
            NotEnoughDataError: a side has fewer than 30 values.
        """
        import numpy as np
        from pandas.api.types import is_bool_dtype, is_numeric_dtype

        sides = column_of(reference, current, self.column)
        kinds = {is_numeric_dtype(side) and not is_bool_dtype(side) for side in sides if side.notna().any()}
        if len(kinds) == 2:
            raise FtcoreError(f"{self.column!r} holds numbers on one side and something else on the other")
        numeric = kinds != {False}
        if numeric:
            old, new = (side.astype("float64").replace([np.inf, -np.inf], np.nan) for side in sides)
            found = Samples(self.column, "num", old, new)
        else:
            old, new = (side.astype("object").where(side.isna(), side.astype(str)) for side in sides)
            found = Samples(self.column, "cat", old, new)
        require_rows(self.kind, found, LEAST_ROWS)
        if self.method == "wasserstein" and not numeric:
            raise FtcoreError(f"wasserstein needs numbers, {self.column!r} holds categories", hint="use jensenshannon")
        return found

    def calibrate(self, found: Samples, seed: int) -> Threshold:
        """The distance that chance alone hardly ever reaches with exactly these numbers of rows."""
        import numpy as np
        import pandas as pd
        from evidently.legacy import core
        from evidently.legacy.calculations.stattests.registry import get_registered_stattest

        if self.threshold is not None:
            return Threshold(self.threshold)
        kind = core.ColumnType(found.type)
        distance = get_registered_stattest(self.statistic(found), kind)
        values = pd.concat([found.reference.dropna(), found.current.dropna()], ignore_index=True)
        random, of_reference = np.random.default_rng(seed), found.rows[0]
        null = []
        for _ in range(self.permutations):
            shuffled = values.iloc[random.permutation(len(values))]
            result = distance(shuffled.iloc[:of_reference], shuffled.iloc[of_reference:], kind, self.floor)
            null.append(float(result.drift_score))
        return above_chance(null, self.sigmas, self.floor)

    def statistic(self, found: Samples) -> str:
        """The distance that the recipe chose, or that suits the type."""
        return self.method or ("wasserstein" if found.type == "num" else "jensenshannon")

    def judge(self, found: Samples, threshold: Threshold, score: float) -> Finding:
        """The finding for the distance that Evidently measured."""
        name = "_".join(filter(None, [self.kind, self.column, self.method]))
        return finding(self.kind, name, f"{self.statistic(found)} distance", score, threshold, found)
