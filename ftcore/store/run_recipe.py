"""The recipe of a run as it was: kept in the store when the run begins, read by its later steps and by all evidence.

``runs/RUN/recipe.json`` is the recipe that the run goes by. The first step of a chain reads the recipe's file; where
that has changed since the run began, the run begins anew with it, and what it went by before stays within reach as
``recipe-DIGEST.json``, since records of earlier steps may name it. All other steps go by what is kept, whatever
became of the file in the meantime, so that no run is trained by one recipe and judged by another.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftcore.recipe import reading as recipes
from ftcore.recipe.canonical import sha256
from ftcore.store.files import NO_FILE, content
from ftcore.store.store import as_json, create_bytes, damaged, digest, write_bytes

if TYPE_CHECKING:
    from upath import UPath

    from ftcore.recipe.model import Recipe
    from ftcore.store.store import RecipeStore

FILE = "recipe.json"
INPUT = FILE
"""Name under which a record's ``inputs`` keep the SHA-256 of the file."""
TAG = "ftcore.recipe_sha256"
"""Tag of a version: SHA-256 of the file that its run went by."""
FORMAT = 1


@dataclass(frozen=True)
class RunRecipe:
    """What a run goes by."""

    data: bytes
    """The file as it is written: ``format``, ``recipe`` with every default filled in, and ``yaml``, the text.

    Nothing in it depends on the run, so that runs of one recipe keep the same bytes.
    """

    @property
    def sha256(self) -> str:
        """Of the file."""
        return sha256(self.data)

    @property
    def document(self) -> dict[str, Any]:
        """The file as a mapping."""
        return dict(json.loads(self.data))

    @property
    def resolved(self) -> dict[str, Any]:
        """The recipe with every default filled in, as the steps used it."""
        return dict(self.document["recipe"])

    @property
    def digest(self) -> str:
        """Hash of ``resolved``: what records keep as their input ``recipe``."""
        return digest(self.resolved)

    def recipe(self) -> Recipe:
        """The recipe itself.

        Raises:
            RecipeError: this version of ftcore knows no such recipe.
        """
        return recipes.parse(self.resolved, f"the run's {FILE}")


def begin(shelf: RecipeStore, run_id: str, recipe: Recipe, text: str) -> RunRecipe:
    """Keep the recipe that a run begins with, once; the one that it went by before is kept aside.

    Args:
        shelf: of the recipe.
        run_id: the run.
        recipe: as the steps use it.
        text: the file's text as it was written.

    Raises:
        FtcoreError: the run id could leave the store.
        DamagedFileError: what was kept before cannot be read.
    """
    place = _place(shelf, run_id)
    before, resolved = of(shelf, run_id), recipe.resolved()
    if before and before.digest == digest(resolved):
        return before
    aside = of(shelf, run_id, digest(resolved)) if before else None
    document = {"format": FORMAT, "recipe": resolved, "yaml": text}
    data = aside.data if aside else as_json(document)
    shelf.sign(place, data)
    if before:
        create_bytes(_aside(place, before.digest), before.data)
        write_bytes(place, data)
    elif not create_bytes(place, data):  # another shard of this very step was first
        return begin(shelf, run_id, recipe, text)
    return RunRecipe(data)


def of(shelf: RecipeStore, run_id: str, wanted: str = "") -> RunRecipe | None:
    """The recipe that a run went by; None where none was kept, as of runs of earlier versions.

    Args:
        shelf: of the recipe.
        run_id: the run.
        wanted: digest of the recipe or SHA-256 of its file, where the run went by several; the last one by default.

    Raises:
        FtcoreError: the run id could leave the store.
        DamagedFileError: it cannot be read.
    """
    place = _place(shelf, run_id)
    current = _read(place)
    if current is None or wanted in ("", current.digest, current.sha256):
        return current
    found = (_read(path) for path in place.parent.iterdir() if path.name.startswith("recipe-"))
    return next((one for one in found if one and wanted in (one.digest, one.sha256)), None)


def _place(shelf: RecipeStore, run_id: str) -> UPath:
    return shelf.folder(run_id, FILE)


def _aside(place: UPath, known: str) -> UPath:
    return place.parent / f"recipe-{known[:16]}.json"


def _read(path: UPath) -> RunRecipe | None:
    try:
        found = RunRecipe(content(path))
        found.resolved  # noqa: B018 - read here, where the file's name is known
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        raise damaged(path, f"is no file: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, f"is no recipe of a run: {type(error).__name__}: {error}") from error
    return found
