"""decide: ask for retraining when drift is confirmed, or write down why not."""

from __future__ import annotations

from ftcore.context import Context, Outcome
from ftcore.data import snapshot
from ftcore.registry.handover import starters
from ftcore.store import ledger
from ftcore.store.times import moment

NEEDS = ("pyarrow.parquet",)


def run(context: Context) -> Outcome:
    """Ask for retraining where drift is confirmed and there is something to learn from; write the ledger line."""
    seen = context.earlier("watch")
    if not seen.proceed:
        return Outcome(reason=f"nothing to decide: {seen.reason}", proceed=False)
    watched = seen.figures
    retrain, reason = _decide(context, watched["alarms"], watched["snapshot"])
    decision = "retrain" if retrain else "wait"
    reason += f"; by {watched['rows']:,} predictions of version {watched['champion']} until {moment(watched['until'])}"
    line = context.shelf.add_to_ledger(
        "decide",
        context.run_id,
        decision,
        reason,
        until=watched["until"],
        alarms=watched["alarms"],
        champion=watched["champion"],
        started_by=starters(context),
    )
    retrain = line["decision"] == "retrain"
    return Outcome(
        reason=f"{line['decision']}: {line['reason']}",
        proceed=retrain,
        figures={"retrain": retrain, "alarms": watched["alarms"], "until": watched["until"]},
        inputs={"report": seen.inputs["window"]},
    )


def _decide(context: Context, alarms: int, champions: str) -> tuple[bool, str]:
    limits = context.recipe.watch
    if alarms < limits.alarms:
        return False, f"{_alarms(alarms)}, drift takes {limits.alarms}"
    if asked := ledger.open_request(context.shelf, context.run_id):
        return False, f"drift is confirmed, and run {asked} has requested retraining already"
    new = _unlearnt(context, champions)
    if new < limits.min_feedback:
        return (
            False,
            f"drift is confirmed, but only {new:,} labelled rows have come back; {limits.min_feedback:,} are needed",
        )
    return True, f"drift is confirmed by {_alarms(alarms)}, and {new:,} labelled rows are new"


def _alarms(count: int) -> str:
    return "1 alarm" if count == 1 else f"{count} alarms"


def _unlearnt(context: Context, champions: str) -> int:
    """Texts whose true label the champion's snapshot has not learnt; what it quarantined is no news either."""
    shelf = context.shelf
    feedback, predictions = shelf.read_log("feedback"), shelf.read_log("predictions")
    if feedback is None or predictions is None:
        return 0
    columns = (feedback.sort_by("at")[name].to_pylist() for name in ("request_id", "label"))
    labels = dict(zip(*columns, strict=True))
    asked = zip(*(predictions[name].to_pylist() for name in ("request_id", "text")), strict=True)
    told = {snapshot.text_key(text): labels[identity] for identity, text in asked if identity in labels}
    for row in snapshot.read(shelf, champions, columns=["text", "label"]).to_pylist():
        if told.get(key := snapshot.text_key(row["text"])) == row["label"]:
            del told[key]
    set_aside = snapshot.read(shelf, champions, ["quarantine"])["text"].to_pylist()
    return len(told.keys() - {snapshot.text_key(text) for text in set_aside})
