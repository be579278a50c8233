"""Recipes as files: read with every fault at once, found by name, and described as a JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ftcore.errors import RecipeError
from ftcore.recipe import checks, source_names, yaml_core
from ftcore.recipe.faults import of_fields, of_yaml
from ftcore.recipe.model import Recipe


def read(path: str | Path, published: Mapping[str, str] | None = None) -> Recipe:
    """Read and check a recipe file.

    Args:
        path: the file.
        published: what sources were read by which name when they were published: see ``_source_names``.

    Raises:
        RecipeError: the file cannot be read, is not YAML, or has faults; all faults are listed at once.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        document = yaml_core.read(text)
    except OSError as error:
        raise RecipeError(str(path), [("", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise RecipeError(str(path), [("", f"is not UTF-8: byte {error.start}")]) from error
    except yaml.YAMLError as error:
        raise RecipeError(str(path), [of_yaml(error)]) from error
    if not isinstance(document, dict):
        raise RecipeError(str(path), [("", "is empty or not a mapping of keys to values")])
    try:
        return parse(document, str(path), published)
    except RecipeError as error:
        raise error.at(yaml_core.lines(text)) from error.__cause__


def lines(path: str | Path) -> dict[str, int]:
    """The line of each key of a recipe's file, by its path; empty where the file cannot be read."""
    try:
        return yaml_core.lines(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}


def parse(document: dict[str, Any], origin: str = "recipe", published: Mapping[str, str] | None = None) -> Recipe:
    """Check a recipe that is already a mapping.

    Raises:
        RecipeError: with every fault and its path.
    """
    hint = "ftcore schema prints every key with its meaning"
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        raise RecipeError(origin, list(of_fields(error)), hint) from error
    recipe = _named_apart(recipe, published)
    if faults := [*checks.contradictions(recipe)]:
        raise RecipeError(origin, faults, hint)
    return recipe


def _named_apart(recipe: Recipe, published: Mapping[str, str] | None) -> Recipe:
    """The recipe with a name of its own for each source, holdouts included: see ``_source_names``."""
    holdouts = recipe.evaluate.holdouts
    every = source_names.apart([*recipe.sources, *holdouts.values()], published)
    sources, others = (
        tuple(every[: len(recipe.sources)]),
        dict(zip(holdouts, every[len(recipe.sources) :], strict=True)),
    )
    if sources == recipe.sources and others == holdouts:
        return recipe
    evaluate = recipe.evaluate.model_copy(update={"holdouts": others})
    return recipe.model_copy(update={"sources": sources, "evaluate": evaluate})


def files(folder: Path) -> list[Path]:
    """The recipes in a folder, by name; ``_template.yaml`` and hidden files are none."""
    return sorted(path for path in folder.glob("*.yaml") if path.name[0] not in "._")


def locate(name_or_path: str, folder: Path) -> Path:
    """The file of a recipe given by its path or, inside ``folder``, by its name.

    Raises:
        RecipeError: there is no such file; the message lists the recipes there are.
    """
    for path in (Path(name_or_path), folder / f"{name_or_path}.yaml"):
        if path.is_file():
            return path
    known = ", ".join(path.stem for path in files(folder)) or "none"
    raise RecipeError(name_or_path, [("", f"no such recipe; in {folder}: {known}")])


def json_schema() -> dict[str, Any]:
    """JSON Schema of a recipe, so that editors complete it."""
    schema = Recipe.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ftcore recipe", **schema}
