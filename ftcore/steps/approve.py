"""approve: keep a person's answer about the candidate, and say whether enough people have agreed."""

from __future__ import annotations

from typing import Any

from ftcore.context import Context, Outcome
from ftcore.errors import FtcoreError
from ftcore.recipe.canonical import canonical, sha256
from ftcore.registry import approvals, login, rights, versions
from ftcore.registry.approvals import Answer
from ftcore.registry.handover import current, handed
from ftcore.registry.promotion import ModelRegistry
from ftcore.reports.card import request
from ftcore.store.records import now

NEEDS = ()
APPROVE = "Approve"
"""The option of Airflow's question that approves."""
RERUN_IF_STOPPED = True
"""What is missing may have come since: a stop is not taken from the record."""


def run(context: Context) -> Outcome:
    """Say whether the candidate has the approvals that the recipe asks for; take an answer first, where there is one.

    An answer is Airflow's record of one, sealed by the task that waited for it in the parameter ``answer``; or, at a
    terminal, the parameter ``decision`` (``approve`` or ``reject``) with ``why`` of whoever is logged in. One that may
    not count is refused in ``figures.refused``. ``asked`` is sealed, too, and tells who started the run.
    ``unanswered_h`` says that no answer in so many hours. ``pages`` says where the pages are that the request
    links to.

    Under a hold on promotions nobody is asked: by the time of its release another may be champion, and the answer would
    be about a verdict that counts no more. An answer that comes all the same is kept.

    Raises:
        FtcoreError: an answer comes with a typed name, from nobody who is logged in, or is not sealed.
    """
    number = context.earlier("gate").figures["candidate"]
    registrar = ModelRegistry.of(current(context), context.shelf, context.settings)
    asked = registrar.recipe.approval
    if asked.required == 0:
        reason = "the recipe asks for no approval"
        context.shelf.add_to_ledger(approvals.KIND, context.run_id, "not required", reason, version=number)
        nobody = {"approvals": 0, "rejected": False, "held": False, "refused": "", "answers": []}
        return Outcome(reason=reason, figures={"version": number, **nobody})
    refused = _take(context, registrar, number)
    version = registrar.tracking.version(number)
    answers = approvals.given(context.shelf, version)
    counted, missing = approvals.counted(answers, asked), approvals.lacking(answers, asked)
    decided = versions.decided_against(version)
    hold = registrar.held() if missing and not decided else None
    stop = decided or (hold and _held(context, hold)) or (missing and f"version {number} {missing}")
    figures = {
        "version": number,
        "approvals": len(counted),
        "rejected": bool(decided),
        "held": hold is not None,
        "refused": refused,
        "verdict": approvals.judged(context.shelf.ledger("gate"), number).get("verdict_sha256", ""),
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
    name = context.recipe.name
    if missing > 1:
        return f"; after ftcore login: ftcore step approve {name} --run {context.run_id} -p decision=approve gives one"
    return f"; to approve, after ftcore login: ftcore models promote {name} {number}"


def _held(context: Context, hold: versions.Hold) -> str:
    name = context.recipe.name
    return f"no approval is requested while {hold}; after ftcore models release {name} run approve again"


def _take(context: Context, registrar: ModelRegistry, number: int) -> str:
    """Keep who started the run, and the answer, if there is one; returns why it was refused."""
    tracking, shelf = registrar.tracking, context.shelf
    if "asked" in context.params:
        started = handed(context, "asked").get("started_by", [])
        told = f"started by {', '.join(started)}" if started else "not started by hand"
        figures = {"version": number, "started_by": started}
        key = sha256(canonical(started))[:8]
        shelf.add_to_ledger(approvals.KIND, context.run_id, approvals.ASKED, told, key=f"asked-{key}", **figures)
    if hours := context.params.get("unanswered_h"):
        reason = f"no answer in {hours} h, so version {number} is not approved"
        key = f"unanswered-{now():%Y%m%d%H%M%S}"
        shelf.add_to_ledger(approvals.KIND, context.run_id, "no answer", reason, key=key, version=number)
    given = answer(context)
    if given is None:
        return ""
    refused = registrar.answer(tracking.version(number), given)
    if not refused and given.decision == "reject":
        registrar.turn_down(number, given)
    return refused


def answer(context: Context) -> Answer | None:
    """The answer that the step is told of, by Airflow's record or by whoever is logged in; None where there is none.

    Raises:
        FtcoreError: it is none, or nobody vouches for who gave it.
    """
    given = context.params
    if "person" in given:
        raise FtcoreError("who answers is whoever is logged in; a typed name is no approval", hint=login.HINT)
    if "answer" in given:
        return _recorded(context, handed(context, "answer"))
    if "decision" not in given:
        return None
    if given["decision"] not in ("approve", "reject"):
        raise FtcoreError(f"an answer is approve or reject, not {given['decision']!r}")
    person = rights.approver(context.settings, context.recipe.name)
    told = {"person": person.name, "decision": given["decision"], "at": now(), "reason": given.get("why", "")}
    return Answer.model_validate(told | {"run_id": context.run_id, "witness": person.witness})


def _recorded(context: Context, record: dict[str, Any]) -> Answer:
    """Airflow's record of an answer as ours."""
    user = record.get("responded_by_user") or {}
    told = {
        "person": user.get("name") or user.get("id") or "",
        "decision": "approve" if record["chosen_options"] == [APPROVE] else "reject",
        "at": record["responded_at"],
        "reason": str((record.get("params_input") or {}).get("reason") or ""),
        "started_by": record.get("started_by", ()),
        "verdict": record.get("verdict", ""),
    }
    return Answer.model_validate(told | {"run_id": context.run_id, "witness": {"by": "airflow", **record}})
