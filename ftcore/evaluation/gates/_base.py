"""What every gate has: one rule of the recipe that a candidate is judged by."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ftcore.recipe.kinds import Config
from ftcore.registry.verdict import Rule
from ftcore.statistics.intervals import size

if TYPE_CHECKING:
    import numpy as np

    from ftcore.registry.verdict import Evidence
    from ftcore.statistics.intervals import Estimate

ALPHA = 0.05
"""Chance that the gates that judge what must not become worse, all together, refuse a candidate that did not."""
LEAST_ROWS = 30
LEAST_GROUPS = 10
"""With fewer rows or groups than these not even a sure loss can be detected."""


class Gate(Config, ABC):
    """One rule that a candidate must pass; its fields are what a recipe may set."""

    EXAMPLE: ClassVar[dict[str, Any]]
    """A valid entry of a recipe's ``gates``."""
    FINAL: ClassVar[bool] = False
    """Whether the gate makes the final comparison with the champion: on the sealed rows of the test split where the
    recipe seals some, each look at its rows counted."""
    ON_FEWER: ClassVar[str] = "on fewer it is undecided"
    """Outcome with fewer rows than ``least``, for a warning."""
    kind: str

    @property
    @abstractmethod
    def bound(self) -> float:
        """What the measured number is compared with, in the gate's unit."""

    @abstractmethod
    def judge(self, evidence: Evidence) -> Rule:
        """Judge the candidate in the form that serves; undecided rather than a guess.

        Args:
            evidence: candidate and champion on the same rows.

        Raises:
            ValueError: a dataset that the gate names was not evaluated.
        """

    def comparisons(self, evidence: Evidence) -> int:
        """Number of comparisons that share ``ALPHA`` with other gates; 0 for a gate with an error rate of its own."""
        return 0

    def named(self) -> Mapping[str, Sequence[str]]:
        """Names that must exist in the recipe, by field: a ``metric``, ``datasets``, and slices (``by``)."""
        given = self.model_dump(include={"metric", "datasets", "by"})
        return {key: (value,) if isinstance(value, str) else value for key, value in given.items()}

    def least(self) -> Mapping[str, int]:
        """Fewest rows and groups that decide: the fields ``min_rows`` and ``min_groups``, where the gate has them."""
        return self.model_dump(include={"min_rows", "min_groups"})

    def judged(self, datasets: Sequence[str]) -> list[tuple[str, ...]]:
        """Datasets whose rows are judged, those together that are judged together.

        Args:
            datasets: all that the recipe has, ``test`` and names of holdouts.
        """
        return [tuple(self.named().get("datasets", ())) or ("test",)]

    def wanting(self, evidence: Evidence) -> str:
        """Why the rows are too few for a comparison; empty where they are enough. Asked of a ``FINAL`` gate."""
        return ""

    def rule(
        self,
        passed: bool | None,
        reason: str,
        rows: int = 0,
        groups: int | None = None,
        found: Estimate | None = None,
        **figures: float | None,
    ) -> Rule:
        """What the gate found.

        Args:
            passed: None: undecided.
            reason: for people, with the numbers.
            rows: number of rows it was measured on.
            groups: number of groups of these rows.
            found: the measurement with its interval; what is not finite in it is left out.
            figures: further fields of the rule, and those that ``found`` or ``bound`` would fill otherwise.
        """
        ends: dict[str, float | None] = {"bound": self.bound}
        if found is not None:
            numbers = {"measured": found.value, "low": found.low, "high": found.high}
            ends |= {name: value for name, value in numbers.items() if math.isfinite(value)}
            ends |= {"level": found.level} if "low" in ends else {}
        return Rule(gate=self.kind, passed=passed, reason=reason, rows=rows, groups=groups, **(ends | figures))

    def undecided(self, because: str, rows: int = 0, groups: int | None = None, found: Estimate | None = None) -> Rule:
        """A rule that neither passed nor failed; the recipe's ``on_undecided`` decides what that means."""
        return self.rule(None, f"undecided: {because}", rows, groups, found)

    def too_few(self, evidence: Evidence, rows: np.ndarray, purpose: str, dataset: str = "") -> str:
        """Why some rows, a mask ``[rows]``, are too few for a purpose; empty where they are enough."""
        count, groups, least = int(rows.sum()), evidence.groups(rows), self.least()
        of = f" of {dataset}" if dataset else ""
        if count < least.get("min_rows", 0):
            return f"{count} rows{of} are too few to {purpose}, at least {least['min_rows']} are needed (min_rows)"
        if groups < min(least.get("min_groups", 0), count):
            needed = f"at least {least['min_groups']} groups are needed (min_groups)"
            return f"{size(count, groups)}{of} are too few to {purpose}, {needed}"
        return ""


def share(evidence: Evidence, comparisons: int = 1) -> float:
    """Part of ``ALPHA`` that a gate may spend, by its share of all gates' comparisons."""
    return ALPHA * comparisons / max(evidence.comparisons or 0, comparisons)


def sure(rows: int, groups: int) -> bool:
    """Whether so few rows can show a sure failure: an interval that lies wholly beyond the bound needs no more rows."""
    return rows >= LEAST_ROWS and groups >= LEAST_GROUPS
