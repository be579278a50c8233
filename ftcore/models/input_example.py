"""What a model is shown with in MLflow: an input that somebody made up. A row of the data would be personal data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftcore.recipe.canonical import canonical

if TYPE_CHECKING:
    from ftcore.recipe.sections import Task


def example(task: Task) -> dict[str, str]:
    """A made-up input of a task: ``text``, and ``context`` and ``part`` where the task takes them."""
    for name, part in task.parts.items():
        return example(part) | {"part": name}
    row = task.ROW
    texts = {name: row[name] for name in ("text", "context") if row.get(name)}
    return {name: one if isinstance(one, str) else canonical(one) for name, one in texts.items()}
