"""train: fine-tune the base model on the planned snapshot and register the result as candidate."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from ftcore import base, snapshot, store, tracking_training, workers
from ftcore._find import find
from ftcore.context import Context, Outcome, log
from ftcore.records import git_commit, versions
from ftcore.settings import REPOSITORY
from ftcore.steps import _distributed, _energy, _method
from ftcore.tracking import RECIPE_TAG, Tracking

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from ftcore.tracking import Version
    from ftcore.training.callbacks import Point, Track

NEEDS = ("torch", "transformers", "transformers.trainer", "mlflow")


def run(context: Context) -> Outcome:
    """Train, log everything to MLflow and register one version for this run, with the alias ``candidate``.

    Raises:
        NotEnoughDataError: the rows do not suffice for the task, such as a label without any.
        MissingExtraError: the base model is not installed.
    """
    recipe = context.recipe
    identity = context.earlier("plan").figures["snapshot"]
    rows = _rows(context)
    find("tasks", recipe.task.kind).check(recipe.task, rows)
    tracking = Tracking(context.settings, recipe.name)
    digest = store.digest(recipe.resolved())[:16]
    commit = git_commit(str(REPOSITORY))
    tags = {"ftcore.snapshot": identity, "ftcore.git_commit": commit, RECIPE_TAG: digest}
    tags |= {"mlflow.source.git.commit": commit} if commit else {}
    mlflow_run = tracking.open_run(context.run_id, tags)
    environment = {f"env.{key}": value for key, value in tracking.environment().items()}
    tracking.log(mlflow_run, params=_flat(recipe.resolved()), tags=environment)
    source = str(snapshot.folder(context.shelf, identity))
    tracking.log_snapshot(mlflow_run, identity, rows["train"].num_rows, source)

    tracking_training.log_recipe(tracking, mlflow_run, recipe.resolved())
    with tracking_training.system_metrics(tracking, mlflow_run):
        if _distributed.wanted(context):
            figures = _distributed.launch(context, mlflow_run)
        else:
            figures = _fit(context, rows, digest, _curve(tracking, mlflow_run))
    tracking.log(mlflow_run, metrics={k: v for k, v in figures.items() if isinstance(v, int | float)})
    version = _register(context, tracking, mlflow_run, tags)
    tracking.tag(version, {name: figures[name] for name in ("cost", "co2e_g", "energy_kwh") if name in figures})
    return Outcome(
        reason=f"trained version {version.number} on {figures['rows']:,} rows, "
        f"validation loss {figures['validation_loss']:.3f}",
        figures={"version": version.number, "snapshot": identity, "mlflow_run": mlflow_run, **figures},
        inputs={"snapshot": identity},
    )


def _curve(tracking: Tracking, mlflow_run: str) -> Callable[[list[Point]], None]:
    """Logs what an earlier attempt has not logged already: steps done again after a crash give the same points."""
    known = tracking_training.last_steps(tracking, mlflow_run)

    def track(points: list[Point]) -> None:
        fresh = [
            (step, {name: value for name, value in metrics.items() if step > known.get(name, -1)}, at)
            for step, metrics, at in points
        ]
        tracking_training.log_curve(tracking, mlflow_run, fresh)

    return track


def _rows(context: Context) -> dict[str, pa.Table]:
    identity = context.earlier("plan").figures["snapshot"]
    rows = {split: snapshot.read(context.shelf, identity, [split]) for split in ("train", "validation")}
    return {**rows, "train": _method.rows(context, rows["train"])}


def fit(context: Context, mlflow_run: str) -> dict[str, Any]:
    """Train as one of several processes; the first one saves, the others end here. Returns its figures."""
    track = _curve(Tracking(context.settings, context.recipe.name), mlflow_run)
    return _fit(context, _rows(context), store.digest(context.recipe.resolved())[:16], track)


def _fit(context: Context, rows: dict[str, pa.Table], digest: str, track: Track) -> dict[str, Any]:
    """Train and save ``model/`` and ``adapter/`` into the scratch folder; returns the figures."""
    import torch
    from transformers import set_seed

    from ftcore.training import loading, loop

    recipe, task = context.recipe, find("tasks", context.recipe.task.kind)
    method, limit = find("methods", recipe.method.kind), recipe.train.max_length_tokens
    torch.set_num_threads(context.settings.threads or torch.get_num_threads())
    set_seed(recipe.train.seed)
    reference = _method.start(context)
    base_folder = base.resolve(reference, context.settings, context.recipe_path.parent)
    tokenizer = loading.tokenizer(base_folder)
    model = loading.model(lambda: task.load(recipe.task, base_folder), base_folder, tokenizer)
    loading.window(model, limit)
    model = method.apply(recipe.method, model, tokenizer)
    encoded = {split: task.encode(recipe.task, tokenizer, table, limit) for split, table in rows.items()}
    encoded = _method.taught(context, rows, encoded)
    for split, features in encoded.items():
        loading.whole_enough(features, split, limit, recipe.train.max_truncated)
    log.info("training on %s rows, %s tokens an epoch", f"{len(encoded['train']):,}", f"{encoded['train'].tokens:,}")
    weights = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    collate = task.collator(recipe.task, tokenizer)
    identity = f"{digest}-{context.earlier('plan').figures['snapshot']}-{reference}"
    config = _energy.planned(context)
    job = loop.Job(model, tokenizer, encoded, collate, config, context.scratch / "checkpoints", identity, track)
    with _energy.measured(workers.own(context.settings)) as used:
        figures = _method.fit(context, job)
    _distributed.first_only()

    made = context.scratch / "made"
    shutil.rmtree(made, ignore_errors=True)
    method.save(recipe.method, model, tokenizer, made)
    card = {"recipe": recipe.name, "task": recipe.task.model_dump(mode="json"), "max_length_tokens": limit}
    store.write_json(made / "model" / "ftcore.json", card)
    needs = {name: version for name, version in versions().items() if name in ("ftcore", "torch", "transformers")}
    tracking_training.describe(made / "model", rows["train"]["text"][0].as_py(), needs)
    return {
        "base": reference,
        "rows": len(encoded["train"]),
        "validation_rows": len(encoded["validation"]),
        "truncated_rows": encoded["train"].truncated,
        "weights": weights,
        "trainable_weights": trainable,
        **figures,
        **_energy.spent(context, used, figures),
    }


def _register(context: Context, tracking: Tracking, mlflow_run: str, tags: dict[str, str]) -> Version:
    """Upload what was made, register it, and only then let go of the checkpoints."""
    made = context.scratch / "made"
    for folder in sorted(made.iterdir()):
        tracking.log_folder(mlflow_run, folder, folder.name)
    version = tracking.register(context.run_id, mlflow_run, "model", tags)
    tracking.close_run(mlflow_run)
    shutil.rmtree(context.scratch)
    return version


def _flat(value: object, path: str = "") -> dict[str, object]:
    """``{"a": {"b": 1}}`` to ``{"a.b": 1}``, the form in which MLflow keeps parameters."""
    if isinstance(value, dict):
        return {
            k: v for key, inner in value.items() for k, v in _flat(inner, f"{path}.{key}" if path else str(key)).items()
        }
    return {path: value}
