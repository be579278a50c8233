"""Rows that a model cannot be given: its chat template refuses them. Each costs one row, by name, never a training."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ftcore.errors import TrainingError
from ftcore.models import outputs
from ftcore.registry import served
from ftcore.serving import model as models

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

    from ftcore.recipe.model import Recipe
    from ftcore.recipe.sections import Task
    from ftcore.tracking.client import Tracking, Version

log = logging.getLogger(__name__)

NAMED = 10
"""Most rows that a message names."""


def readable(
    task: Task, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, what: str
) -> tuple[pa.Table, dict[str, str]]:
    """Rows that a model can be given, and why not by row id of the others, which the log counts and names.

    Args:
        task: the recipe's.
        tokenizer: the model's, whose template decides.
        rows: with ``row_id`` and what the task reads.
        what: which rows these are, for messages.

    Raises:
        TrainingError: of some rows none is left.
    """
    import pyarrow as pa

    if not (task.TEMPLATED and rows.num_rows):
        return rows, {}
    faults = task.unreadable(tokenizer, outputs.given(rows, answers=True, sources=True))
    if not faults:
        return rows, {}
    ids = rows["row_id"].to_pylist()
    reasons = {ids[place]: why for place, why in sorted(faults.items())}
    first = next(iter(reasons.values()))
    names = ", ".join(list(reasons)[:NAMED]) + (", …" if len(reasons) > NAMED else "")
    if len(faults) == rows.num_rows:
        raise TrainingError(
            f"the base model cannot be given any of the {rows.num_rows:,} rows of {what}: {first}",
            hint="take a base model with another chat template; where it knows no system role, leave task.system and "
            "the context empty and put it into the text",
        )
    log.warning("%d of %d rows of %s are left out (rows %s): %s", len(faults), rows.num_rows, what, names, first)
    return rows.filter(pa.array([place not in faults for place in range(rows.num_rows)], pa.bool_())), reasons


def by_all(
    recipe: Recipe, tracking: Tracking, versions: Sequence[Version | None], rows: pa.Table
) -> tuple[pa.Table, dict[str, str]]:
    """Rows that every compared version can be given, so that all are judged on the same ones; see ``readable``."""
    from ftcore.models.loading import tokenizer

    reasons: dict[str, str] = {}
    if not recipe.task.TEMPLATED:
        return rows, reasons
    for version in filter(None, versions):
        folder = served.folder(tracking, version, "model")
        task, words = models.card_task(recipe, folder), tokenizer(folder)
        rows, some = readable(task, words, rows, f"the evaluation of version {version.number}")
        reasons |= some
    return rows, reasons
