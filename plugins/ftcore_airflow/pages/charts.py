"""Charts as inline SVG: no script, no style attributes, colours from the style sheet, so that they follow the theme.

Text beside an interval is HTML in the table around it; a chart with axes is drawn small and never scaled down, so that
its labels stay readable on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from markupsafe import Markup

WIDTH, HEIGHT = 360, 216
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 34


@dataclass(frozen=True)
class Point:
    """A value with its interval."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    label: str = ""
    """Shown when pointed at."""


@dataclass(frozen=True)
class Series:
    """Points of one name; ``look`` is a class of the style sheet: ``candidate``, ``champion``, ``plain``."""

    name: str
    look: str
    points: Sequence[Point]
    joined: bool = True


def domain(values: Iterable[float | None], *, pad: float = 0.06) -> tuple[float, float]:
    """Smallest and largest finite value with some room; (0, 1) where there is none."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    room = (high - low) * pad or abs(high) * pad or 0.5
    return low - room, high + room


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers between two values, about ``count`` of them."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def days(low: float, high: float) -> list[tuple[float, str]]:
    """Three places between two times, both in days since 1970, with their dates in UTC; within 4 days with the hour."""
    span = high - low
    form = "%b %Y" if span > 300 else "%d %b" if span > 4 else "%d %b %H:%M"
    places = [low + span * share for share in (0.16, 0.5, 0.84)]
    if span > 4:
        places = [float(round(place)) for place in places]
    return [(place, f"{EPOCH + timedelta(days=place):{form}}") for place in places]


def strip(points: Sequence[tuple[str, Point]], limits: tuple[float, float], mark: float | None = None) -> Markup:
    """Values with intervals on one line, for a cell of a table: as wide as the cell.

    Args:
        points: look and value, drawn one below the other.
        limits: ends of the axis, the same for all rows of a table.
        mark: a place to show, such as zero or the bound of a gate.
    """
    low, high = limits

    def at(value: float) -> float:
        return round(min(max((value - low) / ((high - low) or 1), 0), 1) * 1000, 1)

    lines = [] if mark is None else [_line(at(mark), 0, at(mark), 100, "mark")]
    for number, (look, point) in enumerate(points):
        y = 100 * (number + 1) / (len(points) + 1)
        if point.low is not None and point.high is not None:
            lines.append(_line(at(point.low), y, at(point.high), y, f"range {look}"))
        lines.append(_line(at(point.y), y, at(point.y), y, f"dot {look}"))
    body = Markup("").join(lines)
    return Markup(
        '<svg class="strip" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        "{}</svg>"
    ).format(body)


def bar(value: float, largest: float, look: str) -> Markup:
    """A value as a bar, for a cell of a table."""
    width = round(1000 * min(max(value / largest, 0), 1) if largest else 0, 1)
    return Markup(
        '<svg class="bar {}" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<rect width="1000" height="10" class="track"/><rect width="{}" height="10" class="fill"/></svg>'
    ).format(look, width)


def chart(title: str, series: Sequence[Series], axes: tuple[str, str], *, limits: Limits | None = None) -> Markup:
    """Lines and points over two axes.

    Args:
        title: what a screen reader says of it.
        series: what is drawn.
        axes: names of the axes, x first.
        limits: ends of the axes; those of the points by default.
    """
    points = [point for one in series for point in one.points]
    frame = _Frame(limits or Limits.around(points))
    body = Markup("").join([frame.axes(*axes), *(frame.series(one) for one in series)])
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>{}</svg>').format(
        WIDTH, HEIGHT, title, title, body
    )


@dataclass(frozen=True)
class Limits:
    """Ends of both axes."""

    x: tuple[float, float]
    y: tuple[float, float]
    diagonal: bool = False
    """Whether to draw the line on which x equals y."""
    whole: bool = False
    """Whether x counts things."""
    time: bool = False
    """Whether x is a time, in days since 1970."""
    marks: Sequence[tuple[float, str]] = ()
    """Places on x with a name, in their order, such as promotions."""

    @classmethod
    def around(cls, points: Sequence[Point], *, whole: bool = False) -> Limits:
        """Limits that hold all points with their intervals."""
        x = domain([point.x for point in points], pad=0.03)
        y = domain([value for point in points for value in (point.y, point.low, point.high)])
        return cls(x, y, whole=whole)

    @classmethod
    def over_time(cls, points: Sequence[Point], times: Sequence[float], marks: Sequence[tuple[float, str]]) -> Limits:
        """Limits that hold all points and some times besides, so that charts can have the same axis."""
        low, high = domain([*times, *(point.x for point in points)], pad=0.03)
        if high - low < 1 / 24:
            low, high = low - 1 / 48, high + 1 / 48
        return cls((low, high), cls.around(points).y, time=True, marks=marks)


@dataclass(frozen=True)
class _Frame:
    limits: Limits

    def x(self, value: float) -> float:
        low, high = self.limits.x
        return round(LEFT + (value - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        low, high = self.limits.y
        return round(HEIGHT - BOTTOM - (value - low) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM), 1)

    def axes(self, x_name: str, y_name: str) -> Markup:
        found = []
        for value in ticks(*self.limits.y):
            found += [_line(LEFT, self.y(value), WIDTH - RIGHT, self.y(value), "grid")]
            found += [_text(LEFT - 6, self.y(value) + 4, _number(value), "end")]
        for value, text in self._below():
            found += [_text(self.x(value), HEIGHT - BOTTOM + 16, text, "middle")]
        found += self._marks()
        found += [_text(WIDTH - RIGHT, HEIGHT - 3, x_name, "end", "axis"), _text(2, TOP, y_name, "start", "axis")]
        if self.limits.diagonal:
            (x1, x2), (y1, y2) = self.limits.x, self.limits.y
            found.append(_line(self.x(x1), self.y(y1), self.x(x2), self.y(y2), "mark"))
        return Markup("").join(found)

    def _below(self) -> list[tuple[float, str]]:
        if self.limits.time:
            return days(*self.limits.x)
        values = ticks(*self.limits.x)
        return [(value, _number(value)) for value in values if not self.limits.whole or value == int(value)]

    def _marks(self) -> list[Markup]:
        """A line for each mark; where names would run into each other only the last one is written."""
        found, right = [], float(WIDTH)
        for value, name in reversed(self.limits.marks):
            x = self.x(value)
            found.append(_line(x, TOP, x, HEIGHT - BOTTOM, "mark"))
            if right - x > 7 * len(name) + 4:
                found.append(_text(x + 3, TOP + 9, name, "start"))
                right = x
        return found

    def series(self, one: Series) -> Markup:
        drawn = [point for point in one.points if math.isfinite(point.x) and math.isfinite(point.y)]
        places = [(self.x(point.x), self.y(point.y)) for point in drawn]
        path = Markup("")
        if one.joined and len(places) > 1:
            path = Markup('<polyline class="line {}" points="{}"/>').format(
                one.look, " ".join(f"{x},{y}" for x, y in places)
            )
        found = [path]
        for point, (x, y) in zip(drawn, places, strict=True):
            if point.low is not None and point.high is not None:
                found.append(_line(x, self.y(point.low), x, self.y(point.high), f"range {one.look}"))
            if len(drawn) <= 60:  # beyond that a line of dots is a band
                found.append(
                    Markup('<circle class="dot {}" cx="{}" cy="{}" r="3.5"><title>{}</title></circle>').format(
                        one.look, x, y, point.label or f"{one.name}: {_number(point.x)}, {_number(point.y)}"
                    )
                )
        return Markup("").join(found)


def _line(x1: float, y1: float, x2: float, y2: float, look: str) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(x1, y1, x2, y2, look)


def _text(x: float, y: float, text: str, anchor: str, look: str = "tick") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(x, y, anchor, look, text)


def _number(value: float) -> str:
    return f"{value:,.4g}"
