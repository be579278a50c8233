"""What is said of a model that writes: a judge's preference, and what its training did to its language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftcore_airflow.pages.charts import strip
from ftcore_airflow.pages.tables import Estimate, Json, Metrics, Table, part, tables

if TYPE_CHECKING:
    from markupsafe import Markup

EVEN = 0.5
"""Win rate of a candidate that is as good as the champion."""


@dataclass(frozen=True)
class Opinion:
    """How often a judge preferred the candidate's answer to the champion's."""

    model: str
    host: str
    rows: int
    counts: Sequence[tuple[str, int]]
    """``wins``, ``ties``, ``losses``, ``undecided``."""
    win_rate: Estimate | None
    """A tie is half a win; None where nothing clear was said."""
    agreement: Estimate | None
    """Share of the rows on which the judge said the same in both orders."""
    plot: Markup | None
    """The win rate beside even."""
    look: str
    """``better`` or ``worse`` where the interval leaves out even."""


@dataclass(frozen=True)
class GeneralText:
    """Base model, champion and candidate on texts of no domain."""

    rows: int
    tables: Sequence[Table]
    """By metric, a line for each model that the candidate is compared with."""


def opinion(evaluation: Json) -> Opinion | None:
    """What the judge said; None where nobody was asked."""
    if not (found := part(evaluation, "judge")):
        return None
    rate, agreement = (Estimate.of(found.get(name)) for name in ("win_rate", "agreement"))
    look, plot = "", None
    if rate:
        plot = strip([("candidate", rate.point())], (0.0, 1.0), mark=EVEN)
        sure = rate.low is not None and rate.high is not None and not rate.low <= EVEN <= rate.high
        look = "" if not sure else "better" if float(rate.value or 0) > EVEN else "worse"
    counts = [(name, int(found[name])) for name in ("wins", "ties", "losses", "undecided")]
    return Opinion(str(found["model"]), str(found["host"]), int(found["rows"]), counts, rate, agreement, plot, look)


def general_text(evaluation: Json) -> GeneralText | None:
    """What each model makes of general texts; None where none were read. Each metric improves when it falls."""
    if not (found := part(evaluation, "general_text")):
        return None
    sides = dict(part(found, "metrics"))
    mine = sides.pop("candidate")
    how = Metrics(frozenset(mine))
    against = [name for name in ("base", "champion") if name in sides]
    return GeneralText(int(found["rows"]), tables(dict.fromkeys(against, mine), sides, part(found, "differences"), how))
