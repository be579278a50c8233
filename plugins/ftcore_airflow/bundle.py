"""Gives every recipe DAG files of its own.

Airflow holds a *file* to be broken, not a DAG: were all recipes built by one file, one faulty recipe would take the
DAGs of all others away. So each recipe gets a copy of ``data.py``, ``finetune.py`` and ``monitor.py`` with one more
line that builds its DAG. A bundle is Airflow's own place for where DAG files come from: the DAG processor refreshes it,
and a worker lays it out the same before it runs a task.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle

from ftcore.recipe import reading as recipes
from ftcore.settings import REPOSITORY, load

VERBS = ("data", "finetune", "monitor")
"""DAG files that every recipe gets a copy of; each has a function of the same name that builds its DAG."""

log = logging.getLogger(__name__)


class RecipeBundle(BaseDagBundle):
    """DAG files written from the recipes.

    Args:
        dags: folder of the three DAG files; the checkout's by default.
        recipes: folder of the recipes; ``FTCORE_RECIPES`` by default.
    """

    supports_versioning = False

    def __init__(self, *, dags: str = "", recipes: str = "", **kwargs: Any) -> None:
        """Remember the folders; nothing is written before ``initialize``."""
        super().__init__(**kwargs)
        self.dags = Path(dags) if dags else REPOSITORY / "dags"
        self.recipes = (Path(recipes) if recipes else load().recipes).resolve()

    @property
    def path(self) -> Path:
        """Folder of the written files, below ``[dag_processor] dag_bundle_storage_path``."""
        return self.base_dir

    def get_current_version(self) -> None:
        """None: the recipes lie in a folder, their history elsewhere."""
        return

    def initialize(self) -> None:
        """Write the files before Airflow first looks."""
        self.refresh()
        super().initialize()

    def refresh(self) -> None:
        """Write what changed, remove what has lost its recipe."""
        with self.lock():
            files = self._files()
            self.path.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                _write(self.path / name, text)
            for path in self.path.glob("*.py"):
                if path.name not in files:
                    path.unlink(missing_ok=True)

    def _files(self) -> dict[str, str]:
        texts = {verb: (self.dags / f"{verb}.py").read_text(encoding="utf-8") for verb in VERBS}
        files = {}
        for recipe in recipes.files(self.recipes):
            try:
                digest = hashlib.sha256(recipe.read_bytes()).hexdigest()[:12]
            except OSError as error:
                log.warning("%s cannot be read: %s", recipe, error)
                digest = "unreadable"
            # The digest changes the file with its recipe, so Airflow parses it at once and not at the next interval.
            for verb in VERBS:
                call = f"{verb}({str(recipe)!r})  # recipe {digest}\n"
                files[f"{verb}__{recipe.stem}.py"] = f"{texts[verb]}\n\n{call}"
        return files


def _write(path: Path, text: str) -> None:
    try:
        if path.read_text(encoding="utf-8") == text:
            return
    except FileNotFoundError:
        pass
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
