"""How a gate says that it cannot tell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

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
"""Of fewer rows or groups than these not even a sure loss can be told."""


class Least(Protocol):
    """How much a gate needs to decide."""

    @property
    def min_rows(self) -> int:
        """Fewest rows."""
        ...

    @property
    def min_groups(self) -> int:
        """Fewest groups of rows."""
        ...


def undecided(
    gate: str,
    because: str,
    bound: float | None = None,
    rows: int = 0,
    groups: int | None = None,
    found: Estimate | None = None,
) -> Rule:
    """A rule that neither passed nor failed; the recipe says whether that fails or asks a person.

    Args:
        gate: its kind.
        because: why it cannot tell, for people.
        bound: what the measured number is compared with.
        rows: that it was measured on.
        groups: of these rows.
        found: what was measured all the same, so that a person who is asked has numbers.
    """
    ends = {}
    if found is not None:
        numbers = {"measured": found.value, "low": found.low, "high": found.high}
        ends = {name: value for name, value in numbers.items() if math.isfinite(value)}
        ends |= {"level": found.level} if "low" in ends and found.level is not None else {}
    return Rule(gate=gate, passed=None, reason=f"undecided: {because}", bound=bound, rows=rows, groups=groups, **ends)


def share(evidence: Evidence, comparisons: int = 1) -> float:
    """What a gate may spend of ``ALPHA``, by how many of all gates' comparisons are its own."""
    return ALPHA * comparisons / max(evidence.comparisons or 0, comparisons)


def sure(rows: int, groups: int) -> bool:
    """Whether so few rows can show a sure failure: one whose whole interval is beyond the bound needs no more rows."""
    return rows >= LEAST_ROWS and groups >= LEAST_GROUPS


def too_few(least: Least, evidence: Evidence, rows: np.ndarray, purpose: str, dataset: str = "") -> str:
    """Why some rows, a mask ``[rows]``, are too few for a purpose; empty where they are enough."""
    count, groups = int(rows.sum()), evidence.groups(rows)
    of = f" of {dataset}" if dataset else ""
    if count < least.min_rows:
        return f"{count} rows{of} are too few to {purpose}, at least {least.min_rows} are needed (min_rows)"
    if groups < min(least.min_groups, count):
        needed = f"at least {least.min_groups} groups are needed (min_groups)"
        return f"{size(count, groups)}{of} are too few to {purpose}, {needed}"
    return ""
