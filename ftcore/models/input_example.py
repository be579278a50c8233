"""What a model is shown with in MLflow: an input that somebody made up. A row of the data would be personal data."""

from __future__ import annotations

from typing import Any

from ftcore.recipe.canonical import canonical
from ftcore.recipe.kinds import find


def example(task: Any) -> dict[str, str]:
    """A made-up input of a task: ``text``, and ``context`` and ``part`` where the task takes them."""
    parts = getattr(task, "parts", {})
    if parts:
        name, part = next(iter(parts.items()))
        return example(part) | {"part": name}
    row = find("tasks", task.kind).ROW
    texts = {name: row[name] for name in ("text", "context") if row.get(name)}
    return {name: one if isinstance(one, str) else canonical(one) for name, one in texts.items()}
