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
        """Names that must exist in the recipe, by key: of a ``metric``, of ``datasets``, and of slices (``by``)."""
        return {}

    def least(self) -> Mapping[str, int]:
        """Fewest rows and groups that decide, by key (``min_rows``, ``min_groups``); empty where rows do not matter."""
        return {}

    def judged(self, datasets: Sequence[str]) -> list[tuple[str, ...]]:
        """Datasets whose rows are judged, those together that are judged together.

        Args:
            datasets: all that the recipe has, ``test`` and names of holdouts.
        """
        return [tuple(self.named().get("datasets", ())) or ("test",)]

    def wanting(self, evidence: Evidence) -> str:
        """Why the rows are too few for a comparison; empty where they are enough. Asked of a ``FINAL`` gate."""
        return ""

    def undecided(self, because: str, rows: int = 0, groups: int | None = None, found: Estimate | None = None) -> Rule:
        """A rule that neither passed nor failed; the recipe's ``on_undecided`` decides what that means.

        Args:
            because: why, for people.
            rows: number of rows it was measured on.
            groups: number of groups of these rows.
            found: the measurement, if there is one, for the people who approve.
        """
        ends = {}
        if found is not None:
            numbers = {"measured": found.value, "low": found.low, "high": found.high}
            ends = {name: value for name, value in numbers.items() if math.isfinite(value)}
            ends |= {"level": found.level} if "low" in ends and found.level is not None else {}
        reason = f"undecided: {because}"
        return Rule(gate=self.kind, passed=None, reason=reason, bound=self.bound, rows=rows, groups=groups, **ends)

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
