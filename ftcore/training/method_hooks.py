"""What a method may have beyond ``apply`` and ``save``, and what is done without it: see ``methods/_template.py``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ftcore.context import Context
from ftcore.errors import TrainingError
from ftcore.models import base
from ftcore.models.outputs import given
from ftcore.recipe.kinds import find
from ftcore.store.store import read_json
from ftcore.training import planned
from ftcore.training.exchanges import Asked, Exchange, of

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    import pyarrow as pa

    from ftcore.models.features import Features
    from ftcore.training.loop import Job

log = logging.getLogger(__name__)


def start(context: Context) -> str:
    """Reference of the model to start from."""
    method = _of(context)
    return str(method.start(context.recipe.method, context)) if hasattr(method, "start") else context.recipe.base


def rows(context: Context, table: pa.Table) -> pa.Table:
    """The rows to train on, of those in the snapshot and others."""
    method = _of(context)
    return method.rows(context.recipe.method, context, table) if hasattr(method, "rows") else table


def taught(context: Context, tables: dict[str, pa.Table], encoded: dict[str, Features]) -> dict[str, Features]:
    """The encoded rows, each with its teacher's probabilities where the method has one."""
    method, recipe = _of(context), context.recipe
    if not hasattr(method, "teacher"):
        return encoded
    import numpy as np

    reference = method.teacher(recipe.method, context)
    folder = base.resolve(reference, context.settings, context.recipe_path.parent)
    _knows_the_labels(folder, reference, recipe.task.labels)
    ask = find("tasks", recipe.task.kind).predictor(recipe.task, folder, recipe.train.max_length_tokens)
    result = {}
    for split, features in encoded.items():
        texts = given(tables[split])
        if len(texts) != len(features):
            raise TrainingError(f"{recipe.method.kind} needs one encoded row for each text, and {split} has others")
        said = np.concatenate([ask(texts[start : start + 32]) for start in range(0, len(texts), 32)])
        log.info("%s computed teacher probabilities for %d rows of %s", reference, len(texts), split)
        result[split] = replace(features, columns={**features.columns, "teacher": said.tolist()})
    return result


def fit(context: Context, job: Job) -> dict[str, float]:
    """Train, by the method's own way or in the common loop; returns the figures."""
    method = _of(context)
    if hasattr(method, "fit"):
        return method.fit(context.recipe.method, job)  # type: ignore[no-any-return]
    return strategy(context).fit(job)  # type: ignore[no-any-return]


def strategy(context: Context) -> ModuleType:
    """How the processes share the model: by the recipe, or by the plan where that leaves it to it."""
    asked = planned.settings(context).distributed
    return find("strategies", asked.strategy if asked.total > 1 else "ddp")


def exchanges(context: Context, tables: dict[str, pa.Table]) -> dict[str, list[Exchange]]:
    """The rows as words, where the method trains in its own way and the task has prompts."""
    task = find("tasks", context.recipe.task.kind)
    if not hasattr(_of(context), "fit") or not hasattr(task, "prompt"):
        return {}
    ask = partial(task.prompt, context.recipe.task)
    return {split: list(of(table, ask)) for split, table in tables.items()}


def ask(context: Context) -> Callable[[str], Asked]:
    """Finds registered models by their reference, each ready to be asked."""

    def find_model(reference: str) -> Asked:
        folder = base.resolve(reference, context.settings, context.recipe_path.parent)
        card = read_json(folder / "ftcore.json")
        if card is None:
            raise TrainingError(f"{reference} was not made here: it has no ftcore.json", hint="name a registered model")
        task = find("tasks", card["task"]["kind"])
        config = task.Config.model_validate(card["task"])
        labels = tuple(getattr(config, "labels", ()))
        return Asked(task.predictor(config, folder, card["max_length_tokens"]), labels, config.kind)

    return find_model


def _knows_the_labels(folder: Path, reference: str, labels: tuple[str, ...]) -> None:
    config = read_json(folder / "config.json") or {}
    numbered = sorted((config.get("id2label") or {}).items(), key=lambda entry: int(entry[0]))
    if tuple(label for _, label in numbered) != tuple(labels):
        known = ", ".join(label for _, label in numbered) or "none"
        raise TrainingError(
            f"the teacher {reference} has the labels {known}, the recipe {', '.join(labels)}",
            hint="it must have been trained on the recipe's labels, in their order",
        )


def _of(context: Context) -> ModuleType:
    return find("methods", context.recipe.method.kind)
