"""approve: keep a person's answer about the candidate, and say whether enough people have agreed."""

from __future__ import annotations

from datetime import datetime

from ftcore import approvals, registry
from ftcore.approvals import Answer
from ftcore.card import request
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
    ``unanswered_h`` says that nobody answered for so many hours. ``pages`` says where the pages are that the request
    links to.

    Under a hold on promotions nobody is asked: by the time of its release another may be champion, and the answer would
    be about a verdict that counts no more. An answer that comes all the same is kept.
    """
    number = context.earlier("gate").figures["candidate"]
    asked = context.recipe.approval
    if asked.required == 0:
        nobody = {"approvals": 0, "rejected": False, "held": False, "refused": "", "answers": []}
        return Outcome(reason="the recipe asks for no approval", figures={"version": number, **nobody})
    registrar = Registrar.of(context.recipe, context.shelf, context.settings)
    refused = _take(context, registrar, number)
    version = registrar.tracking.version(number)
    answers = approvals.read(version.tags)
    counted, missing = approvals.counted(answers, asked), approvals.lacking(answers, asked)
    decided = registry.decided_against(version)
    hold = registrar.held() if missing and not decided else None
    stop = decided or (hold and _held(context, hold)) or (missing and f"version {number} {missing}")
    figures = {
        "version": number,
        "approvals": len(counted),
        "rejected": bool(decided),
        "held": hold is not None,
        "refused": refused,
        "answers": [one.model_dump(mode="json") for one in answers],
    }
    if missing and not decided and not hold:
        figures["request"] = request(context, version)
        stop = f"{stop}{_how(context, number, asked.required - len(counted))}"
    names = ", ".join(one.person for one in counted)
    return Outcome(reason=stop or f"version {number} is approved by {names}", proceed=not stop, figures=figures)


def _how(context: Context, number: int, missing: int) -> str:
    """The command that gives what is missing; where there are pages they ask by themselves."""
    if "pages" in context.params:
        return ""
    name, person = context.recipe.name, "-p person=NAME -p decision=approve"
    if missing > 1:
        return f"; ftcore step approve {name} --run {context.run_id} {person} gives one"
    return f"; to approve: ftcore models promote {name} {number} --by NAME"


def _held(context: Context, hold: registry.Hold) -> str:
    name = context.recipe.name
    return f"nobody is asked while {hold}; after ftcore models release {name} run approve again"


def _take(context: Context, registrar: Registrar, number: int) -> str:
    """Keep who started the run, and the answer that the parameters tell of, if any; returns why it was refused."""
    tracking = registrar.tracking
    if starter := context.params.get("started_by"):
        tracking.tag(tracking.version(number), {approvals.STARTER.removeprefix("ftcore."): starter})
    if hours := context.params.get("unanswered_h"):
        reason = f"nobody answered for {hours} h, so version {number} is not approved"
        key = f"unanswered-{now():%Y%m%d%H%M%S}"
        context.shelf.add_to_ledger("approve", context.run_id, "no answer", reason, key=key, version=number)
    if "person" not in context.params:
        return ""
    given = answer(context)
    refused = registrar.answer(tracking.version(number), given)
    if not refused and given.decision == "reject":
        registrar.turn_down(number, given)
    return refused


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
