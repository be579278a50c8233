"""What ``tune`` settled, for the training after it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ftcore.context import Context
from ftcore.errors import FtcoreError
from ftcore.recipe import reading as recipes
from ftcore.recipe import space
from ftcore.recipe.canonical import canonical
from ftcore.store import store


def tuned(context: Context) -> Context:
    """The same with the best settings that were found in place of the recipe's own.

    Raises:
        FtcoreError: the recipe has a search that was not done in this run, or was changed since.
    """
    if context.recipe.search is None:
        return context
    record = context.earlier("tune")
    if record.inputs["recipe"] != store.digest(context.recipe.resolved()):
        command = f"ftcore step tune {context.recipe.name} --run {context.run_id}"
        raise FtcoreError("the recipe was changed after its search", hint=f"search again: {command}")
    return with_settings(context, record.figures["settings"])


def with_settings(context: Context, values: dict[str, Any]) -> Context:
    """The same with other values in its recipe, by path.

    Raises:
        RecipeError: together they make no recipe.
    """
    return replace(context, recipe=recipes.parse(space.applied(context.recipe.resolved(), values)))


def alone(context: Context) -> Context:
    """The same for a trial or a fold, which trains in one process, whatever the training after it does."""
    return with_settings(context, {"train.distributed": {}})


def figures(context: Context) -> dict[str, Any]:
    """What the training's record repeats of the search and of the cross-validation."""
    record = context.shelf.record(context.run_id, "tune")
    kept = ("settings", "best_trial", "trials", "search_run", "folds")
    return {name: record.figures[name] for name in kept if record and name in record.figures}


def tags(context: Context) -> dict[str, str]:
    """The same for the model version."""
    found = figures(context)
    said: dict[str, str] = {}
    if "settings" in found:
        said |= {"settings": canonical(found["settings"]), "search_run": found["search_run"]}
    if "folds" in found:
        said["folds"] = canonical(found["folds"]["metrics"])
    return said


def flat(folds: dict[str, Any]) -> dict[str, float]:
    """Mean, spread and interval of each metric over folds, as MLflow keeps them: ``folds.accuracy.mean``."""
    return {
        f"folds.{name}.{what}": value
        for name, scores in folds["metrics"].items()
        for what, value in scores.items()
        if value is not None
    }
