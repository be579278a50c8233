"""A registered version as something that predicts: torch for the evaluation, an export for serving."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ftcore.errors import ChangedArtefactError, ExportError, FtcoreError, TransientError
from ftcore.models.outputs import examples, join
from ftcore.recipe.kinds import kind_class
from ftcore.recipe.sections import task_class
from ftcore.registry import served
from ftcore.registry.verdict import TORCH
from ftcore.store.store import read_json

if TYPE_CHECKING:
    from ftcore.data.cleaning.rows import Faults
    from ftcore.models.outputs import Outputs, Text
    from ftcore.recipe.model import Recipe
    from ftcore.recipe.sections import Exporter, Task
    from ftcore.tracking.client import Tracking, Version

JUDGING = ("judge_by", "answer_tokens", "sources")
"""Settings of a task that are the recipe's: how its models are judged, and which rows a part gets. All others say what
a model is given, and travel with it in its card."""
BATCH = 32
"""Rows a batch: more is no faster on a CPU and pads more."""


@dataclass(frozen=True)
class Model:
    """A loaded version."""

    version: int
    flavour: str
    labels: tuple[str, ...]
    """Label names in the order of the probabilities; none where the task has no labels."""
    predict: Callable[[Sequence[Text]], Outputs]
    """One batch of texts to the task's outputs, such as probabilities ``[texts, labels]``."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """What travels with the model: its task, its longest text, what was done with personal data."""
    unreadable: Callable[[Sequence[Text]], Faults] = field(default=lambda texts: {})
    """Positions of texts that the model cannot be given, and why."""

    def outputs(self, texts: Sequence[Text], progress: Callable[[int], object] = lambda rows: None) -> Outputs:
        """Outputs of many texts, in their order.

        Texts of like length share a batch, so that little is spent on padding.
        """
        import numpy as np

        order = np.argsort([len(one.text) + len(one.context or "") for one in examples(texts)], kind="stable")
        made = []
        for start in range(0, len(texts), BATCH):
            batch = order[start : start + BATCH]
            made.append(self.predict([texts[i] for i in batch]))
            progress(len(batch))
        return join(made, order)


def flavours(recipe: Recipe) -> list[str]:
    """Names of all forms of a version: the exports, the serving one first, then torch."""
    exports = [name for exporter in recipe.exports for name in exporter.names()]
    return [*exports, TORCH]


def exact(recipe: Recipe) -> set[str]:
    """Names of the exports that compute in the precision of the trained model."""
    return {name for exporter in recipe.exports for name in exporter.exact()}


def artefact(flavour: str) -> str:
    """Name of the artefact that holds a form of a version."""
    return "model" if flavour == TORCH else flavour


def serving(recipe: Recipe) -> list[str]:
    """Names of the artefacts without which no version of a recipe can serve."""
    return [artefact(flavours(recipe)[0])]


def judging(task: Task) -> dict[str, Any]:
    """The settings of a task, and of its parts, that say how its models are judged."""
    own: dict[str, Any] = {name: getattr(task, name) for name in JUDGING if name in type(task).model_fields}
    parts = {name: judging(part) for name, part in task.parts.items()}
    return own | ({"parts": parts} if parts else {})


def asked_by(task: Task, made_for: Task) -> Task:
    """The task by whose settings a model is asked: those that it was made for, judged as the recipe says.

    Args:
        task: the recipe's.
        made_for: the task of the model's card, of the same kind and parts.
    """
    own = {name: value for name, value in judging(task).items() if name != "parts"}
    if parts := task.parts:
        own["parts"] = {name: asked_by(part, made_for.parts[name]) for name, part in parts.items()}
    return made_for.model_copy(update=own)


def task_of_card(card: Mapping[str, Any]) -> Task:
    """The task that a model was made for, from its card."""
    return task_class(card["task"]["kind"]).model_validate(card["task"])


