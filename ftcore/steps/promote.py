"""promote: make the approved candidate champion and keep the one before it within reach."""

from __future__ import annotations

from ftcore.context import Context, Outcome
from ftcore.records import now
from ftcore.tracking import CHAMPION, PREVIOUS, Tracking

NEEDS = ("mlflow",)


def run(context: Context) -> Outcome:
    """Move the aliases, note who approved, and write the ledger line.

    The order makes it safe to be killed and run again: ``previous`` moves first and never to the candidate itself,
    ``champion`` after it, the ledger line last. A candidate that was judged against another champion than today's is
    not promoted.
    """
    verdict = context.earlier("gate").figures
    tracking = Tracking(context.settings, context.recipe.name)
    candidate, champion = tracking.version(verdict["candidate"]), tracking.alias(CHAMPION)
    if not verdict["passed"]:
        return Outcome(
            reason=f"version {candidate.number} did not pass the gate",
            proceed=False,
            figures={"version": candidate.number},
        )
    holder = champion.number if champion else None
    if holder not in (candidate.number, verdict["champion"]):
        reason = f"version {holder} became champion after version {candidate.number} was judged; judge it again"
        return Outcome(reason=reason, proceed=False, figures={"version": candidate.number, "champion": holder})
    approval = {key: value for key, value in context.params.items() if key.startswith("approved_")}
    if context.recipe.approval.required and not approval.get("approved_by"):
        reason = f"version {candidate.number} needs an approval, and nobody has given one"
        return Outcome(reason=reason, proceed=False, figures={"version": candidate.number})
    if champion and champion.number != candidate.number:
        tracking.set_alias(PREVIOUS, champion)
    by = approval.get("approved_by", "the recipe asks for no approval")
    tags = {"promoted_at": candidate.tags.get("ftcore.promoted_at") or now().isoformat(), "approved_by": by}
    tracking.tag(candidate, tags | ({"approved_at": approval["approved_at"]} if "approved_at" in approval else {}))
    tracking.set_alias(CHAMPION, candidate)
    reason = f"version {candidate.number} is champion" + (
        f", after version {verdict['champion']}" if verdict["champion"] else ""
    )
    context.shelf.add_to_ledger(
        "promote",
        context.run_id,
        "promoted",
        reason,
        version=candidate.number,
        previous=verdict["champion"],
        approved_by=by,
    )
    return Outcome(
        reason=reason,
        figures={"version": candidate.number, "previous": verdict["champion"], "approved_by": by},
        inputs={"snapshot": candidate.snapshot},
    )
