"""What the recipe of a version's run declared, for whatever is told about the version afterwards.

It is read as plain values from what the run kept, never from today's file, and also where this version of ftcore would
refuse such a recipe. What is not known is None, with the reason in ``unknown``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.store import run_recipe

if TYPE_CHECKING:
    from ftcore.store.run_recipe import RunRecipe
    from ftcore.store.store import RecipeStore

RUN = "ftcore.run"
NOT_KEPT = "the run was made by an earlier version of ftcore, which kept no recipe"


@dataclass(frozen=True)
class Declared:
    """A version's recipe as its run went by it."""

    name: str
    """Of the recipe."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Every key with its value, defaults filled in; empty where the recipe is not known."""
    kept: RunRecipe | None = None
    """The file in the store, byte by byte."""
    unknown: str = ""
    """Why nothing is known, as a clause; empty where all is."""
    lost: bool = False
    """Whether it was kept and is not there any more, or is another one."""

    def of(self, path: str, default: Any = None) -> Any:
        """The value at a path such as ``approval.required``; the default where it is not known."""
        found: Any = self.values
        for key in path.split("."):
            if not isinstance(found, Mapping) or found.get(key) is None:
                return default
            found = found[key]
        return found


def of_version(shelf: RecipeStore, tags: Mapping[str, str]) -> Declared:
    """What a version's run declared, by the version's tags.

    Args:
        shelf: of the recipe.
        tags: of the version; ``ftcore.recipe_sha256`` says which recipe it was trained by.
    """
    run_id, wanted = tags.get(RUN, ""), tags.get(run_recipe.TAG, "")
    if not run_id:
        return Declared(shelf.name, unknown="the version names no run")
    try:
        kept = run_recipe.of(shelf, run_id, wanted)
        there = kept or run_recipe.of(shelf, run_id)
    except FtcoreError as error:
        return Declared(shelf.name, unknown=str(error.args[0]), lost=True)
    if wanted and kept is None:
        what = "is another one than the version's" if there else "is not there any more"
        return Declared(shelf.name, unknown=f"runs/{run_id}/{run_recipe.FILE} {what}", lost=True)
    if not wanted or kept is None:  # a recipe that a later step kept says nothing of the training before it
        return Declared(shelf.name, unknown=NOT_KEPT)
    return Declared(shelf.name, kept.resolved, kept)
