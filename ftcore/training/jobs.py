"""A training made ready: what ``train`` does once, and ``tune`` once for each trial and each fold."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot, suppression
from ftcore.errors import TrainingError
from ftcore.models import base
from ftcore.recipe.sections import PersonalData
from ftcore.store import store
from ftcore.training import exchanges, planned, references
from ftcore.training.job import Data, Job, Run, Trained
from ftcore.training.readable_rows import readable
from ftcore.training.strategies.ddp import Ddp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedTokenizerBase, TrainerCallback

    from ftcore.context import Context
    from ftcore.models.features import Collator, Features
    from ftcore.recipe.model import Recipe
    from ftcore.recipe.sections import Task
    from ftcore.training.callbacks import Track
    from ftcore.training.exchanges import PreferenceExample
    from ftcore.training.strategies._base import Strategy


def rows(context: Context) -> dict[str, pa.Table]:
    """Rows to train on and to validate by, without those of subjects forgotten since the snapshot was published.

    The test split is not read.

    Raises:
        NotEnoughDataError: they do not suffice for the task, such as a label without any.
        DataRejectedError: the snapshot is not the one that was planned with.
    """
    identity = planned.identity(context)
    forgotten = suppression.load(context.shelf, os.environ)
    found = {
        split: forgotten.keep(snapshot.read(context.shelf, identity, [split])) for split in ("train", "validation")
    }
    found["train"] = context.recipe.method.rows(context, found["train"])
    context.recipe.task.check(found)
    return found


def prepared(
    context: Context,
    tables: dict[str, pa.Table],
    checkpoints: Path,
    track: Track,
    callbacks: Sequence[TrainerCallback] = (),
) -> Job:
    """The base model with what is to be trained in it, and the rows as it reads them.

    Raises:
        NotFoundError: the base model is not there.
        MissingExtraError: its package is not installed.
        TrainingError: it cannot be trained, or is not the tokenizer's.
        DataRejectedError: too many rows would be cut.
    """
    import torch
    from transformers import set_seed

    from ftcore.models import loading
    from ftcore.training import dropout

    recipe, task = context.recipe, context.recipe.task
    method, limit = recipe.method, recipe.train.max_length_tokens
    torch.set_num_threads(context.settings.threads or torch.get_num_threads())
    set_seed(recipe.train.seed)
    reference = method.start(context)
    base_folder = base.resolve(reference, context.settings, context.recipe_path.parent)
    tokenizer = loading.tokenizer(base_folder)
    model = loading.model(lambda: task.load(base_folder), base_folder, tokenizer)
    loading.window(model, limit)
    if recipe.train.dropout is not None:
        dropout.set_chance(model, recipe.train.dropout)
    model, whole = strategy(context).spread(model, partial(method.apply, tokenizer=tokenizer), recipe.train)
    kept = {split: readable(task, tokenizer, table, f"the {split} split") for split, table in tables.items()}
    tables = {split: table for split, (table, _) in kept.items()}
    encoded = {
        split: replace(task.encode(tokenizer, table, limit), unreadable=kept[split][1])
        for split, table in tables.items()
    }
    encoded = references.taught(context, tables, encoded)
    _every_token_is_known(model, encoded, base_folder)
    for split, features in encoded.items():
        loading.whole_enough(features, split, limit, recipe.train.max_truncated)
    collate, config = collator(task, model, tokenizer), planned.settings(context)
    digest = store.digest(recipe.resolved())[:16]
    identity = f"{digest}-{context.earlier('plan').figures['snapshot']}-{reference}"
    words, ask = _exchanges(recipe, tables), references.ask(context)
    weights = _weights(recipe, encoded["train"], encoded["validation"])
    return Job(
        trained=Trained(model=model, tokenizer=tokenizer, whole=whole),
        data=Data(rows=encoded, collate=collate, exchanges=words, class_weights=weights[0], judging_weights=weights[1]),
        run=Run(config=config, folder=checkpoints, identity=identity, track=track, callbacks=callbacks, ask=ask),
    )


def fit(context: Context, job: Job) -> dict[str, float]:
    """Train by the recipe's method; returns the figures.

    Raises:
        TrainingError: the loss is not a number, memory or disk do not suffice, the checkpoints are another recipe's.
        TransientError: stopped by a signal; a checkpoint was written.
    """
    return context.recipe.method.fit(job, strategy(context))


def strategy(context: Context) -> Strategy:
    """How the processes share the model: by the recipe, or by the plan where that leaves it to it."""
    asked = planned.settings(context).distributed
    return (asked.chosen if asked.total > 1 else None) or Ddp()


def _exchanges(recipe: Recipe, tables: dict[str, pa.Table]) -> dict[str, list[PreferenceExample]]:
    """The rows as words, where the method trains in its own way."""
    if not recipe.method.OWN_LOOP:
        return {}
    return {split: list(exchanges.of(table, recipe.task.prompt)) for split, table in tables.items()}


def collator(task: Task, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> Collator:
    """The task's collator, which pads on the side on which predictors and exports pad, whatever the tokenizer's own."""
    from ftcore.models.features import padding_as

    return task.collator(padding_as(model, tokenizer))


def _weights(recipe: Recipe, train: Features, validation: Features) -> tuple[Any, Any]:
    """Class weights in the loss, and in the validation loss, which chooses among checkpoints by what is trained."""
    from ftcore.training import balance

    config, labels = recipe.train, recipe.task.labels
    weights = balance.class_weights(train, config.class_weights, labels)
    return weights, weights if weights is not None else balance.judging_weights(validation, config.sampling, labels)


def _every_token_is_known(model: Any, encoded: dict[str, Features], base_folder: Path) -> None:
    known = int(model.config.get_text_config().vocab_size)
    highest = max((max(ids, default=0) for rows in encoded.values() for ids in rows.columns["input_ids"]), default=0)
    if highest >= known:
        raise TrainingError(
            f"the tokenizer in {base_folder} gives token {highest}, and the model next to it has {known}",
            hint="they belong to different models: put the right tokenizer there",
        )


def save(context: Context, job: Job, folder: Path) -> None:
    """Write ``model/`` and what else the method keeps into a folder, with the card that says how it reads."""
    recipe = context.recipe
    shutil.rmtree(folder, ignore_errors=True)
    recipe.method.save(job.trained.model, job.trained.tokenizer, folder)
    task, limit = recipe.task.model_dump(mode="json"), recipe.train.max_length_tokens
    card: dict[str, Any] = {"recipe": recipe.name, "task": task, "max_length_tokens": limit}
    card["personal_data"] = _personal_data(context)
    store.write_json(folder / "model" / "ftcore.json", card)


def _personal_data(context: Context) -> dict[str, Any]:
    """What was done with personal data in what the model was trained on: in production the same is done."""
    identity = context.earlier("plan").figures["snapshot"]
    prepared = (
        snapshot.manifest(context.shelf, identity, proven=True)
        .get("settings", {})
        .get("prepare", {})
        .get("personal_data")
    )
    config = PersonalData.model_validate(prepared) if prepared else context.recipe.prepare.personal_data
    # Every action by name: what is masked by default may be more in a later version.
    return {**config.model_dump(mode="json"), "entities": config.actions}
