"""What the forms of a version cost to run: latency, throughput, size, money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftcore_airflow.pages.charts import bar
from ftcore_airflow.pages.tables import Json, part

if TYPE_CHECKING:
    from markupsafe import Markup

SPEEDS = (
    ("Median latency", "ms", "p50_ms"),
    ("95th percentile latency", "ms", "p95_ms"),
    ("Throughput", "rows/s", "rows_per_s"),
)


@dataclass(frozen=True)
class Cost:
    """One figure that a form of the model has, such as its size."""

    name: str
    unit: str
    lines: Sequence[tuple[str, float | None, float | None, Markup, Markup]]
    """Form, candidate, champion, and a bar of each."""

    @property
    def digits(self) -> int:
        """Digits after the point that tell its values apart."""
        return 2 if self.unit else 5


def costs(evaluation: Json, before: Json, sizes: Json) -> list[Cost]:
    """Every figure that is known.

    Args:
        evaluation: the candidate's.
        before: the champion's own.
        sizes: ``size_bytes`` by form of candidate and champion, for evaluations that lack it.
    """
    mine, other = part(evaluation, "latency"), part(before, "latency")
    found = [
        _cost(name, unit, {f: v.get(key) for f, v in mine.items()}, {f: v.get(key) for f, v in other.items()})
        for name, unit, key in SPEEDS
    ]
    size = [
        part(one, "size_bytes") or part(sizes, role) for one, role in ((evaluation, "candidate"), (before, "champion"))
    ]
    found.append(_cost("Size", "bytes", *size))
    found.append(_cost("Cost of 1,000 predictions", "", *(part(one, "cost_per_1000") for one in (evaluation, before))))
    return [cost for cost in found if cost.lines]


def _cost(name: str, unit: str, mine: Json, other: Json) -> Cost:
    values = [float(value) for side in (mine, other) for value in side.values() if value is not None]
    largest = max(values, default=0.0)
    lines = [
        (form, value, other.get(form), bar(value, largest, "candidate"), bar(other.get(form) or 0, largest, "champion"))
        for form, value in mine.items()
        if value is not None
    ]
    return Cost(name, unit, lines)
