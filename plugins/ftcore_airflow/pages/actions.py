"""What a person may change from the pages: which action is possible now, and what it would do.

Every action is a person's whom Airflow has logged in, for a reason, confirmed in a second step. An approval or a
rejection that Airflow waits for is given to Airflow (``answers``); all else is done by the registrar (``changes``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftcore.recipe.canonical import same_person
from ftcore.registry import approvals, intents
from ftcore.registry import versions as registry
from ftcore.store import ledger
from ftcore.store.store import shelf
from ftcore.tracking.client import CANDIDATE, CHAMPION, PREVIOUS, Tracking

if TYPE_CHECKING:
    from ftcore.registry.versions import Hold
    from ftcore.settings import Settings
    from ftcore_airflow.pages.access import Question, Rights
    from ftcore_airflow.pages.reading import Product


@dataclass(frozen=True)
class Action:
    """One thing that a person may do."""

    name: str
    title: str
    button: str
    explained: str
    right: str
    """Field of ``Rights`` that it takes."""
    of_version: bool = False
    """Whether it is about one version."""
    reason_needed: bool = True
    danger: bool = False
    """Whether it changes what serves, or ends a version's way."""


ACTIONS = {
    one.name: one
    for one in (
        Action(
            "approve",
            "Approve",
            "Approve",
            "Airflow records your approval as the answer to its question; the next step of the DAG run takes it over.",
            "answer",
            of_version=True,
            reason_needed=False,
        ),
        Action(
            "reject",
            "Reject",
            "Reject",
            "A rejected version is no candidate any more, and automatic promotion never makes it champion.",
            "change",
            of_version=True,
            danger=True,
        ),
        Action(
            "rollback",
            "Roll back",
            "Roll back",
            "The previous champion serves again, and automatic promotion is paused until a person resumes it.",
            "change",
            danger=True,
        ),
        Action(
            "hold",
            "Pause automatic promotion",
            "Pause",
            "New versions are trained and evaluated, but none becomes champion until a person resumes promotion.",
            "hold",
        ),
        Action(
            "release",
            "Resume automatic promotion",
            "Resume",
            "A version that passes its gates and has its approvals becomes champion again without further notice.",
            "change",
        ),
    )
}
DONE = {"approve": "approved", "reject": "rejected"}
NEEDED = {
    "answer": "the permission to answer the required actions of {dag}",
    "change": "the permissions to answer the required actions of {dag} and to create asset events",
    "hold": "the permission to edit {dag}",
}


@dataclass(frozen=True)
class State:
    """How a recipe's registry stands, as far as an action depends on it."""

    aliases: Mapping[str, int] = field(default_factory=dict)
    hold: Hold | None = None
    versions: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """``registry.entry`` by number."""
    tags: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """Tags of the versions by number."""
    model_tags: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """The ledger's lines about plans, verdicts, approvals and promotions, by version."""

    @property
    def head(self) -> str | None:
        """The newest line of the ledger as the registered model keeps it; None where it keeps none."""
        return self.model_tags.get(f"ftcore.{intents.HEAD_TAG}")

    @classmethod
    def read(cls, settings: Settings, name: str) -> State:
        """The state of a recipe's registry now.

        Raises:
            TransientError: MLflow does not answer.
        """
        book = registry.book(Tracking(settings, name))
        runs = {one.number: one.tags.get("ftcore.run", "") for one in book.versions}
        about = _by_version(ledger.lines(shelf(settings, name)), runs)
        entries = {one.number: registry.entry(one, book.model, about.get(one.number, ())) for one in book.versions}
        tags = {one.number: one.tags for one in book.versions}
        return cls(dict(book.model.aliases), book.hold, entries, tags, book.model.tags, about)

    def started(self, number: int | None, person: str) -> bool:
        """Whether a person started the run that made a version, as the ledger knows it."""
        run_id = self.versions.get(number or 0, {}).get("run_id", "")
        names = approvals.starters(self.about.get(number or 0, ()), number or 0, run_id)
        return same_person(person) in {same_person(name) for name in names}


def _by_version(lines: Sequence[Mapping[str, Any]], runs: Mapping[int, str]) -> dict[int, list[Mapping[str, Any]]]:
    """Lines about approvals, verdicts and promotions by the version that they are about, with the plans of its runs."""
    found: dict[int, list[Mapping[str, Any]]] = {number: [] for number in runs}
    plans: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        number = line.get("candidate" if line["kind"] == "gate" else "version")
        if line["kind"] == "plan":
            plans.setdefault(str(line["run_id"]), []).append(line)
        elif line["kind"] in (approvals.KIND, "gate", "promote") and isinstance(number, int):
            found.setdefault(number, []).append(line)
    for number, about in found.items():
        for run_id in {runs.get(number, ""), *(str(line["run_id"]) for line in about)}:
            about.extend(plans.get(run_id, ()))
    return found


