"""promote: make the approved candidate champion and keep the one before it within reach."""

from __future__ import annotations

from typing import Any

from ftcore.context import Context, Outcome
from ftcore.errors import FtcoreError
from ftcore.recipe.canonical import sha256
from ftcore.registry import approvals, integrity, served, versions
from ftcore.registry.handover import current
from ftcore.registry.promotion import NOBODY, ModelRegistry
from ftcore.reports import card
from ftcore.serving import model as models
from ftcore.tracking.client import CHAMPION, Version
from ftcore.tracking.registered import Model

NEEDS = ("mlflow",)
RERUN_IF_STOPPED = True
"""A refusal depends on approvals and on a hold, which change outside of the run: it is not taken from the record."""


def run(context: Context) -> Outcome:
    """Move the aliases, note who approved, and write the ledger line; a refusal leaves a line too.

    It is safe to be killed and run again: what is intended is written first (``ftcore.intents``), the ledger line last.
    """
    registrar = ModelRegistry.of(current(context), context.shelf, context.settings)
    outcome = _promote(context, registrar)
    if outcome.proceed:
        promoted = registrar.tracking.version(outcome.figures["version"])
        card.publish(context.shelf, registrar.tracking, promoted)
    return outcome


def _promote(context: Context, registrar: ModelRegistry) -> Outcome:
    verdict = context.earlier("gate").figures
    with registrar.at_work() as before:
        model = before
        candidate = registrar.tracking.version(verdict["candidate"])
        line = context.shelf.line("promote", context.run_id)
        done = line is not None and line["decision"] == "promoted"
        known = served.by_ledger(context.shelf)
        if done and model.aliases.get(CHAMPION) == candidate.number == (known.version if known else None):
            return _outcome(candidate, line or {})
        reason = _against(context, verdict, candidate, model, done=done) or _unfit(registrar, candidate)
        if not reason:  # reading every byte took long
            model, candidate = registrar.reread(candidate)
            reason = _against(context, verdict, candidate, model, done=done)
        if reason:
            return _refuse(context, candidate, model, reason)
        asked = registrar.recipe.approval
        names = [answer.person for answer in approvals.counted(approvals.given(context.shelf, candidate), asked)]
        approved = ", ".join(names) if current(context).approval.required else NOBODY
        intent = registrar.crowning(candidate, _other(verdict["champion"], candidate), "the loop", approved)
        return _outcome(candidate, registrar.carry_out(intent.model_copy(update={"run_id": context.run_id})))


def _against(context: Context, verdict: dict[str, Any], candidate: Version, model: Model, *, done: bool) -> str:
    """Why the candidate is not promoted, as a sentence; empty where nothing speaks against it."""
    name = f"version {candidate.number}"
    if not verdict["passed"]:
        return f"{name} did not pass the gate"
    if decided := versions.decided_against(candidate):
        return decided
    if moved := _moved(context, verdict, candidate, model):
        return moved
    if done:
        return f"{name} was promoted by this run before and is champion no more; promote it by hand"
    if hold := versions.hold_of(model):
        return f"{hold}; ftcore models release {model.name}"
    missing = approvals.lacking(approvals.given(context.shelf, candidate), current(context).approval)
    return f"{name} {missing}" if missing else "; ".join(integrity.against(context.shelf, candidate, model))


def _unfit(registrar: ModelRegistry, candidate: Version) -> str:
    """What happened to the candidate's artefacts since it was judged, as a sentence; empty where nothing did."""
    recorded = served.judged(registrar.shelf, candidate)
    needs = [name for name in models.serving(registrar.recipe) if name in recorded]
    try:
        others = registrar.fit_to_serve(candidate, needs).others
    except FtcoreError as error:
        if error.retryable:
            raise
        return str(error.args[0])
    return f"version {candidate.number} {'; it '.join(others)}" if others else ""


def _moved(context: Context, verdict: dict[str, Any], candidate: Version, model: Model) -> str:
    """What happened to the champion since the candidate was judged."""
    holder, known = model.aliases.get(CHAMPION), served.by_ledger(context.shelf)
    number = known.version if known else None
    if holder != number != candidate.number:
        return f"{served.moved(model.name, holder, known)}: {served.put_right(model.name, holder, known)}"
    if holder not in (candidate.number, verdict["champion"]):
        return f"version {holder} became champion after version {candidate.number} was judged; judge it again"
    return ""


def _refuse(context: Context, candidate: Version, model: Model, reason: str) -> Outcome:
    champion = model.aliases.get(CHAMPION)
    figures = {"version": candidate.number, "champion": champion}
    # Each reason has one line, however often the task is tried; a later promotion has the line of the run itself.
    key = f"refused-{sha256(reason)[:8]}"
    context.shelf.add_to_ledger("promote", context.run_id, "refused", reason, key=key, **figures)
    return Outcome(reason=reason, proceed=False, figures=figures)


def _outcome(candidate: Version, line: dict[str, Any]) -> Outcome:
    return Outcome(
        reason=line["reason"],
        figures={"version": candidate.number, "previous": line["previous"], "approved_by": line["approved_by"]},
        inputs={"snapshot": candidate.snapshot},
    )


def _other(champion: int | None, candidate: Version) -> int | None:
    return None if champion == candidate.number else champion
