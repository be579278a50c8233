"""What the pages read: recipes, the registry, evaluations. A file read before is not read again until it changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ftcore.errors import FtcoreError, RecipeError
from ftcore.recipe import reading as recipes
from ftcore.store import run_recipe
from ftcore.store.records import Record
from ftcore.store.store import RecipeStore, shelf

if TYPE_CHECKING:
    from upath import UPath

    from ftcore.recipe.model import Recipe
    from ftcore.settings import Settings

KEPT = 4096
"""Documents kept in memory."""


@dataclass(frozen=True)
class Product:
    """One recipe as the pages see it."""

    name: str
    recipe: Recipe | None
    fault: str = ""
    """Why the recipe cannot be read."""

    @property
    def description(self) -> str:
        """The recipe's sentence about itself."""
        return self.recipe.description if self.recipe else ""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels in order; empty where the task has none."""
        return tuple(getattr(self.recipe.task, "labels", ())) if self.recipe else ()


class UnreadableError(FtcoreError):
    """A document is there and is not what it should be."""


def products(settings: Settings) -> list[Product]:
    """Every recipe there is, by name."""
    return [product(settings, path.stem) for path in recipes.files(settings.recipes)]


def product(settings: Settings, name: str) -> Product:
    """One recipe by its name; one that has no file, or faults, says so."""
    path = settings.recipes / f"{name}.yaml"
    try:
        return _product(path, path.stat().st_mtime_ns)
    except OSError:
        return Product(name, None, "there is no recipe file of this name any more")


@lru_cache(maxsize=512)
def _product(path: Path, _changed: int) -> Product:
    try:
        return Product(path.stem, recipes.read(path))
    except RecipeError as error:
        return Product(path.stem, None, str(error))


def as_trained(product: Product, shelf: RecipeStore, run_id: str) -> Product:
    """A product with the recipe that a run went by, whatever became of the file since; today's where it kept none."""
    try:
        kept = run_recipe.of(shelf, run_id) if run_id else None
        return Product(product.name, kept.recipe(), product.fault) if kept else product
    except (FtcoreError, OSError):
        return product


def document(shelf: RecipeStore, run_id: str, step: str, name: str) -> dict[str, Any] | None:
    """A JSON file that a step wrote; None where there is none.

    Raises:
        UnreadableError: the file is no JSON object.
        FtcoreError: the run id could leave the store.
    """
    if not run_id:
        return None
    path = shelf.folder(run_id, step) / name
    try:
        found = path.stat()
        return _document(path, found.st_mtime, found.st_size)
    except FileNotFoundError:
        return None


@lru_cache(maxsize=KEPT)
def _document(path: UPath, _changed: float, _size: int) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnreadableError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnreadableError(f"{path.name} holds no object")
    return value


def evaluation(shelf: RecipeStore, run_id: str) -> dict[str, Any] | None:
    """``evaluation.json`` of a run."""
    return document(shelf, run_id, "evaluate", "evaluation.json")


def verdict(shelf: RecipeStore, run_id: str) -> dict[str, Any] | None:
    """``verdict.json`` of a run."""
    return document(shelf, run_id, "gate", "verdict.json")


def record(shelf: RecipeStore, run_id: str, step: str) -> dict[str, Any] | None:
    """The record of a step, with the types that a record has.

    Raises:
        UnreadableError: the file is no record.
        FtcoreError: the run id could leave the store.
    """
    found = document(shelf, run_id, step, "record.json")
    if found is None:
        return None
    try:
        Record.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UnreadableError(f"record.json is no record of a step: {place}: {first['msg']}") from error
    return found


def shelf_of(settings: Settings, name: str) -> RecipeStore:
    """A recipe's part of the store."""
    return shelf(settings, name)
