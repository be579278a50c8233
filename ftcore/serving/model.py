"""A registered version as something that predicts: torch for the evaluation, an export for serving."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftcore._find import find
from ftcore.errors import ExportError
from ftcore.store import read_json
from ftcore.verdict import TORCH

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from ftcore.recipe import Recipe
    from ftcore.tracking import Tracking, Version

BATCH = 32
"""Rows a batch: more is no faster on a CPU and pads more."""


@dataclass(frozen=True)
class Model:
    """A loaded version."""

    version: int
    flavour: str
    labels: tuple[str, ...]
    """Label names in the order of the probabilities."""
    predict: Callable[[Sequence[str]], np.ndarray]
    """One batch of texts to probabilities, ``[texts, labels]``."""

    def probabilities(self, texts: Sequence[str], progress: Callable[[int], object] = lambda rows: None) -> np.ndarray:
        """Probabilities of many texts, ``[texts, labels]``, in their order.

        Texts of like length share a batch, so that little is spent on padding.
        """
        import numpy as np

        result = np.zeros((len(texts), len(self.labels)), np.float32)
        order = np.argsort([len(text) for text in texts], kind="stable")
        for start in range(0, len(texts), BATCH):
            batch = order[start : start + BATCH]
            result[batch] = self.predict([texts[i] for i in batch])
            progress(len(batch))
        return result


def flavours(recipe: Recipe) -> list[str]:
    """Names of all forms of a version: the exports, the serving one first, then torch."""
    exports = [name for config in recipe.exports for name in find("exporters", config.kind).names(config)]
    return [*exports, TORCH]


def load(recipe: Recipe, tracking: Tracking, version: Version, flavour: str) -> Model:
    """Load one form of a version.

    Raises:
        FtcoreError: the version has no such artefact.
        ExportError: the artefact was made for another kind of task.
    """
    folder = tracking.fetch(version, "model" if flavour == TORCH else flavour)
    card = read_json(folder / "ftcore.json")
    if not card or card["task"]["kind"] != recipe.task.kind:
        raise ExportError(f"version {version.number} of {tracking.name} was not made for the task {recipe.task.kind}")
    threads = tracking.settings.threads or os.cpu_count() or 1
    return Model(
        version.number, flavour, tuple(card["task"]["labels"]), _predictor(recipe, folder, card, flavour, threads)
    )


def _predictor(
    recipe: Recipe, folder: Path, card: dict[str, object], flavour: str, threads: int
) -> Callable[[Sequence[str]], np.ndarray]:
    task = find("tasks", recipe.task.kind)
    limit = card["max_length_tokens"]
    if flavour == TORCH:
        import torch

        torch.set_num_threads(threads)
        return task.predictor(recipe.task, folder, limit)  # type: ignore[no-any-return]
    kind = next(c.kind for c in recipe.exports if flavour in find("exporters", c.kind).names(c))
    logits = find("exporters", kind).load(folder, limit, threads)
    return lambda texts: task.probabilities(logits(texts))
