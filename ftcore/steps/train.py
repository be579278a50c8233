"""train: fine-tune the base model on the planned snapshot and register the result as candidate."""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

from ftcore.context import Context, Outcome
from ftcore.data import snapshot
from ftcore.evaluation import ancestry
from ftcore.models import base, input_example
from ftcore.planning import actual, first_steps
from ftcore.recipe.canonical import canonical, sha256
from ftcore.registry import licenses, recorded
from ftcore.serving import model as models
from ftcore.settings import REPOSITORY
from ftcore.store import run_recipe, store
from ftcore.store.records import LOCK, environment_lock, git_commit, versions
from ftcore.tracking import training_run
from ftcore.tracking.client import RECIPE_TAG, Tracking
from ftcore.training import attempts as _attempts
from ftcore.training import energy, jobs, processes, workers
from ftcore.training.readable_rows import NAMED
from ftcore.tuning import settled

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from ftcore.models.features import Features
    from ftcore.tracking.client import Version
    from ftcore.training.callbacks import Track

log = logging.getLogger(__name__)

NEEDS = ("torch", "transformers", "transformers.trainer", "mlflow")

_KEY = re.compile(r"[\w.]+", re.ASCII)
"""A key of a recipe; anything else is one that somebody chose."""


def run(context: Context) -> Outcome:
    """Train, log everything to MLflow and register one version for this run, with the alias ``candidate``.

    Raises:
        NotEnoughDataError: the rows do not suffice for the task, such as a label without any.
        NotFoundError: the base model is not there.
        MissingExtraError: its package is not installed.
    """
    context = settled.tuned(context)
    recipe = context.recipe
    identity = context.earlier("plan").figures["snapshot"]
    rows = jobs.rows(context)
    tracking = Tracking(context.settings, recipe.name)
    digest = store.digest(recipe.resolved())[:16]
    commit = git_commit(str(REPOSITORY))
    tags = {"ftcore.snapshot": identity, "ftcore.git_commit": commit, RECIPE_TAG: digest}
    kept = run_recipe.of(context.shelf, context.run_id)
    tags |= {run_recipe.TAG: kept.sha256} if kept else {}
    tags |= ancestry.tags(context)
    tags |= {"mlflow.source.git.commit": commit} if commit else {}
    mlflow_run = tracking.open_run(context.run_id, tags)
    with training_run.ending(tracking, mlflow_run):
        return _trained(context, tracking, mlflow_run, rows, tags)


def _trained(
    context: Context, tracking: Tracking, mlflow_run: str, rows: dict[str, pa.Table], tags: dict[str, str]
) -> Outcome:
    recipe, identity = context.recipe, context.earlier("plan").figures["snapshot"]
    environment = {f"env.{key}": value for key, value in tracking.environment().items()}
    tracking.log(mlflow_run, params=_flat(recipe.resolved()), tags=environment)
    source = str(snapshot.folder(context.shelf, identity))
    tracking.log_snapshot(mlflow_run, identity, rows["train"].num_rows, source)

    training_run.log_recipe(tracking, mlflow_run, recipe.resolved())
    with training_run.system_metrics(tracking, mlflow_run, context.scratch):
        if processes.wanted(context):
            figures = processes.launch(context, mlflow_run, __name__)
        else:
            with training_run.curve(tracking, mlflow_run, context.scratch) as track:
                figures = _fit(context, rows, track)
    tracking.log(mlflow_run, metrics={k: v for k, v in figures.items() if isinstance(v, int | float)})
    figures |= settled.figures(context) | {"base_license": _license(context)}
    tracking.log(mlflow_run, metrics=settled.flat(figures["folds"]) if "folds" in figures else {})
    version, made = _register(context, tracking, mlflow_run, tags)
    tracking.tag(version, settled.tags(context))
    tracking.tag(version, {name: figures[name] for name in ("cost", "co2e_g", "energy_kwh") if name in figures})
    if "actual_vs_estimated" in figures:
        tracking.tag(version, {"actual_vs_estimated": canonical(figures["actual_vs_estimated"])})
    return Outcome(
        reason=f"trained version {version.number} on {figures['rows']:,} rows, {_told(figures)}",
        figures={"version": version.number, "snapshot": identity, "mlflow_run": mlflow_run, **figures},
        inputs={"snapshot": identity, "environment": _environment(context), **recorded.inputs(made)},
    )


def _environment(context: Context) -> str:
    """Write the lock of all packages that the training ran with; returns its hash."""
    data = environment_lock()
    store.write_bytes(context.folder / LOCK, data)
    return sha256(data)


