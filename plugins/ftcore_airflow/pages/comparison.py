"""Candidate beside champion: metrics, slices, calibration, speed and size, out of ``evaluation.json``.

What a figure needs and the evaluation does not have leaves its section out; a section that cannot be read says so and
leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ftcore_airflow.pages.charts import Limits, Point, Series, chart, strip
from ftcore_airflow.pages.costs import Cost, costs
from ftcore_airflow.pages.opinions import GeneralText, Opinion, general_text, opinion
from ftcore_airflow.pages.tables import Estimate, Json, Line, Metrics, Table, limits_of, part, table, tables

if TYPE_CHECKING:
    from markupsafe import Markup

    from ftcore.recipe.model import Recipe

TEST = "test"


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
    opinion: Opinion | None = None
    """What a judge prefers."""
    general_text: GeneralText | None = None
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
    mine = part(evaluation, "metrics", "candidate")
    forms = list(mine)
    served = form if form in forms else (forms[0] if forms else "")
    found = Comparison(served, forms)
    how = metrics_of(evaluation, recipe)
    sections: dict[str, Callable[[], object]] = {
        "metrics": lambda: _tables(evaluation, served, how),
        "slices": lambda: _slices(evaluation, served, how),
        "calibration": lambda: _calibration(evaluation, served),
        "costs": lambda: costs(evaluation, before or {}, sizes or {}),
        "baselines": lambda: _baselines(evaluation, served, how),
        "mcnemar": lambda: list(part(evaluation, "mcnemar", served).items()),
        "robustness": lambda: _robustness(evaluation, how),
        "fairness": lambda: _fairness(evaluation, how),
        "opinion": lambda: opinion(evaluation),
        "general_text": lambda: general_text(evaluation),
    }
    for name, make in sections.items():
        try:
            setattr(found, name, make())
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            found.faults.append(f"The section {name} of evaluation.json cannot be read: {error!r}.")
    return found


def metrics_of(evaluation: Json, recipe: Recipe | None) -> Metrics:
    """What the metrics are about, and which of them improve when they fall: by the evaluation, else by the recipe."""
    better = evaluation.get("better") or (recipe.metrics if recipe else ())
    lower = [name for name, way in better.items() if way == "lower"] if isinstance(better, Mapping) else []
    task = recipe.task.model_dump(mode="json") if recipe else {}
    labels = evaluation.get("labels")
    return Metrics(frozenset(lower), task | ({"labels": labels} if labels and isinstance(labels, list) else {}))


def headline(evaluation: Json | None) -> tuple[str, Estimate] | None:
    """The first metric of the form that serves, on the test rows."""
    try:
        form = next(iter(part(evaluation or {}, "metrics", "candidate").values()))
        metric, found = next(iter(form[TEST].items()))
        estimate = Estimate.of(found)
    except (StopIteration, KeyError, TypeError, AttributeError, ValueError):
        return None
    return (metric, estimate) if estimate else None


def _tables(evaluation: Json, form: str, how: Metrics) -> list[Table]:
    sides = [part(evaluation, "metrics", role, form) for role in ("candidate", "champion")]
    return tables(sides[0], sides[1], part(evaluation, "differences", form), how)


def _slices(evaluation: Json, form: str, how: Metrics) -> list[Table]:
    found = part(evaluation, "slices")
    if form != evaluation.get("served", form):
        return []  # slices are those of the form that serves
    sides = [
        {name: one.get(role, {}) for name, one in found.items()} for role in ("candidate", "champion", "difference")
    ]
    return tables(sides[0], sides[1], sides[2], how)


def _baselines(evaluation: Json, form: str, how: Metrics) -> Table | None:
    """The first metric on the test rows of the candidate, as if each baseline were a champion."""
    simple = {name: parts.get(TEST, {}) for name, parts in part(evaluation, "metrics", "baseline").items()}
    mine = part(evaluation, "metrics", "candidate", form, TEST)
    if not simple or not mine:
        return None
    return table(next(iter(mine)), dict.fromkeys(simple, mine), simple, {}, how)


def _robustness(evaluation: Json, how: Metrics) -> Table | None:
    found = part(evaluation, "robustness")
    first = next(iter(next(iter(found.values()), {})), "")
    lines, limits = [], limits_of([*(Estimate.of(one.get(first)) for one in found.values()), Estimate(0.0)])
    for name, metrics in found.items():
        if change := Estimate.of(metrics.get(first)):
            plot = strip([("candidate", change.point())], limits, mark=0.0)
            lines.append(Line(name, None, None, change, plot))
    return Table(how.title(first), first in how.lower, limits, lines) if lines else None


def _fairness(evaluation: Json, how: Metrics) -> list[tuple[str, Json]]:
    found: list[tuple[str, Json]] = []
    for column, one in part(evaluation, "fairness").items():
        for metric, spread in list(one["metrics"].items())[:1]:
            groups = sorted(spread["by_group"].items(), key=lambda pair: pair[1] if pair[1] is not None else 2)
            difference = Estimate.of(spread["difference"])
            facts = {"metric": how.title(metric), "difference": difference, "ratio": spread["ratio"], "groups": groups}
            found.append((column, facts | {"rows": one["groups"]}))
    return found


def _calibration(evaluation: Json, form: str) -> list[Chart]:
    found = part(evaluation, "calibration")
    series, notes = [], []
    for role in ("candidate", "champion"):
        one = part(found, role, form)
        bins = [each for each in one.get("bins", ()) if each.get("rows", 1)]
        points = [
            Point(
                float(each["confidence"]),
                float(each["accuracy"]),
                label=f"{role}: confidence {each['confidence']:.2f}, accuracy {each['accuracy']:.2f}",
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
        "Reliability: accuracy by confidence",
        series,
        ("confidence", "accuracy"),
        limits=Limits(ends, ends, diagonal=True),
    )
    return [Chart("Reliability", svg, series, "; ".join(notes) + ". On the line, accuracy equals confidence.")]
