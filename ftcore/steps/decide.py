"""decide: ask for retraining when drift is confirmed, or write down why not."""

from __future__ import annotations

from ftcore import ledger, snapshot
from ftcore.context import Context, Outcome

NEEDS = ("pyarrow.parquet",)


def run(context: Context) -> Outcome:
    """Ask for retraining where drift is confirmed and there is something to learn from; write the ledger line."""
    seen = context.earlier("watch")
    if not seen.proceed:
        return Outcome(reason=f"nothing to decide: {seen.reason}", proceed=False)
    watched = seen.figures
    retrain, reason = _decide(context, watched["alarms"], watched["snapshot"])
    decision = "retrain" if retrain else "wait"
    line = context.shelf.add_to_ledger(
        "decide",
        context.run_id,
        decision,
        reason,
        until=watched["until"],
        alarms=watched["alarms"],
        champion=watched["champion"],
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
        return False, f"{alarms} alarms, drift takes {limits.alarms}"
    if asked := ledger.open_request(context.shelf, context.run_id):
        return False, f"drift is confirmed, and run {asked} has asked for retraining already"
    new = _unlearnt(context, champions)
    if new < limits.min_feedback:
        return (
            False,
            f"drift is confirmed, but only {new:,} labelled rows have come back; "
            f"it takes {limits.min_feedback:,} to learn from",
        )
    return True, f"drift is confirmed by {alarms} alarms, and {new:,} labelled rows can be learnt from"


def _unlearnt(context: Context, champions: str) -> int:
    """Labelled predictions that are not in the snapshot that the champion was trained on."""
    feedback = context.shelf.read_log("feedback")
    if feedback is None:
        return 0
    rows = {snapshot.row_id("feedback", identity) for identity in feedback["request_id"].to_pylist()}
    return len(rows - set(snapshot.read(context.shelf, champions)["row_id"].to_pylist()))
