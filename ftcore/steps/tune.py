"""tune: try settings before the training, where the recipe has a search, and cross-validate where it asks for it.

Many workers may share the trials of a search: with the parameter ``shard``, a name for each, a worker does trials until
none is left. Without it the step does what is left, chooses the best, and does the cross-validation.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ftcore.context import Context, Outcome
from ftcore.errors import TrainingError
from ftcore.store.store import digest, write_bytes, write_json
from ftcore.tracking import training_run
from ftcore.tracking.client import RECIPE_TAG, Tracking
from ftcore.tuning import folds, trials
from ftcore.tuning.search import JOURNAL
from ftcore.tuning.settled import flat, with_settings

if TYPE_CHECKING:
    from ftcore.tuning.search import Search

USED = ("torch", "transformers.trainer", "mlflow", "optuna")
"""What is imported once there is something to do: most recipes have nothing to search."""


def run(context: Context) -> Outcome:
    """Do the trials of this worker; the nameless one chooses the best settings, and cross-validates with them.

    Raises:
        NotEnoughDataError: the rows do not suffice for the task.
        TrainingError: no trial could be trained.
        TransientError: stopped by a signal; what was done is kept.
    """
    identity = context.earlier("plan").figures["snapshot"]
    inputs = {"snapshot": identity}
    if context.recipe.search is None and not context.recipe.train.folds:
        return Outcome("nothing to search: the recipe's own settings train", inputs=inputs)
    for name in USED:
        importlib.import_module(name)
    said: list[str] = []
    figures: dict[str, Any] = {}
    paths: dict[str, str] = {}
    if context.recipe.search is not None:
        search, parent = trials.opened(context), _parent(context)
        if context.shard:
            done = trials.work(context, search, parent)
            return Outcome(f"worker {context.shard} did {done} trials", figures={"trials": done}, inputs=inputs)
        with training_run.ending(Tracking(context.settings, context.recipe.name), parent):
            trials.work(context, search, parent)
            words, figures, paths = _chosen(context, search, parent)
        said.append(words)
        context = with_settings(context, figures["settings"])
        inputs["settings"] = digest(figures["settings"])
    if context.recipe.train.folds and not context.shard:
        figures["folds"] = folds.validated(context)
        said.append(_log_folds(context, figures["folds"]))
    return Outcome("; ".join(said) or "no trials to share", figures=figures, inputs=inputs, paths=paths)


def _chosen(context: Context, search: Search, parent: str) -> tuple[str, dict[str, Any], dict[str, str]]:
    """The best settings, in words and as figures, and where all trials are listed.

    Raises:
        TrainingError: every trial failed.
    """
    table, best = search.table(), search.best()
    states = [one["state"] for one in table]
    counts = {state: states.count(state) for state in ("complete", "pruned", "fail")}
    if counts["fail"] == len(table):
        last = f"; the last: {table[-1]['reason'].splitlines()[0]}" if table else ""
        hint = f"ftcore search show {context.recipe.name} lists them all"
        raise TrainingError(f"none of {len(table)} trials could be trained{last}", hint=hint)
    words = f"{len(table)} trials, {counts['pruned']} ended early, {counts['fail']} failed: "
    if best is None:
        words += "none was done in time, the recipe's own settings train"
    else:
        words += f"trial {best.number} has the lowest validation loss, {best.value:.4f}"
        if search.holds_own and table[0]["state"] == "complete":
            words += f"; the recipe's own settings have {table[0]['validation_loss']:.4f}"
    values = dict(best.params) if best else search.own
    figures = {
        "settings": values,
        "best_trial": best.number if best else None,
        "validation_loss": best.value if best else None,
        "trials": {"all": len(table), **counts},
        "importances": search.importances(),
        "worked_s": round(sum(one["seconds"] for one in table), 2),
        "search_run": parent,
    }
    tracking = Tracking(context.settings, context.recipe.name)
    tracking.log(parent, metrics={"validation_loss": best.value} if best else {}, tags=values)
    tracking.close_run(parent)
    return words, figures, _written(context, search, table)


def _written(context: Context, search: Search, table: list[dict[str, Any]]) -> dict[str, str]:
    """List the trials beside the record, and the journal where it was local."""
    listed, kept = context.folder / "trials.json", context.folder / JOURNAL
    write_json(listed, table)
    if not kept.exists():
        write_bytes(kept, search.path.read_bytes())
    return {"trials": context.written(listed), "journal": context.written(kept)}


def _parent(context: Context) -> str:
    """MLflow run that the trials are shown under."""
    tracking = Tracking(context.settings, context.recipe.name)
    name = trials.opened(context).name
    return tracking.open_run(f"{context.run_id}/search", {RECIPE_TAG: name})


def _log_folds(context: Context, found: dict[str, Any]) -> str:
    """Log the folds to MLflow, a step each, and say what came out."""
    tracking = Tracking(context.settings, context.recipe.name)
    run = tracking.open_run(f"{context.run_id}/folds", {RECIPE_TAG: str(found["folds"])})
    for one in found["each"]:
        metrics = {f"fold.{name}": value for name, value in one["metrics"].items() if value is not None}
        tracking.log(run, metrics=metrics, step=one["fold"])
    tracking.log(run, metrics=flat(found))
    tracking.close_run(run)
    name, scores = next(iter(found["metrics"].items()))
    if scores["mean"] is None:
        return f"{found['folds']} folds"
    return f"{found['folds']} folds: {name} {scores['mean']:.3f} [{scores['low']:.3f}, {scores['high']:.3f}]"
