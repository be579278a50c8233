"""A model over time: the quality of its versions, drift and live accuracy, with promotions marked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.statistics.intervals import score_interval
from ftcore.store import ledger
from ftcore.store.slots import crowns
from ftcore.store.times import utc
from ftcore_airflow.pages import reading
from ftcore_airflow.pages.actions import State
from ftcore_airflow.pages.charts import EPOCH, Limits, Point, Series, chart
from ftcore_airflow.pages.comparison import Chart, metrics_of
from ftcore_airflow.pages.versions import Entry, entry, figures_of_look

if TYPE_CHECKING:
    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore
    from ftcore_airflow.pages.reading import Product

MOST = 60
"""Versions and looks that are drawn, the newest ones."""
Mark = tuple[float, str]


@dataclass(frozen=True)
class Axis:
    """The time that all charts have in common."""

    times: Sequence[float]
    """Days since 1970 that are on it."""
    marks: Sequence[Mark]
    """Promotions."""


@dataclass(frozen=True)
class Row:
    """One figure of a chart, for the table below it."""

    at: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Drawn:
    """A chart with its figures."""

    chart: Chart
    rows: Sequence[Row]
    """The newest first."""


@dataclass
class History:
    """What there is to see."""

    product: Product
    quality: Drawn | None = None
    drift: Sequence[Drawn] = ()
    live: Drawn | None = None
    looks: int = 0
    """Looks at predictions that monitoring decided on."""
    promotions: Sequence[Mapping[str, Any]] = ()
    trouble: list[str] = field(default_factory=list)


def history(settings: Settings, product: Product) -> History:
    """A model over time; where MLflow does not answer, what the store knows."""
    found, shelf = History(product), reading.shelf_of(settings, product.name)
    lines = ledger.lines(shelf)
    found.promotions = [line for line in lines if crowns(line)][:MOST]
    entries: list[Entry] = []
    try:
        state = State.read(settings, product.name)
        entries = [entry(shelf, one) for one in list(state.versions.values())[:MOST]]
    except FtcoreError as error:
        found.trouble.append(f"The versions are missing: {error.args[0]}.")
    looks = _looks(shelf, lines, found.trouble)
    marks = [one for line in reversed(found.promotions) if (one := _mark(line))]
    times = [_days(one.facts["created_at"]) for one in entries] + [_days(look["at"]) for look in looks]
    axis = Axis([one for one in [*times, *(at for at, _ in marks)] if one is not None], marks)
    found.quality = _quality(entries, axis, product)
    found.looks, found.drift, found.live = len(looks), _drift(looks, axis), _live(looks, axis)
    return found


def _mark(line: Mapping[str, Any]) -> Mark | None:
    at = _days(line["at"])
    return None if at is None else (at, f"v{line['version']}" if line.get("version") else "none")


def _days(value: Any) -> float | None:
    at = utc(value)
    return (at - EPOCH).total_seconds() / 86_400 if at else None


def _quality(entries: Sequence[Entry], axis: Axis, product: Product) -> Drawn | None:
    metric = next((one.metric for one in entries if one.metric), "")
    points: dict[bool, list[Point]] = {True: [], False: []}
    rows = []
    for one in entries:
        at, estimate = _days(one.facts["created_at"]), one.estimate
        if at is None or estimate is None or estimate.value is None or one.metric != metric:
            continue
        promoted = bool(one.facts["promoted_at"])
        label = f"version {one.number}: {estimate.value:.3f}"
        points[promoted].append(Point(at, estimate.value, estimate.low, estimate.high, label))
        name, word = f"version {one.number}", "promoted" if promoted else "not promoted"
        rows.append(Row(str(one.facts["created_at"]), name, estimate.value, estimate.low, estimate.high, word))
    if not rows:
        return None
    series = [Series("not promoted", "champion", points[False], joined=False)]
    series.append(Series("promoted", "candidate", points[True][::-1]))
    note = "Test rows of each version's own snapshot, with 95 % intervals, by the time of registration."
    title = metrics_of({}, product.recipe).title(metric)
    return _drawn(f"{title} of each version", [one for one in series if one.points], (title, note), rows, axis)


def _looks(shelf: RecipeStore, lines: Sequence[Mapping[str, Any]], trouble: list[str]) -> list[Mapping[str, Any]]:
    """Figures of the newest looks at predictions, the newest first, each with ``at``."""
    found: list[Mapping[str, Any]] = []
    for line in [one for one in lines if one["kind"] == "decide"][:MOST]:
        try:
            record = reading.record(shelf, str(line["run_id"]), "watch")
            found += [{**figures_of_look(record), "at": line["at"]}] if record else []
        except (FtcoreError, OSError, AttributeError, TypeError, ValueError) as error:
            trouble.append(f"The look of run {line['run_id']} at predictions cannot be read: {error}.")
    return found


def _drift(looks: Sequence[Mapping[str, Any]], axis: Axis) -> list[Drawn]:
    by_name: dict[str, list[tuple[float, Mapping[str, Any], Mapping[str, Any]]]] = {}
    for look in looks:
        for one in look.get("findings") or ():
            if (at := _days(look["at"])) is not None and one.get("score") is not None:
                by_name.setdefault(str(one.get("name", "")), []).append((at, one, look))
    return [_of_detector(name, found, axis) for name, found in by_name.items()]


def _of_detector(name: str, found: Sequence[tuple[float, Mapping[str, Any], Mapping[str, Any]]], axis: Axis) -> Drawn:
    scores, limits, rows = [], [], []
    for at, one, look in found:
        word = "alarm" if one.get("alarm") else "no alarm"
        who = f"version {look.get('champion')}"
        scores.append(Point(at, float(one["score"]), label=f"{who}: {one['score']:.3f}, {word}"))
        if one.get("threshold") is not None:
            limits.append(Point(at, float(one["threshold"]), label=f"alarm above {one['threshold']:.3f}"))
        rows.append(Row(str(look["at"]), who, float(one["score"]), note=word))
    series = [Series("score", "candidate", scores[::-1]), Series("alarm above", "champion", limits[::-1])]
    shown = [one for one in series if one.points]
    note = "Distance of the predictions since the last look from the champion's test rows."
    return _drawn(name.replace("_", " "), shown, ("score", note), rows, axis)


def _live(looks: Sequence[Mapping[str, Any]], axis: Axis) -> Drawn | None:
    points, rows = [], []
    for look in looks:
        seen, at = look.get("performance"), _days(look["at"])
        if not isinstance(seen, Mapping) or at is None or not seen.get("rows"):
            continue
        value, count = float(seen["accuracy"]), int(seen["rows"])
        low, high = score_interval(value, math.sqrt(value * (1 - value) / count), count, (0.0, 1.0), 0.025)
        who = f"version {look.get('champion')}"
        points.append(Point(at, value, low, high, f"{who}: {value:.3f} of {count:,} rows"))
        rows.append(Row(str(look["at"]), who, value, low, high, f"{count:,} labelled rows"))
    if not rows:
        return None
    note = "On predictions whose label has come back, with 95 % intervals that take rows as independent."
    series = [Series("accuracy", "candidate", points[::-1])]
    return _drawn("Accuracy in production", series, ("accuracy", note), rows, axis)


def _drawn(title: str, series: Sequence[Series], words: tuple[str, str], rows: Sequence[Row], axis: Axis) -> Drawn:
    measure, note = words
    limits = Limits.over_time([point for one in series for point in one.points], axis.times, axis.marks)
    svg = chart(f"{title} over time", series, ("time, UTC", measure), limits=limits)
    return Drawn(Chart(title, svg, series, note), rows)
