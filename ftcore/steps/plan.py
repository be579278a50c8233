"""plan: decide whether to train, and whether it can be afforded, and write the decision down either way."""

from __future__ import annotations

import logging
from typing import Any

from ftcore.context import Context, Outcome
from ftcore.data import holdouts, snapshot
from ftcore.errors import FtcoreError
from ftcore.planning import budget, enough
from ftcore.planning import sizes as _sizes
from ftcore.progress import busy
from ftcore.registry import served, versions
from ftcore.registry.handover import starters
from ftcore.store import ledger
from ftcore.store.store import hash_file
from ftcore.tracking.client import Tracking, Version

log = logging.getLogger(__name__)

NEEDS = ("pyarrow.parquet", "mlflow")


def run(context: Context) -> Outcome:
    """Train where there is no champion, a retraining was asked for, a person asked, or enough rows are new.

    Raises:
        FtcoreError: no snapshot has been published yet, or the registry's champion is not the ledger's.
    """
    identity = context.params.get("snapshot") or snapshot.current(context.shelf)
    if not identity:
        raise FtcoreError(
            f"{context.recipe.name} has no snapshot yet", hint=f"ftcore run {context.recipe.name} --only data"
        )
    manifest = snapshot.manifest(context.shelf, identity, proven=True)
    tracking = Tracking(context.settings, context.recipe.name)
    champion = served.champion(context.shelf, tracking)
    hold = versions.held(tracking)
    if hold and context.params.get("train") != "always":  # an open request stays open, for the run after the release
        decided: tuple[bool, str, dict[str, Any]] = (False, f"{hold}; ftcore models release {context.recipe.name}", {})
    else:
        decided = _decide(context, identity, champion)
    train, reason, figures = decided
    decision = "train" if train else "skip"
    figures |= {"snapshot": identity, "champion": champion.number if champion else None, "rows": manifest["rows"]}
    figures["started_by"] = _starters(context, figures.get("answers"))
    cost: dict[str, Any] = {}
    if train:
        verdict, why, cost = budget.judge(context, identity, _sizes.count(context, identity, "train"))
        cost = cost | {"too_few_rows": _too_few(context, identity)}
        # What this very run was allowed to do once stays allowed: it may be half done.
        if verdict != "go" and not context.shelf.line("plan", context.run_id):
            return _hold(context, verdict, f"{reason}, but {why}", figures, cost)
    line = context.shelf.add_to_ledger("plan", context.run_id, decision, reason, **figures)
    # The line that is there counts: a plan that is run again must not change its mind after it was acted upon.
    train = line["decision"] == "train"
    return Outcome(
        reason=f"{'train' if train else 'do not train'}: {line['reason']}",
        proceed=train,
        figures={key: line.get(key) for key in figures} | {"train": train} | (cost if train else {}),
        inputs={
            "snapshot": identity,
            "manifest": hash_file(snapshot.folder(context.shelf, identity) / "manifest.json"),
            **_request(context, line.get("answers")),
        },
    )


def _starters(context: Context, answers: str | None) -> list[str]:
    """Who started this run, and the look that asked for the training: none of them approves what came of it."""
    asked = context.shelf.line("decide", answers) if answers else None
    return list(dict.fromkeys([*starters(context), *((asked or {}).get("started_by") or [])]))


def _request(context: Context, answers: str | None) -> dict[str, str]:
    """Hash of the record of the decision that asked for this training, where one did and left it."""
    record = context.shelf.folder(answers, "decide") / "record.json" if answers else None
    return {"request": hash_file(record)} if record and record.exists() else {}


def _too_few(context: Context, identity: str) -> list[str]:
    """Gates that ask for more rows than there are to judge on, in words; holdouts are read to know how many they have.

    Nothing is paid for yet, and the gates would say the same after the training.
    """
    recipe = context.recipe
    sizes = enough.of_snapshot(recipe, context.shelf, identity)
    for name in enough.holdouts(recipe):
        source = holdouts.Source(name, recipe.evaluate.holdouts[name], recipe.task)
        try:
            with busy(f"counting rows of {name}", at_once=False):
                keys = enough.keys_of(holdouts.raw(context, source))
        except (FtcoreError, OSError) as error:  # what the evaluation will miss stops no plan
            log.warning("the rows of evaluate.holdouts.%s cannot be counted: %s", name, error)
        else:
            sizes[name] = enough.Size(len(keys), len(set(keys.tolist())))
    found = enough.warnings(recipe, sizes)
    for one in found:
        log.warning("%s", one)
    return found


def _hold(context: Context, verdict: str, why: str, figures: dict[str, Any], cost: dict[str, Any]) -> Outcome:
    """Stop before anything is spent. The request that the training would answer stays open."""
    hint = f"; to approve: {budget.how_to_approve(context)}" if verdict == "needs approval" else ""
    context.shelf.add_to_ledger("budget", context.run_id, verdict, why, snapshot=figures["snapshot"])
    held = {key: value for key, value in figures.items() if key != "answers"}
    return Outcome(
        reason=f"{verdict}: {why}{hint}",
        proceed=False,
        figures={**held, "train": False, "budget": verdict, **cost},
        inputs={"snapshot": figures["snapshot"]},
    )


def _decide(context: Context, identity: str, champion: Version | None) -> tuple[bool, str, dict[str, Any]]:
    request = ledger.open_request(context.shelf, context.run_id)
    if champion is None:
        return True, "there is no champion yet", {"answers": request}
    new = _new_rows(context, identity, champion.snapshot)
    figures = {"new_rows": new, "answers": request}
    if context.params.get("train") == "always":
        return True, "requested by a person", figures
    if request:
        return True, f"requested by monitoring in run {request}", figures
    if champion.snapshot == identity:
        return False, f"the champion was trained on this very snapshot, {identity}", figures
    wanted = context.recipe.plan.min_new_rows
    if new >= wanted:
        return True, f"{new:,} training rows are new, {wanted:,} are enough", figures
    return False, f"only {new:,} training rows are new, {wanted:,} are needed", figures


def _new_rows(context: Context, identity: str, champions: str) -> int:
    mine = set(snapshot.read(context.shelf, identity, ["train"])["row_id"].to_pylist())
    if not champions:
        return len(mine)
    return len(mine - set(snapshot.read(context.shelf, champions, ["train"])["row_id"].to_pylist()))
