"""What a step is given: the recipe, the run, and its place in the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.store.records import Record
from ftcore.store.store import RecipeStore, damaged

if TYPE_CHECKING:
    from upath import UPath

    from ftcore.recipe.model import Recipe
    from ftcore.settings import Settings

__all__ = ["Context", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What a step found; the pipeline makes the record of it."""

    reason: str
    """One sentence for people."""
    proceed: bool = True
    """False where the steps after this one must not run."""
    figures: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """Everything a step may use. A step reads earlier records and writes below ``folder``; nothing else is shared."""

    recipe: Recipe
    recipe_path: Path
    run_id: str
    step: str
    params: Mapping[str, str]
    shelf: RecipeStore
    settings: Settings
    filtered: Counter[str] = field(default_factory=Counter, compare=False)
    """Rows that the ``where`` of a source left out, by the source's name: counted while sources are read."""
    named: dict[str, str] = field(default_factory=dict, compare=False)
    """Files that patterns found, and archives, by the name that their rows carry: noted while sources are read."""

    @property
    def shard(self) -> str:
        """Key of the shard that this process does of a step that is shared by many; empty where it does the whole."""
        return self.params.get("shard", "")

    @cached_property
    def folder(self) -> UPath:
        """The step's own folder of the run."""
        path = self.shelf.folder(self.run_id, self.step, self.shard)
        path.mkdir(parents=True, exist_ok=True)
        return path

    @cached_property
    def scratch(self) -> Path:
        """A local folder of the step that outlives a crash, for what must be a real file: checkpoints, models."""
        path = self.settings.cache / "scratch" / self.recipe.name / self.run_id / self.step / self.shard
        path.mkdir(parents=True, exist_ok=True)
        return path

    def earlier(self, step: str) -> Record:
        """Record of a step before this one.

        Raises:
            FtcoreError: that step has not been run in this run.
            DamagedFileError: the record is not as the platform wrote it.
        """
        record = self.shelf.record(self.run_id, step)
        if record is None:
            command = f"ftcore step {step} {self.recipe.name} --run {self.run_id}"
            raise FtcoreError(
                f"{self.step} needs the record of {step} in run {self.run_id}", hint=f"run it first: {command}"
            )
        if not self.shelf.is_signed(self.run_id, step):
            raise damaged(
                self.shelf.folder(self.run_id, step) / "record.json",
                f"was changed, or was not written by the platform; {step} has to be run again",
            )
        return record

    def written(self, path: UPath) -> str:
        """A path as the record keeps it."""
        return self.shelf.relative(path)
