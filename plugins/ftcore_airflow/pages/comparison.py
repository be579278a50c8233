"""Candidate beside champion: metrics, slices, calibration, speed and size, out of ``evaluation.json``.

What a figure needs and the evaluation does not have leaves its section out; a section that cannot be read says so and
leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftcore_airflow.pages.charts import Limits, Point, Series, bar, chart, domain, strip

if TYPE_CHECKING:
    from markupsafe import Markup

    from ftcore.recipe import Recipe

TEST = "test"
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float | None
    low: float | None = None
    high: float | None = None
    rows: int | None = None

    @classmethod
    def of(cls, found: Json | None) -> Estimate | None:
        """An estimate of what the evaluation holds; None of nothing."""
        if not found or found.get("value") is None:
            return None
        return cls(*(found.get(key) for key in ("value", "low", "high", "rows")))

    def point(self) -> Point:
        """For a chart."""
        return Point(0, float(self.value or 0), self.low, self.high)


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
    look: str = ""
    """``better`` or ``worse`` where the difference is beyond doubt, or beyond both intervals."""


@dataclass(frozen=True)
class Table:
    """One metric over datasets or slices."""

    metric: str
    lower_is_better: bool
    limits: tuple[float, float]
    """Ends of the axis that all plots share."""
    lines: Sequence[Line]


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


@dataclass(frozen=True)
class Chart:
    """A chart with what stands below it."""

    title: str
    svg: Markup
    series: Sequence[Series]
    note: str = ""

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Look and name of each series."""
        return [(one.look, one.name) for one in self.series]


@dataclass
class Comparison:
    """Everything about one version beside the one it was compared with."""

    served: str
    forms: Sequence[str] = ()
    metrics: Sequence[Table] = ()
    slices: Sequence[Table] = ()
    calibration: Sequence[Chart] = ()
    costs: Sequence[Cost] = ()
    baselines: Table | None = None
    """The first metric beside what costs nothing."""
    mcnemar: Sequence[tuple[str, Json]] = ()
    """Datasets, and how many rows only one of the two got right."""
    robustness: Table | None = None
    """What the first metric loses on the same rows written otherwise."""
    fairness: Sequence[tuple[str, Json]] = ()
    """Columns, and how far apart the first metric of their groups is."""
    faults: list[str] = field(default_factory=list)
    """Sections that could not be read."""


def compare(
    evaluation: Json, recipe: Recipe | None, form: str = "", sizes: Json | None = None, before: Json | None = None
) -> Comparison:
    """What the sections show.

    Args:
        evaluation: ``evaluation.json``.
        recipe: tells which metric comes first and which way it improves.
        form: which export to show; the one that serves by default.
        sizes: ``size_bytes`` by form of candidate and champion.
        before: the champion's own ``evaluation.json``, for its latency.
    """
    mine = _part(evaluation, "metrics", "candidate")
    forms = list(mine)
    served = form if form in forms else (forms[0] if forms else "")
    found = Comparison(served, forms)
    lower = lower_is_better(evaluation, recipe)
    sections: dict[str, Callable[[], object]] = {
        "metrics": lambda: _tables(evaluation, served, lower),
        "slices": lambda: _slices(evaluation, served, lower),
        "calibration": lambda: _calibration(evaluation, served),
        "costs": lambda: _costs(evaluation, before or {}, sizes or {}),
        "baselines": lambda: _baselines(evaluation, served, lower),
        "mcnemar": lambda: list(_part(evaluation, "mcnemar", served).items()),
        "robustness": lambda: _robustness(evaluation, lower),
        "fairness": lambda: _fairness(evaluation),
    }
    for name, make in sections.items():
        try:
            setattr(found, name, make())
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            found.faults.append(f"The section {name} of evaluation.json cannot be read: {error!r}.")
    return found


def lower_is_better(evaluation: Json, recipe: Recipe | None) -> frozenset[str]:
    """Metrics that improve when they fall: as the evaluation says, else the recipe's task."""
    metrics = evaluation.get("better") or (recipe.metrics if recipe else ())
    if not isinstance(metrics, Mapping):
        return frozenset()
    return frozenset(name for name, better in metrics.items() if better == "lower")


def headline(evaluation: Json | None) -> tuple[str, Estimate] | None:
    """The first metric of the form that serves, on the test rows."""
    try:
        form = next(iter(_part(evaluation or {}, "metrics", "candidate").values()))
        metric, found = next(iter(form[TEST].items()))
        estimate = Estimate.of(found)
    except (StopIteration, KeyError, TypeError, AttributeError):
        return None
    return (metric, estimate) if estimate else None


def _part(values: Any, *keys: str) -> Json:
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values if isinstance(values, Mapping) else {}


def _tables(evaluation: Json, form: str, lower: frozenset[str]) -> list[Table]:
    sides = [_part(evaluation, "metrics", role, form) for role in ("candidate", "champion")]
    return _compared(sides[0], sides[1], _part(evaluation, "differences", form), lower)


def _slices(evaluation: Json, form: str, lower: frozenset[str]) -> list[Table]:
    found = _part(evaluation, "slices")
    if form != evaluation.get("served", form):
        return []  # slices are those of the form that serves
    sides = [
        {name: one.get(role, {}) for name, one in found.items()} for role in ("candidate", "champion", "difference")
    ]
    return _compared(sides[0], sides[1], sides[2], lower)


