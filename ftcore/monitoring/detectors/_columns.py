"""Which columns the predictions of a task fill, and of which type: what a detector can watch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftcore.monitoring.findings import ColumnType
    from ftcore.recipe.model import Recipe

BY_TARGET: dict[str, dict[str, ColumnType]] = {
    "label": {"text": "text", "label": "cat", "score": "num"},
    "labels": {"text": "text", "label": "cat", "score": "num"},
    "number": {"text": "text", "score": "num"},
    "text": {"text": "text", "label": "text"},
    "none": {"text": "text", "score": "num"},
}
"""By a task's ``TARGET``; a task whose predictions differ has ``PREDICTION_COLUMNS``. Numbers are in ``score``."""
NAMES: dict[ColumnType, str] = {"text": "texts", "num": "numbers", "cat": "categories"}


def columns(recipe: Recipe) -> dict[str, ColumnType]:
    """Columns of the prediction log that a recipe's predictions fill; of several parts, those that any part fills."""
    tasks = list(recipe.task.parts.values()) or [recipe.task]
    found: dict[str, ColumnType] = {}
    for task in tasks:
        for name, type_ in (task.PREDICTION_COLUMNS or BY_TARGET[task.TARGET]).items():
            found[name] = "cat" if "cat" in (type_, found.get(name)) else type_
    return found


def faults(column: str, types: tuple[ColumnType, ...], instead: str, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """A column that the recipe's predictions do not have, or whose type a detector cannot read.

    Args:
        column: that the detector watches.
        types: that it reads.
        instead: what to do where the type is another.
        recipe: tells the task.
    """
    known = columns(recipe)
    if column not in known:
        yield "column", f"predictions of the task {recipe.task.kind} have no {column}; they have {', '.join(known)}"
    elif known[column] not in types:
        yield "column", f"{column} holds {NAMES[known[column]]} in the task {recipe.task.kind}; {instead}"
