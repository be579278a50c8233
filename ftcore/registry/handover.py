"""Who must approve, and what Airflow's tasks hand over about that, sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError, RecipeError
from ftcore.recipe import reading as recipes
from ftcore.registry import login
from ftcore.store import keys
from ftcore.store.files import log
from ftcore.store.store import run_name

if TYPE_CHECKING:
    from ftcore.context import Context
    from ftcore.recipe.model import Recipe


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


def handed(context: Context, name: str) -> dict[str, Any]:
    """What Airflow's task sealed in a parameter; it must be about this run of this recipe.

    Raises:
        FtcoreError: it is not sealed by the platform, or is about another run.
    """
    found = keys.ring(context.settings).opened(context.params[name])
    verb, _, recipe = str(found.get("dag_id", "")).partition("__")
    if recipe != context.recipe.name or run_name(verb, str(found.get("run_id", ""))) != context.run_id:
        raise FtcoreError(f"the parameter {name} is about {found.get('dag_id')} {found.get('run_id')}, not this run")
    return found


def starters(context: Context) -> list[str]:
    """Who started the run, by Airflow, or whoever is at the terminal."""
    if "asked" in context.params:
        return list(handed(context, "asked").get("started_by", []))
    try:
        return [login.whoever(context.settings).name]
    except FtcoreError as error:  # a login that has ended, or Airflow away: no reason not to go on
        log.warning("who started this run is not known by a login: %s", error.args[0])
        return [login.here()]
