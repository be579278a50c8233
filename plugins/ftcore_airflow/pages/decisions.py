"""The ledger with filters: who or what decided which thing, when and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from ftcore import ledger
from ftcore_airflow.pages.formats import brief, moment
from ftcore_airflow.pages.reading import shelf_of

if TYPE_CHECKING:
    from ftcore.settings import Settings

PER_PAGE = 50
SHOWN = ("at", "kind", "run_id", "decision", "reason", "recipe")
GOOD = frozenset({"passed", "promoted", "approved", "released"})
BAD = frozenset({"failed", "rejected", "refused", "abandoned", "unreadable", "lost", "rolled back"})
WAITS = frozenset({"asks", "held", "no answer"})


@dataclass(frozen=True)
class Wanted:
    """What the person asked to see; empty means all."""

    recipe: str = ""
    step: str = ""
    outcome: str = ""
    first: date | None = None
    last: date | None = None
    page: int = 1

    def takes(self, line: Mapping[str, Any]) -> bool:
        """Whether a line is among what was asked for."""
        at = moment(line["at"])
        day = at.date() if at else None
        return (
            self.recipe in ("", line["recipe"])
            and self.step in ("", line["kind"])
            and self.outcome in ("", line["decision"])
            and not (self.first and (day is None or day < self.first))
            and not (self.last and (day is None or day > self.last))
        )

    def query(self) -> dict[str, str]:
        """The filter as the query of a link, without the page."""
        asked = {"recipe": self.recipe, "step": self.step, "outcome": self.outcome, "from": self.first, "to": self.last}
        return {key: str(value) for key, value in asked.items() if value}


@dataclass(frozen=True)
class Decisions:
    """One page of the ledger."""

    lines: Sequence[Mapping[str, Any]]
    """Each with ``recipe``, ``look`` and ``more``, the figures beside the reason."""
    total: int
    page: int
    pages: int
    wanted: Wanted
    recipes: Sequence[str] = ()
    steps: Sequence[str] = ()
    outcomes: Sequence[str] = field(default=())


def decisions(settings: Settings, recipes: Iterable[str], wanted: Wanted) -> Decisions:
    """Lines of some recipes, the newest first."""
    names = list(recipes)
    every = [{**line, "recipe": name} for name in names for line in ledger.lines(shelf_of(settings, name))]
    every.sort(key=lambda line: str(line["at"]), reverse=True)
    taken = [line for line in every if wanted.takes(line)]
    pages = max(1, -(-len(taken) // PER_PAGE))
    page = min(max(wanted.page, 1), pages)
    shown = taken[(page - 1) * PER_PAGE : page * PER_PAGE]
    return Decisions(
        [shaped(line) for line in shown],
        len(taken),
        page,
        pages,
        wanted,
        names,
        sorted({str(line["kind"]) for line in every}),
        sorted({str(line["decision"]) for line in every}),
    )


def shaped(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line with the class of its badge, its version, its reason in short and what else it says."""
    more = {key: value for key, value in line.items() if key not in SHOWN and value not in (None, "", [], {})}
    version = next((line[key] for key in ("version", "candidate") if isinstance(line.get(key), int)), None)
    short = brief(line["reason"]) if line["kind"] == "gate" else str(line["reason"])
    return {**line, "look": look(str(line["decision"])), "more": more, "version": version, "short": short}


def look(decision: str) -> str:
    """Class of a decision's badge."""
    if decision in WAITS:
        return "wait"
    return "good" if decision in GOOD else "bad" if decision in BAD else "calm"
