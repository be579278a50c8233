"""The trials of a search: each trains on the train split, is judged on the validation split, and is a run in MLflow."""

from __future__ import annotations

import gc
import logging
import math
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ftcore.context import Context
from ftcore.errors import DataRejectedError, FtcoreError, RecipeError, TrainingError
from ftcore.store.store import digest, local
from ftcore.tracking import training_run
from ftcore.tracking.client import RECIPE_TAG, Tracking
from ftcore.training import jobs
from ftcore.tuning.search import JOURNAL, EndedError, Search, Trial, identity
from ftcore.tuning.settled import alone, with_settings

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

log = logging.getLogger(__name__)

PARENT_TAG = "mlflow.parentRunId"
STATUS = {"complete": "FINISHED", "pruned": "KILLED", "fail": "FAILED"}


def opened(context: Context) -> Search:
    """The search of this run, as this worker sees it.

    Raises:
        FtcoreError: several workers are to share it, and the store is no folder.
    """
    return Search(
        context.recipe,
        journal(context),
        identity(context.recipe, context.earlier("plan").inputs["snapshot"]),
        context.shard,
    )


def journal(context: Context) -> Path:
    """The file of the run that the workers share.

    Raises:
        FtcoreError: several workers are to share it, and the store is no folder.
    """
    folder = context.shelf.folder(context.run_id, context.step)
    folder.mkdir(parents=True, exist_ok=True)
    here = local(folder)
    if here is None and context.shard:
        raise FtcoreError(
            f"the workers of a search share a file, and {folder} is in an object store",
            hint="set search.workers to 1, or FTCORE_STORE to a folder that all workers see",
        )
    return (here or context.scratch) / JOURNAL


def work(context: Context, search: Search, parent: str) -> int:
    """Do trials until none is left for this worker; returns how many.

    Args:
        context: of the step.
        search: whose trials.
        parent: MLflow run that the trials are shown under.

    Raises:
        TransientError: stopped by a signal; the trial goes on when the step is run again.
    """
    rows, done = jobs.rows(context), 0
    while (trial := search.claim()) is not None:
        log.info("trial %d, %d at most: %s", trial.number, search.config.trials, _words(trial.values))
        state, loss, reason = _outcome(context, trial, rows, parent)
        trial.end(state, loss, reason)
        shutil.rmtree(_folder(context, trial), ignore_errors=True)
        found = f"validation loss {loss:.4f}" if loss is not None else f"{state}, {reason}"
        log.info("trial %d: %s", trial.number, found)
        done += 1
        gc.collect()  # a model holds on to itself in circles; the next one needs its place
    return done


def _outcome(context: Context, trial: Trial, rows: dict[str, pa.Table], parent: str) -> tuple[str, float | None, str]:
    """Train once; returns the state, the loss where it was trained to its end, and the reason where it was not."""
    tracking = Tracking(context.settings, context.recipe.name)
    name = f"{context.run_id}/trial-{trial.number:03d}"
    run = tracking.open_run(name, {PARENT_TAG: parent, RECIPE_TAG: trial.search.name})
    tracking.log(run, params=trial.values)
    with training_run.ending(tracking, run):
        try:
            with training_run.curve(tracking, run, context.scratch) as track:
                loss, state, reason = _trained(context, trial, rows, track), "complete", ""
        except EndedError as ended:
            loss, state, reason = None, "pruned", str(ended)
        except (TrainingError, RecipeError, DataRejectedError) as error:
            loss, state, reason = None, "fail", str(error)
        tracking.log(
            run, metrics={"validation_loss": loss} if loss is not None else {}, tags={"state": state, "reason": reason}
        )
        tracking.close_run(run, STATUS[state])
    return state, loss, reason


def _trained(context: Context, trial: Trial, rows: dict[str, pa.Table], track: Callable[..., None]) -> float:
    from ftcore.training.callbacks import TrialCallback

    tried = alone(with_settings(context, trial.values))
    callbacks = [TrialCallback(trial.tick, trial.judge)]
    job = jobs.prepared(tried, rows, _folder(context, trial), track, callbacks)
    figures = jobs.fit(tried, job)
    loss = float(figures["validation_loss"])
    if not math.isfinite(loss):  # where the training ended before its first evaluation
        raise TrainingError("no validation loss was measured", hint="train.epochs is too short for one evaluation")
    return loss


def _folder(context: Context, trial: Trial) -> Path:
    """Place of a trial's checkpoints; a worker that goes on with a trial finds them there."""
    return context.scratch / f"trial-{trial.number:03d}-{digest({'search': trial.search.name, **trial.values})[:8]}"


def _words(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{path} {value:.4g}" if isinstance(value, float) else f"{path} {value}" for path, value in values.items()
    )