def _compared(mine: Json, other: Json, differences: Json, lower: frozenset[str]) -> list[Table]:
    """Tables by metric of ``{part: {metric: estimate}}``."""
    metrics = list(dict.fromkeys(metric for part in mine.values() for metric in part))
    return [_table(metric, mine, other, differences, lower) for metric in metrics]


def _table(metric: str, mine: Json, other: Json, differences: Json, lower: frozenset[str]) -> Table:
    trios = {
        part: tuple(Estimate.of(side.get(part, {}).get(metric)) for side in (mine, other, differences)) for part in mine
    }
    limits = _limits([one for trio in trios.values() for one in trio[:2]])
    about_zero = _limits([*(trio[2] for trio in trios.values()), Estimate(0.0)])
    lines = []
    for part, (candidate, champion, measured) in trios.items():
        difference = measured or _difference(candidate, champion)
        points = [(look, one.point()) for look, one in (("candidate", candidate), ("champion", champion)) if one]
        change = strip([("plain", measured.point())], about_zero, mark=0.0) if measured else None
        look = _look(candidate, champion, difference, metric in lower)
        lines.append(Line(part, candidate, champion, difference, strip(points, limits), change, look))
    return Table(metric, metric in lower, limits, lines)


def _limits(estimates: Sequence[Estimate | None]) -> tuple[float, float]:
    return domain([value for one in estimates if one for value in (one.value, one.low, one.high)])


def _baselines(evaluation: Json, form: str, lower: frozenset[str]) -> Table | None:
    """The first metric on the test rows of the candidate, as if each baseline were a champion."""
    simple = {name: parts.get(TEST, {}) for name, parts in _part(evaluation, "metrics", "baseline").items()}
    mine = _part(evaluation, "metrics", "candidate", form, TEST)
    if not simple or not mine:
        return None
    return _table(next(iter(mine)), dict.fromkeys(simple, mine), simple, {}, lower)


def _robustness(evaluation: Json, lower: frozenset[str]) -> Table | None:
    found = _part(evaluation, "robustness")
    first = next(iter(next(iter(found.values()), {})), "")
    lines, limits = [], _limits([*(Estimate.of(one.get(first)) for one in found.values()), Estimate(0.0)])
    for name, metrics in found.items():
        if change := Estimate.of(metrics.get(first)):
            plot = strip([("candidate", change.point())], limits, mark=0.0)
            lines.append(Line(name, None, None, change, plot))
    return Table(first, first in lower, limits, lines) if lines else None


def _fairness(evaluation: Json) -> list[tuple[str, Json]]:
    found = []
    for column, one in _part(evaluation, "fairness").items():
        for metric, spread in list(one["metrics"].items())[:1]:
            groups = sorted(spread["by_group"].items(), key=lambda pair: pair[1] if pair[1] is not None else 2)
            difference = Estimate.of(spread["difference"])
            facts = {"metric": metric, "difference": difference, "ratio": spread["ratio"], "groups": groups}
            found.append((column, facts | {"rows": one["groups"]}))
    return found


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


def _calibration(evaluation: Json, form: str) -> list[Chart]:
    found = _part(evaluation, "calibration")
    series, notes = [], []
    for role in ("candidate", "champion"):
        one = _part(found, role, form)
        bins = [each for each in one.get("bins", ()) if each.get("rows", 1)]
        points = [
            Point(
                float(each["confidence"]),
                float(each["accuracy"]),
                label=f"{role}: {each['confidence']:.2f} sure, {each['accuracy']:.2f} right",
            )
            for each in bins
            if each.get("confidence") is not None and each.get("accuracy") is not None
        ]
        if points:
            series.append(Series(role, role, points))
            ece = one.get("ece")
            value = ece.get("value") if isinstance(ece, Mapping) else ece
            if value is not None:
                notes.append(f"{role} ECE {value:.3f}")
    if not series:
        return []
    lowest = min(min(point.x, point.y) for one in series for point in one.points)
    ends = (max(0.0, lowest - 0.05), 1.0)
    svg = chart(
        "Reliability: how often the model is right by how sure it is",
        series,
        ("sure", "right"),
        limits=Limits(ends, ends, diagonal=True),
    )
    return [
        Chart("Reliability", svg, series, "; ".join(notes) + ". On the line, the model is right as often as it says.")
    ]


def _costs(evaluation: Json, before: Json, sizes: Json) -> list[Cost]:
    mine, other = _part(evaluation, "latency"), _part(before, "latency")
    figures = [
        ("Median latency", "ms", "p50_ms"),
        ("95th percentile latency", "ms", "p95_ms"),
        ("Throughput", "rows/s", "rows_per_s"),
    ]
    found = [
        _cost(name, unit, {f: v.get(key) for f, v in mine.items()}, {f: v.get(key) for f, v in other.items()})
        for name, unit, key in figures
    ]
    size = [
        _part(one, "size_bytes") or _part(sizes, role)
        for one, role in ((evaluation, "candidate"), (before, "champion"))
    ]
    found.append(_cost("Size", "bytes", *size))
    found.append(_cost("Cost of 1,000 predictions", "", *(_part(one, "cost_per_1000") for one in (evaluation, before))))
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