@dataclass(frozen=True)
class Proposal:
    """What a person wants to do."""

    action: Action
    product: Product
    state: State
    number: int | None
    """The version that it is about; None where it is about the model."""
    question: Question | None
    """What Airflow asks about that version."""

    @property
    def through_airflow(self) -> bool:
        """Whether it answers Airflow's question."""
        return self.action.name == "approve" or (self.action.name == "reject" and self.question is not None)

    def allowed(self, rights: Rights) -> bool:
        """Whether a person with these rights may do it."""
        return rights.answer if self.through_airflow else bool(getattr(rights, self.action.right))

    @property
    def needed(self) -> str:
        """The right that it takes, in words."""
        right = "answer" if self.through_airflow else self.action.right
        return NEEDED[right].format(dag=f"finetune__{self.product.name}")

    @property
    def obstacle(self) -> str:
        """Why it cannot be done now, as a sentence; empty where it can."""
        if self.product.recipe is None:
            return "The recipe cannot be read, so nothing can be changed here."
        return str(getattr(self, f"_{self.action.name}")())

    def obstacle_for(self, person: str) -> str:
        """Why this person cannot do it now, as a sentence; empty where they can."""
        if self.action.name == "approve" and self.state.started(self.number, person):
            return f"You started the run that made version {self.number}; another person must approve it."
        return self.obstacle

    def facts(self, user: str) -> dict[str, Any]:
        """What a form's token stands for: the person, the action, and all that it depends on."""
        about = self.state.versions.get(self.number or 0, {})
        return {
            "user": user,
            "recipe": self.product.name,
            "action": self.action.name,
            "version": self.number,
            "aliases": self.state.aliases,
            "hold": str(self.state.hold or ""),
            "decided": [about.get(registry.REJECTED), about.get(registry.ROLLED_BACK), about.get("verdict_sha256")],
            "question": self.question.api if self.question else "",
        }

    @property
    def effects(self) -> list[tuple[str, str, str]]:
        """What it changes: a thing, how it is now, how it will be."""
        champion, previous = (self.state.aliases.get(alias) for alias in (CHAMPION, PREVIOUS))
        paused = ("Automatic promotion", "paused" if self.state.hold else "on")
        if self.action.name == "rollback":
            return [("Champion", _v(champion), _v(previous)), (*paused, "paused")]
        if self.action.name in ("hold", "release"):
            return [(*paused, "paused" if self.action.name == "hold" else "on")]
        about = self.state.versions.get(self.number or 0, {})
        changed = [(_v(self.number).capitalize(), str(about.get("state", "")), DONE[self.action.name])]
        if self.action.name == "reject" and self.state.aliases.get(CANDIDATE) == self.number:
            changed.append(("Candidate", _v(self.number), "none"))
        return changed

    def _approve(self) -> str:
        return "" if self.question else f"Airflow has no open question about version {self.number}."

    def _reject(self) -> str:
        about = self.state.versions.get(self.number or 0)
        if about is None:
            return f"{self.product.name} has no version {self.number}."
        if CHAMPION in about["aliases"]:
            return f"Version {self.number} is champion; roll back instead."
        if (note := about[registry.REJECTED]) and not self.question:
            return f"Version {self.number} was rejected by {note['by']} already."
        return ""

    def _rollback(self) -> str:
        return "" if self.state.aliases.get(PREVIOUS) else "There is no previous champion to roll back to."

    def _hold(self) -> str:
        return f"Already on hold: {self.state.hold}." if self.state.hold else ""

    def _release(self) -> str:
        return "" if self.state.hold else "Automatic promotion is not paused."


def offered(
    product: Product, state: State, rights: Rights, about: Sequence[tuple[int | None, Question | None]]
) -> list[Proposal]:
    """The actions that a person may take now.

    Args:
        product: the model.
        state: of its registry.
        rights: of the person.
        about: versions, each with what Airflow asks about it; None for the model itself.
    """
    found = [
        Proposal(action, product, state, number, question)
        for number, question in about
        for action in ACTIONS.values()
        if action.of_version == (number is not None)
    ]
    return [one for one in found if one.allowed(rights) and not one.obstacle]


def _v(number: int | None) -> str:
    return f"version {number}" if number else "none"
