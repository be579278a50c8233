"""Other models that a training refers to: a teacher's probabilities, and registered models that are asked."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from ftcore.errors import TrainingError
from ftcore.models import base
from ftcore.models.outputs import given
from ftcore.serving.model import task_of_card
from ftcore.store.store import read_json
from ftcore.training.exchanges import ReferenceModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pyarrow as pa

    from ftcore.context import Context
    from ftcore.models.features import Features

log = logging.getLogger(__name__)


def taught(context: Context, tables: dict[str, pa.Table], encoded: dict[str, Features]) -> dict[str, Features]:
    """The encoded rows, each with its teacher's probabilities where the method has one."""
    recipe = context.recipe
    reference = recipe.method.teacher_reference(context)
    if reference is None:
        return encoded
    import numpy as np

    folder = base.resolve(reference, context.settings, context.recipe_path.parent)
    _knows_the_labels(folder, reference, recipe.task.labels)
    ask = recipe.task.predictor(folder, recipe.train.max_length_tokens)
    result = {}
    for split, features in encoded.items():
        texts = given(tables[split])
        if len(texts) != len(features):
            raise TrainingError(f"{recipe.method.kind} needs one encoded row for each text, and {split} has others")
        said = np.concatenate([ask(texts[start : start + 32]) for start in range(0, len(texts), 32)])
        log.info("%s computed teacher probabilities for %d rows of %s", reference, len(texts), split)
        result[split] = replace(features, columns={**features.columns, "teacher": said.tolist()})
    return result


def ask(context: Context) -> Callable[[str], ReferenceModel]:
    """Finds registered models by their reference, each ready to be asked."""

    def find_model(reference: str) -> ReferenceModel:
        folder = base.resolve(reference, context.settings, context.recipe_path.parent)
        card = read_json(folder / "ftcore.json")
        if card is None:
            raise TrainingError(f"{reference} was not made here: it has no ftcore.json", hint="name a registered model")
        task = task_of_card(card)
        return ReferenceModel(task.predictor(folder, card["max_length_tokens"]), task.labels, task.kind)

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
