"""All models and their state: one request to MLflow, one query to Airflow, and the ledgers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.registry import versions
from ftcore.store import ledger
from ftcore.tracking.client import CANDIDATE, CHAMPION
from ftcore_airflow.pages.decisions import version_of
from ftcore_airflow.pages.reading import Product, products, shelf_of

if TYPE_CHECKING:
    from ftcore.registry.versions import Hold
    from ftcore.settings import Settings
    from ftcore.tracking.registered import Model
    from ftcore_airflow.pages.access import Question

PER_PAGE = 50


@dataclass(frozen=True)
class State:
    """How a model stands, in a word or two."""

    word: str
    look: str
    """Class of the badge: ``good``, ``bad``, ``wait`` or ``calm``."""


@dataclass(frozen=True)
class Row:
    """One model of the list."""

    product: Product
    aliases: Mapping[str, int]
    hold: Hold | None
    verdict: Mapping[str, Any] | None
    """The last line of the gate."""
    decision: Mapping[str, Any] | None
    """The last line of any kind."""
    question: Question | None
    known: bool = True
    """Whether MLflow answered."""

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return self.product.name

    @property
    def decision_version(self) -> int | None:
        """The version that the last decision is about."""
        return version_of(self.decision) if self.decision else None

    @property
    def state(self) -> State:
        """What a person wants to know first."""
        champion, candidate = self.aliases.get(CHAMPION), self.aliases.get(CANDIDATE)
        if self.product.fault:
            return State("recipe has faults", "bad")
        if self.question:
            return State("waits for approval", "wait")
        if self.hold:
            return State("on hold", "wait")
        if not self.known:
            return State("unknown", "calm")
        if champion:
            return State("in production", "good")
        return State("candidate, no champion", "wait") if candidate else State("no model yet", "calm")

    def version(self, alias: str) -> int | None:
        """Number of the version that holds an alias; a candidate that was promoted is none any more."""
        number = self.aliases.get(alias)
        return None if alias == CANDIDATE and number == self.aliases.get(CHAMPION) else number


@dataclass(frozen=True)
class Overview:
    """The list of models, one page of it."""

    rows: Sequence[Row]
    total: int
    page: int
    pages: int
    tally: Mapping[str, int]
    """How many models stand how, over all pages."""
    trouble: str = ""
    """Why a part is missing."""


def names(settings: Settings, trouble: list[str]) -> dict[str, tuple[Product, Model | None]]:
    """Every recipe, with its registered model where MLflow answers."""
    models: dict[str, Model] = {}
    try:
        models = {model.name: model for model in versions.models(settings)}
    except FtcoreError as error:
        trouble.append(str(error))
    return {one.name: (one, models.get(one.name)) for one in products(settings)}


def overview(
    settings: Settings,
    found: Mapping[str, tuple[Product, Model | None]],
    questions: Mapping[str, Sequence[Question]],
    *,
    query: str = "",
    page: int = 1,
    trouble: Sequence[str] = (),
) -> Overview:
    """Rows of the models that a person may see, those that wait for somebody first.

    Args:
        settings: tell where the store is.
        found: the recipes that the person may read, by name.
        questions: open approvals by recipe.
        query: part of a name or description; empty shows all.
        page: from 1.
        trouble: what could not be read.
    """
    wanted = query.strip().lower()
    rows = [
        _row(settings, product, model, questions.get(name, ()), known=not trouble)
        for name, (product, model) in found.items()
        if wanted in name.lower() or wanted in product.description.lower()
    ]
    rows.sort(key=lambda row: (("wait", "bad", "good", "calm").index(row.state.look), row.name))
    tally: dict[str, int] = {}
    for row in rows:
        tally[row.state.word] = tally.get(row.state.word, 0) + 1
    pages = max(1, -(-len(rows) // PER_PAGE))
    page = min(max(page, 1), pages)
    shown = rows[(page - 1) * PER_PAGE : page * PER_PAGE]
    return Overview(shown, len(rows), page, pages, tally, " ".join(trouble))


def _row(
    settings: Settings, product: Product, model: Model | None, questions: Sequence[Question], *, known: bool
) -> Row:
    lines = ledger.lines(shelf_of(settings, product.name))
    return Row(
        product,
        dict(model.aliases) if model else {},
        versions.hold_of(model) if model else None,
        next((line for line in lines if line["kind"] == "gate"), None),
        lines[0] if lines else None,
        questions[0] if questions else None,
        known,
    )