def _license(context: Context) -> dict[str, Any]:
    """What the base model says of its licence."""
    folder = base.locate(context.recipe.base, context.settings, context.recipe_path.parent, weights=False)
    return licenses.of_base(context.recipe.base, folder if folder.is_dir() else folder.parent)


def fit(context: Context, mlflow_run: str) -> dict[str, Any]:
    """Train as one of several processes; the first one saves, the others end here. Returns its figures."""
    context = settled.tuned(context)
    rows, tracking = jobs.rows(context), Tracking(context.settings, context.recipe.name)
    if int(os.environ.get("RANK", "0")):
        return _fit(context, rows, lambda _: None)
    with training_run.curve(tracking, mlflow_run, context.scratch) as track:
        return _fit(context, rows, track)


def _fit(context: Context, rows: dict[str, pa.Table], track: Track) -> dict[str, Any]:
    """Train and save ``model/`` and ``adapter/`` into the scratch folder; returns the figures."""
    from ftcore.training.callbacks import FirstSteps

    found: dict[str, Any] = {}
    watching = [FirstSteps(partial(first_steps.corrected, context, found))]
    attempts = _attempts.Attempts.of(context)
    keep = attempts.keep if attempts else lambda _: None
    with energy.measured(workers.own(context.settings), keep) as used:  # a teacher reads every row in it
        log.info("loading %s and making tokens of the rows", context.recipe.base)
        job = jobs.prepared(context, rows, context.scratch / "checkpoints", track, watching)
        encoded = job.data.rows
        what = f"{len(encoded['train']):,} rows, {encoded['train'].tokens:,} tokens an epoch"
        log.info("training on %s", what)
        weights = sum(p.numel() for p in job.trained.model.parameters())
        trainable = sum(p.numel() for p in job.trained.model.parameters() if p.requires_grad)
        figures = jobs.fit(context, job)
    job = job.gathered()
    processes.first_only()

    made = context.scratch / "made"
    jobs.save(context, job, made)
    needs = {name: version for name, version in versions().items() if name in ("ftcore", "torch", "transformers")}
    training_run.describe(made / "model", input_example.example(context.recipe.task), needs)
    return {
        "base": context.recipe.method.start(context),
        "rows": len(encoded["train"]),
        "validation_rows": len(encoded["validation"]),
        "truncated_rows": encoded["train"].truncated,
        **_unreadable(encoded),
        "weights": weights,
        "trainable_weights": trainable,
        **({"strategy": job.run.config.distributed.strategy} if job.run.config.distributed.total > 1 else {}),
        **figures,
        **found,
        **actual.spent(
            context, used, {"rows": len(encoded["train"]), **figures}, attempts.earlier() if attempts else ()
        ),
    }


def _unreadable(encoded: Mapping[str, Features]) -> dict[str, Any]:
    """How many rows of each split the model could not be given, and the first of them with their reasons."""
    found = {split: one.unreadable for split, one in encoded.items() if one.unreadable}
    if not found:
        return {}
    first = {row: why for rows in found.values() for row, why in list(rows.items())[:NAMED]}
    return {"unreadable_rows": {split: len(rows) for split, rows in found.items()}, "unreadable": first}


def _register(
    context: Context, tracking: Tracking, mlflow_run: str, tags: dict[str, str]
) -> tuple[Version, dict[str, str]]:
    """Upload what was made, register it, and only then let go of the checkpoints; also returns the hashes."""
    folders = sorted((context.scratch / "made").iterdir())
    made = {folder.name: tracking.log_folder(mlflow_run, folder, folder.name) for folder in folders}
    version = tracking.register(context.run_id, mlflow_run, models.serving(context.recipe)[0], tags)
    tracking.close_run(mlflow_run)
    shutil.rmtree(context.scratch)
    return version, made


def _told(figures: dict[str, Any]) -> str:
    if "validation_loss" in figures:
        after, before = figures["validation_loss"], figures.get("validation_loss_before", math.inf)
        worse = f", no better than the {before:.3f} before the training: look at the curve" if after >= before else ""
        return f"validation loss {after:.3f}{worse}"
    return f"mean reward {figures['reward_before']:.3f} before, {figures['reward_after']:.3f} after"


def _flat(value: object, path: str = "") -> dict[str, object]:
    """``{"a": {"b": 1}}`` to ``{"a.b": 1}``, the form in which MLflow keeps parameters.

    A mapping whose keys are what people chose, such as ``label_map``, stays one value.
    """
    chosen = path.endswith(("label_map", "class_weights"))
    if isinstance(value, dict) and not chosen and all(_KEY.fullmatch(key) for key in value):
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{path}.{key}" if path else key).items()}
    return {path: canonical(value) if isinstance(value, dict) else value}
