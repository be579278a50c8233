"""The ledger with filters: who or what decided which thing, when and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from ftcore.store import ledger
from ftcore.store.times import utc
from ftcore_airflow.pages.formats import brief
from ftcore_airflow.pages.reading import shelf_of

if TYPE_CHECKING:
    from ftcore.settings import Settings

PER_PAGE = 50
SHOWN = ("at", "kind", "run_id", "decision", "reason", "recipe", "n", "before", "by")
GOOD = frozenset({"passed", "promoted", "approved", "released"})
UNPROVEN = frozenset({ledger.UNREADABLE, ledger.UNSIGNED})
"""Decisions of lines that are not the platform's, or not as it wrote them."""
BAD = UNPROVEN | {"failed", "rejected", "refused", "abandoned", "lost", "rolled back"}
WAITS = frozenset({"asks", "held", "no answer"})


@dataclass(frozen=True)
class Wanted:
    """What the person asked to see; empty means all."""

    recipe: str = ""
    step: str = ""
    outcome: str = ""
    person: str = ""
    version: int | None = None
    first: date | None = None
    last: date | None = None
    page: int = 1

    def takes(self, line: Mapping[str, Any]) -> bool:
        """Whether a line of a recipe that is asked for is itself asked for."""
        at = utc(line["at"]) if self.first or self.last else None
        day = at.date() if at else None
        return (
            self.step in ("", line["kind"])
            and self.outcome in ("", line["decision"])
            and self.person in ("", person_of(line))
            and self.version in (None, version_of(line))
            and not (self.first and (day is None or day < self.first))
            and not (self.last and (day is None or day > self.last))
        )

    def query(self) -> dict[str, str]:
        """The filter as the query of a link, without the page."""
        asked: dict[str, Any] = {
            "recipe": self.recipe,
            "step": self.step,
            "outcome": self.outcome,
            "person": self.person,
        }
        asked |= {"version": self.version, "from": self.first, "to": self.last}
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
    outcomes: Sequence[str] = ()
    people: Sequence[str] = field(default=())


def lines_of(settings: Settings, recipes: Iterable[str], wanted: Wanted) -> list[dict[str, Any]]:
    """The lines of some recipes that are asked for, each with its ``recipe``, the newest first."""
    taken = _taken(_ledgers(settings, recipes), wanted)
    return [{**line, "recipe": name} for name, line in taken]


def decisions(settings: Settings, recipes: Iterable[str], wanted: Wanted) -> Decisions:
    """Lines of some recipes, the newest first."""
    every = _ledgers(settings, recipes)
    taken = _taken(every, wanted)
    pages = max(1, -(-len(taken) // PER_PAGE))
    page = min(max(wanted.page, 1), pages)
    shown = taken[(page - 1) * PER_PAGE : page * PER_PAGE]
    found = {(str(one["kind"]), str(one["decision"]), person_of(one)) for lines in every.values() for one in lines}
    return Decisions(
        [shaped({**line, "recipe": name}) for name, line in shown],
        len(taken),
        page,
        pages,
        wanted,
        list(every),
        sorted({kind for kind, _, _ in found}),
        sorted({decision for _, decision, _ in found}),
        sorted({person for _, _, person in found if person}),
    )


def _ledgers(settings: Settings, recipes: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    return {name: ledger.lines(shelf_of(settings, name)) for name in recipes}


def _taken(ledgers: Mapping[str, Sequence[dict[str, Any]]], wanted: Wanted) -> list[tuple[str, dict[str, Any]]]:
    """Name of the recipe and line, of those that are asked for, the newest first."""
    found = [
        (name, line)
        for name, lines in ledgers.items()
        if wanted.recipe in ("", name)
        for line in lines
        if wanted.takes(line)
    ]
    return sorted(found, key=lambda one: str(one[1]["at"]), reverse=True)


def person_of(line: Mapping[str, Any]) -> str:
    """Who decided; empty where it was the loop."""
    return str(line.get("by") or "")


def version_of(line: Mapping[str, Any]) -> int | None:
    """The version that a line is about; None where it is about none."""
    return next((line[key] for key in ("version", "candidate") if isinstance(line.get(key), int)), None)


def shaped(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line with the class of its badge, its version, its reason in short and what else it says."""
    more = {key: value for key, value in line.items() if key not in SHOWN and value not in (None, "", [], {})}
    short = brief(line["reason"]) if line["kind"] == "gate" else str(line["reason"])
    return {**line, "look": look(str(line["decision"])), "more": more, "version": version_of(line), "short": short} | {
        "person": person_of(line),
        "proven": line["decision"] not in UNPROVEN,
    }


def look(decision: str) -> str:
    """Class of a decision's badge."""
    if decision in WAITS:
        return "wait"
    return "good" if decision in GOOD else "bad" if decision in BAD else "calm"
