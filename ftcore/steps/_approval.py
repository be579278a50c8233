"""Who must approve: by the run's recipe, and by what its file says today of who may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftcore import recipe as recipes
from ftcore.errors import RecipeError

if TYPE_CHECKING:
    from ftcore.context import Context
    from ftcore.recipe import Recipe


def current(context: Context) -> Recipe:
    """The run's recipe with the approvals that count now.

    Whoever left may not approve any more, though the run began before; as many people must approve as either asks for.
    Where the file is gone or broken the run's recipe counts.
    """
    kept = context.recipe
    try:
        today = recipes.read(context.recipe_path).approval
    except (RecipeError, OSError):
        return kept
    if today == kept.approval:
        return kept
    required = max(today.required, kept.approval.required)
    return kept.model_copy(update={"approval": today.model_copy(update={"required": required})})
