"""approve: keep a person's answer about the candidate, and say whether enough people have agreed."""

from __future__ import annotations

from datetime import datetime

from ftcore import approvals, registry
from ftcore.approvals import Answer
from ftcore.context import Context, Outcome
from ftcore.errors import FtcoreError
from ftcore.promotion import Registrar
from ftcore.records import now

NEEDS = ()
LOOKS_AGAIN = True
"""What is missing may have come since: a stop is not taken from the record."""


def run(context: Context) -> Outcome:
    """Say whether the candidate has the approvals that the recipe asks for; with ``person``, take an answer first.

    The parameters of an answer are ``person``, ``decision`` (``approve`` or ``reject``), ``why``, ``answered_at`` and
    ``started_by``, the person who started the run. An answer that may not count is refused in ``figures.refused``.
    """
    number = context.earlier("gate").figures["candidate"]
    asked = context.recipe.approval
    if asked.required == 0:
        return Outcome(reason="the recipe asks for no approval", figures={"version": number, "answers": []})
    registrar = Registrar.of(context.recipe, context.shelf, context.settings)
    refused = ""
    if context.params.get("person"):
        given = answer(context)
        refused = registrar.answer(registrar.tracking.version(number), given)
        if not refused and given.decision == "reject":
            registrar.turn_down(number, given)
    version = registrar.tracking.version(number)
    answers = approvals.read(version.tags)
    missing = approvals.lacking(answers, asked)
    stop = registry.decided_against(version) or (missing and f"version {number} {missing}")
    names = ", ".join(one.person for one in approvals.counted(answers, asked))
    return Outcome(
        reason=stop or f"version {number} is approved by {names}",
        proceed=not stop,
        figures={
            "version": number,
            "refused": refused,
            "rejected": bool(registry.decided_against(version)),
            "answers": [one.model_dump(mode="json") for one in answers],
        },
    )


def answer(context: Context) -> Answer:
    """The answer that the step's parameters tell of.

    Raises:
        FtcoreError: the decision is neither ``approve`` nor ``reject``.
    """
    given = context.params
    if given.get("decision") not in ("approve", "reject"):
        raise FtcoreError(f"an answer is approve or reject, not {given.get('decision', '')!r}")
    return Answer.model_validate(
        {
            "person": given["person"],
            "decision": given["decision"],
            "at": datetime.fromisoformat(given["answered_at"]) if given.get("answered_at") else now(),
            "reason": given.get("why", ""),
            "run_id": context.run_id,
            "started_by": given.get("started_by", ""),
        }
    )
