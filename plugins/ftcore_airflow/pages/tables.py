"""Tables that compare two versions: each line with its intervals drawn, and the difference beside zero."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftcore.registry.metric_titles import about
from ftcore_airflow.pages.charts import Point, domain, strip
from ftcore_airflow.pages.formats import words

if TYPE_CHECKING:
    from markupsafe import Markup

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float | None
    low: float | None = None
    high: float | None = None
    rows: int | None = None
    groups: int | None = None
    """Groups of these rows, which were resampled; None in evaluations before groups were known."""

    @classmethod
    def of(cls, found: Json | None) -> Estimate | None:
        """An estimate of what the evaluation holds; None of nothing.

        Raises:
            ValueError: it holds something else than numbers.
        """
        if not found or found.get("value") is None:
            return None
        numbers = [found.get(key) for key in ("value", "low", "high", "rows", "groups")]
        if strange := [
            one for one in numbers if one is not None and (type(one) not in (int, float) or math.isnan(one))
        ]:
            raise ValueError(f"{strange[0]!r} is no number")
        return cls(*numbers)

    def point(self) -> Point:
        """For a chart."""
        return Point(0, float(self.value or 0), self.low, self.high)


@dataclass(frozen=True)
class Metrics:
    """What a task's metrics are called, and which way they improve."""

    lower: frozenset[str] = frozenset()
    """Those that improve when they fall."""
    task: Json = field(default_factory=dict)
    """The task that they are of, as plain values."""

    def title(self, metric: str) -> str:
        """A metric for people, with the class that it is about."""
        of = about(metric, self.task)
        return words(metric) + (f" ({of})" if of else "")


@dataclass(frozen=True)
class Line:
    """One row of a table that compares."""

    name: str
    candidate: Estimate | None
    champion: Estimate | None
    difference: Estimate | None
    plot: Markup
    change: Markup | None = None
    """The difference with its interval, beside zero; None where it has none."""
    undefined: str = ""
    """Why one of the two has no value; empty where both have one, or the evaluation does not say."""
    look: str = ""
    """``better`` or ``worse`` where the difference is beyond doubt, or beyond both intervals."""


@dataclass(frozen=True)
class Table:
    """One metric over datasets or slices."""

    metric: str
    """As people read it."""
    lower_is_better: bool
    limits: tuple[float, float]
    """Ends of the axis that all plots share."""
    lines: Sequence[Line]


def part(values: Any, *keys: str) -> Json:
    """What lies below some keys; nothing where one of them is missing."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values if isinstance(values, Mapping) else {}


def tables(mine: Json, other: Json, differences: Json, metrics: Metrics) -> list[Table]:
    """Tables by metric of ``{part: {metric: estimate}}``.

    Args:
        mine: of the candidate.
        other: of what it is compared with.
        differences: candidate less the other, where they were measured.
        metrics: of the task.
    """
    names = list(dict.fromkeys(metric for one in mine.values() for metric in one))
    return [table(metric, mine, other, differences, metrics) for metric in names]


def table(metric: str, mine: Json, other: Json, differences: Json, metrics: Metrics) -> Table:
    """The table of one metric; its arguments are those of ``tables``."""
    trios = {
        name: tuple(Estimate.of(side.get(name, {}).get(metric)) for side in (mine, other, differences)) for name in mine
    }
    limits = limits_of([one for trio in trios.values() for one in trio[:2]])
    about_zero = limits_of([*(trio[2] for trio in trios.values()), Estimate(0.0)])
    lines = []
    for name, (candidate, champion, measured) in trios.items():
        difference = measured or _difference(candidate, champion)
        points = [(look, one.point()) for look, one in (("candidate", candidate), ("champion", champion)) if one]
        change = strip([("plain", measured.point())], about_zero, mark=0.0) if measured else None
        look = _look(candidate, champion, difference, metric in metrics.lower)
        why = next((str(text) for side in (mine, other) if (text := part(side, name, metric).get("undefined"))), "")
        lines.append(Line(name, candidate, champion, difference, strip(points, limits), change, why, look))
    return Table(metrics.title(metric), metric in metrics.lower, limits, lines)


def limits_of(estimates: Sequence[Estimate | None]) -> tuple[float, float]:
    """Ends of an axis that holds some estimates with their intervals."""
    return domain([value for one in estimates if one for value in (one.value, one.low, one.high)])


def _difference(candidate: Estimate | None, champion: Estimate | None) -> Estimate | None:
    """The difference of both values; its interval nobody has measured."""
    if candidate is None or champion is None:
        return None
    return Estimate(float(candidate.value or 0) - float(champion.value or 0))


def _look(candidate: Estimate | None, champion: Estimate | None, difference: Estimate | None, lower: bool) -> str:
    if difference is None or difference.value is None or candidate is None or champion is None:
        return ""
    if difference.low is not None and difference.high is not None:
        sure = difference.low > 0 or difference.high < 0
    else:
        apart = (candidate.low, champion.high), (champion.low, candidate.high)
        sure = any(low is not None and high is not None and low > high for low, high in apart)
    return "" if not sure else "better" if (difference.value > 0) != lower else "worse"