def card_task(recipe: Recipe, folder: Path) -> Task:
    """The task by whose settings the model in a folder is asked; the recipe's where its card names another kind."""
    card = read_json(folder / "ftcore.json") or {}
    if card.get("task", {}).get("kind") != recipe.task.kind:
        return recipe.task
    made_for = task_of_card(card)
    alike = set(made_for.parts) == set(recipe.parts)
    return asked_by(recipe.task, made_for) if alike else recipe.task


def load(recipe: Recipe, tracking: Tracking, version: Version, flavour: str) -> Model:
    """Load one form of a version.

    Raises:
        FtcoreError: the version has no such artefact.
        ExportError: the artefact was made for another kind of task, or for other labels.
        ChangedArtefactError: its bytes are not those that were promoted.
    """
    with served.opened(tracking, version, artefact(flavour)) as folder:
        return _load(recipe, tracking, version, flavour, folder)


def _load(recipe: Recipe, tracking: Tracking, version: Version, flavour: str, folder: Path) -> Model:
    card = read_json(folder / "ftcore.json")
    if not card or card["task"]["kind"] != recipe.task.kind:
        raise ExportError(f"version {version.number} of {tracking.name} was not made for the task {recipe.task.kind}")
    threads = tracking.settings.threads or os.cpu_count() or 1
    made_for = task_of_card(card)
    labels, asked = made_for.labels, recipe.task.labels
    if labels != tuple(asked):
        raise ExportError(
            f"version {version.number} of {tracking.name} knows the labels {', '.join(labels)}, the recipe "
            f"{', '.join(asked)}",
            hint="restore task.labels, or give the changed recipe a name of its own",
        )
    config = card_task(recipe, folder)
    kind = next((one.kind for one in recipe.exports if flavour in one.names()), "")
    predict = _predictor(config, folder, card, kind, threads)
    return Model(version.number, flavour, labels, predict, card, _unreadable(config, folder))


def of_folder(folder: Path) -> tuple[Model, Task]:
    """A model as it lies in a folder, by its card alone, and the task that it was made for; for MLflow's own loading.

    Raises:
        ExportError: the folder holds no such model.
    """
    card = read_json(folder / "ftcore.json")
    if not card:
        raise ExportError(f"{folder} holds no model of ftcore", hint="restore its artefact")
    config = task_of_card(card)
    predict = _predictor(config, folder, card, card.get("exporter", ""), os.cpu_count() or 1)
    labels = config.labels
    return Model(0, folder.name, labels, predict, card, _unreadable(config, folder)), config


def card(recipe: Recipe, tracking: Tracking, number: int) -> Mapping[str, Any] | None:
    """What travels with a version: settings of its task and of cleaning; None where the version or its card is gone.

    Raises:
        TransientError: MLflow does not answer.
    """
    version = next((one for one in tracking.versions() if one.number == number), None)
    if version is None:
        return None
    for name in map(artefact, flavours(recipe)):
        try:
            with served.opened(tracking, version, name) as folder:
                found: Mapping[str, Any] | None = read_json(folder / "ftcore.json")
        except (TransientError, ChangedArtefactError):
            raise
        except FtcoreError:
            continue
        if found:
            return found
    return None


def _unreadable(config: Task, folder: Path) -> Callable[[Sequence[Text]], Faults]:
    if not config.TEMPLATED:
        return lambda texts: {}
    from ftcore.models.loading import tokenizer

    words = tokenizer(folder)
    return lambda texts: config.unreadable(words, texts)


def _predictor(
    config: Task, folder: Path, card: Mapping[str, Any], exporter: str, threads: int
) -> Callable[[Sequence[Text]], Outputs]:
    """What predicts with the model in a folder: an exporter's graph, or torch where none is named."""
    limit = card["max_length_tokens"]
    if not exporter:
        import torch

        torch.set_num_threads(threads)
        try:
            return config.predictor(folder, limit)
        except OSError as error:  # of transformers, for a file that is not there or is no such file
            raise ExportError(
                f"the model in {folder} cannot be loaded: {error}", hint="restore its artefact"
            ) from error
    run = cast("type[Exporter]", kind_class("exporters", exporter)).load(folder, limit, threads)
    return config.exported(run)
