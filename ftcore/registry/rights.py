"""Who is logged in may decide at a terminal what they may on the pages, by the same rights of Airflow's.

Airflow's API has no question "may I?". So it is sent what it cannot do, an answer to no question or a change without
its fields: it says first whether this user may, and changes nothing. Without a login this machine's user decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError, TransientError
from ftcore.registry import login
from ftcore.registry.login import Person

if TYPE_CHECKING:
    from ftcore.settings import Settings

LONGEST_REASON = 4_000
"""Characters."""
NO_RUN = "ftcore-asks-who-may-answer"
"""Name of a run that there is none of."""
IMPOSSIBLE = (400, 404, 422)
"""What Airflow answers to those who may do what cannot be done."""


@dataclass(frozen=True)
class _Asked:
    """A request that Airflow refuses for its contents to those who may make it, and as forbidden to all others."""

    words: str
    """What it takes the right to."""
    method: str
    path: str
    body: dict[str, Any] = field(default_factory=dict)


_ANSWER = _Asked(
    "answer what {dag} asks in Airflow",
    "PATCH",
    f"/api/v2/dags/{{dag}}/dagRuns/{NO_RUN}/taskInstances/approve/-1/hitlDetails",
    {"chosen_options": ["Approve"], "params_input": {}},
)
_EDIT = _Asked("edit {dag} in Airflow", "PATCH", "/api/v2/dags/{dag}")
_EVENTS = _Asked("create asset events in Airflow", "POST", "/api/v2/assets/events")
ANSWER, CHANGE, HOLD = "answer", "change", "hold"
"""Approve; decide what serves, or what never will; pause automatic promotion."""
_RIGHTS = {ANSWER: (_ANSWER,), CHANGE: (_ANSWER, _EVENTS), HOLD: (_EDIT,)}
_HINTS = {ANSWER: "and cannot approve", CHANGE: "and cannot decide this", HOLD: "and cannot decide this"}


def decider(settings: Settings, recipe: str, right: str) -> Person:
    """Who decides about a recipe: whoever is logged in, where Airflow lets them, else the user of this machine.

    Args:
        settings: where login and Airflow are.
        recipe: its name.
        right: ``ANSWER``, ``CHANGE`` or ``HOLD``, as on the pages.

    Raises:
        FtcoreError: whoever is logged in may not, or the login has ended.
        TransientError: Airflow does not answer.
    """
    person, dag = login.whoever(settings), f"finetune__{recipe}"
    if not person.logged_in:
        return person
    for asked in _RIGHTS[right]:
        answer = login.ask(settings, asked.method, asked.path.format(dag=dag), asked.body)
        if answer in (401, 403):
            what = f"{person.name} may not {asked.words.format(dag=dag)}, {_HINTS[right]}"
            raise FtcoreError(what, hint="a person with that permission can; ftcore whoami says who is logged in")
        if answer not in IMPOSSIBLE:
            raise TransientError(f"Airflow at {login.address(settings)} answers {answer}")
    return person if right == HOLD else Person(person.name, {**person.witness, "may_answer": dag})


def approver(settings: Settings, recipe: str) -> Person:
    """Who is logged in, where Airflow lets them answer what a recipe's DAG asks: who may only look approves nothing.

    Raises:
        FtcoreError: nobody is logged in, or they may not.
        TransientError: Airflow does not answer.
    """
    person = decider(settings, recipe, ANSWER)
    if not person.logged_in:
        raise FtcoreError(login.NO_LOGIN, hint=login.HINT)
    return person


def named(by: str, reason: str, *, needed: bool = True) -> None:
    """Check that somebody says who they are and why.

    Raises:
        FtcoreError: a name is missing, or a reason where one is needed, or it is too long.
    """
    short(reason)
    if not by.strip():
        raise FtcoreError("no person is named", hint=login.HINT)
    if needed and not reason.strip():
        raise FtcoreError("a reason is missing", hint="--reason '…'")


def short(reason: str) -> None:
    """Check that a reason can be kept: MLflow's tags hold 5,000 characters.

    Raises:
        FtcoreError: it is too long.
    """
    if len(reason) > LONGEST_REASON:
        hint = "say it in short, and name where the rest is written down"
        raise FtcoreError(
            f"a reason has at most {LONGEST_REASON:,} characters; this one has {len(reason):,}", hint=hint
        )
