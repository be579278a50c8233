"""One model: who is champion and candidate, how its metric went from version to version, and every version there is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.store import ledger
from ftcore.tracking.client import CANDIDATE, CHAMPION, PREVIOUS
from ftcore_airflow.pages import reading, reports
from ftcore_airflow.pages.actions import State
from ftcore_airflow.pages.charts import Limits, Point, Series, chart
from ftcore_airflow.pages.comparison import headline, metrics_of
from ftcore_airflow.pages.decisions import shaped
from ftcore_airflow.pages.tables import Estimate

if TYPE_CHECKING:
    from markupsafe import Markup

    from ftcore.registry.versions import Hold
    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore
    from ftcore_airflow.pages.reading import Product

PER_PAGE = 25
ROLES = (CHAMPION, CANDIDATE, PREVIOUS)


@dataclass(frozen=True)
class Entry:
    """A version as the registry tells of it, and its first metric."""

    facts: Mapping[str, Any]
    """See ``registry.entry``."""
    metric: str = ""
    estimate: Estimate | None = None
    trouble: str = ""
    """Why there is no metric."""

    @property
    def number(self) -> int:
        """Number of the version."""
        return int(self.facts["version"])


@dataclass(frozen=True)
class Page:
    """One page of a model's versions."""

    product: Product
    entries: Sequence[Entry]
    roles: Mapping[str, Entry]
    """The entries of champion, candidate and previous."""
    hold: Hold | None
    trend: Markup | None
    metric: str
    total: int
    page: int
    pages: int
    decisions: Sequence[Mapping[str, Any]]
    """The last few lines of the ledger."""
    drift: Mapping[str, Any] | None
    """What the last watch found, with its run."""
    reports: Mapping[str, str] = field(default_factory=dict)
    """About the current snapshot: see ``snapshot_reports``."""
    trouble: str = ""
    state: State = field(default_factory=State)
    """Of the registry, which decides what a person may do."""


def versions(settings: Settings, product: Product, page: int = 1) -> Page:
    """The page of one model; where MLflow does not answer, what the ledger knows."""
    shelf = reading.shelf_of(settings, product.name)
    lines = ledger.lines(shelf)
    facts, state, trouble = _facts(settings, product.name)
    pages = max(1, -(-len(facts) // PER_PAGE))
    page = min(max(page, 1), pages)
    shown = [entry(shelf, one) for one in facts[(page - 1) * PER_PAGE : page * PER_PAGE]]
    roles = {alias: entry(shelf, one) for alias in ROLES for one in facts if alias in one["aliases"]}
    if CHAMPION in roles and CANDIDATE in roles and roles[CHAMPION].number == roles[CANDIDATE].number:
        del roles[CANDIDATE]  # it was promoted
    metric = next((one.metric for one in shown if one.metric), "")
    title = metrics_of({}, product.recipe).title(metric)
    return Page(
        product,
        shown,
        roles,
        state.hold,
        trend(shown, metric, title),
        title,
        len(facts),
        page,
        pages,
        [shaped({**line, "recipe": product.name}) for line in lines[:6]],
        drift(shelf, lines),
        snapshot_reports(shelf),
        trouble,
        state,
    )


def _facts(settings: Settings, name: str) -> tuple[list[Mapping[str, Any]], State, str]:
    try:
        state = State.read(settings, name)
    except FtcoreError as error:
        return [], State(), str(error)
    return list(state.versions.values()), state, ""


def entry(shelf: RecipeStore, facts: Mapping[str, Any]) -> Entry:
    """A version with its first metric, where it was evaluated."""
    try:
        found = headline(reading.evaluation(shelf, facts["run_id"]))
    except (FtcoreError, OSError) as error:
        return Entry(facts, trouble=str(error))
    return Entry(facts, *found) if found else Entry(facts, trouble="not evaluated")


def trend(entries: Sequence[Entry], metric: str, title: str) -> Markup | None:
    """The metric from version to version, with intervals; None where there are fewer than two."""
    drawn = [one for one in reversed(entries) if one.estimate and one.metric == metric]
    if len(drawn) < 2:
        return None
    points = [_point(one.number, one.estimate) for one in drawn if one.estimate]
    crowned = [point for one, point in zip(drawn, points, strict=True) if one.facts["promoted_at"]]
    series = [Series("not promoted", "champion", points, joined=False), Series("promoted", "candidate", crowned)]
    limits = Limits.around(points, whole=True)
    return chart(f"{title} on the test rows by version", series, ("version", title), limits=limits)


def _point(number: int, estimate: Estimate) -> Point:
    value = float(estimate.value or 0)
    label = f"version {number}: {value:.3f}"
    if estimate.low is not None and estimate.high is not None:
        label += f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return Point(number, value, estimate.low, estimate.high, label)


def drift(shelf: RecipeStore, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Figures of the watch behind the last decision of monitoring; None where nothing was watched yet."""
    for line in lines:
        if line["kind"] == "decide":
            try:
                record = reading.record(shelf, str(line["run_id"]), "watch")
                figures_of_look(record or {})
            except (FtcoreError, OSError, AttributeError, TypeError, ValueError):
                record = None
            return {"run_id": line["run_id"], "at": line["at"], "decision": line["decision"], "record": record}
    return None


def figures_of_look(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Figures of a look at predictions as they are to be: no other can be drawn.

    Raises:
        AttributeError, TypeError, ValueError: they are something else.
    """
    figures: Mapping[str, Any] = record.get("figures") or {}
    seen = figures.get("performance") or {}
    numbers = [one.get(key) for one in figures.get("findings") or () for key in ("score", "threshold")]
    counted = [seen["rows"], seen["accuracy"]] if seen and seen.get("rows") else []
    for one in [*(one for one in numbers if one is not None), *counted]:
        if isinstance(one, bool) or not math.isfinite(one):
            raise ValueError(f"{one!r} is no number")
    if counted and not (counted[0] > 0 and 0 <= counted[1] <= 1):
        raise ValueError(f"{counted[1]!r} of {counted[0]!r} rows is no accuracy")
    return figures


def snapshot_reports(shelf: RecipeStore, identity: str = "") -> dict[str, str]:
    """The reports that are there about a snapshot, the current one by default: title, and path below the model's."""
    from ftcore.data import snapshot

    try:
        identity = identity or snapshot.current(shelf) or ""
        run = str(snapshot.manifest(shelf, identity).get("run_id", "")) if identity else ""
        kinds = [kind for kind in ("snapshot", "validation") if run and reports.find(shelf, kind, run)]
    except (FtcoreError, OSError, ValueError):
        return {}
    return {reports.TITLES[kind]: f"runs/{run}/reports/{kind}" for kind in kinds}
