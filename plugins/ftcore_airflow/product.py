"""What the three DAG files of a recipe have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ftcore.errors import RecipeError
from ftcore.recipe import reading as recipes
from ftcore.recipe.model import Recipe
from ftcore_airflow.assets import Assets, newest
from ftcore_airflow.backfill import period_by
from ftcore_airflow.notify import FailureNotifier
from ftcore_airflow.retry import RETRIES
from ftcore_airflow.settings import AirflowSettings


@dataclass(frozen=True)
class Product:
    """A recipe as Airflow sees it."""

    recipe: Recipe
    file: Path
    """The recipe's file, which every step is given."""

    @classmethod
    def read(cls, file: str | Path) -> Product:
        """Read a recipe for its DAGs.

        Raises:
            RecipeError: the recipe has faults, or its name is not its file's; the file name is what keeps names unique.
        """
        file = Path(file)
        try:
            recipe = recipes.read(file)
        except RecipeError as error:
            # pydantic's own account of the same faults would bury this one on the page of import errors
            raise error.with_traceback(None) from None
        if recipe.name != file.stem:
            raise RecipeError(str(file), [("name", f"must be the file's name, {file.stem} (got {recipe.name!r})")])
        return cls(recipe, file)

    @cached_property
    def assets(self) -> Assets:
        """What the recipe's DAGs tell one another."""
        return Assets.of(self.recipe.name)

    @cached_property
    def settings(self) -> AirflowSettings:
        """Names of pools and queues."""
        return AirflowSettings()

    def common(self, verb: str, story: str) -> dict[str, Any]:
        """Arguments that all DAGs of the recipe share."""
        recipe = self.recipe
        return {
            "dag_id": f"{verb}__{recipe.name}",
            "description": recipe.description or story.splitlines()[0],
            "doc_md": f"{recipe.description}\n\n{story}\n\n```yaml\n{self.file.read_text(encoding='utf-8')}```\n",
            "tags": ["ftcore", verb, recipe.name, recipe.task.kind],
            "catchup": False,
            "max_active_runs": 1,
            "default_args": {
                "owner": "ftcore",
                "recipe_file": str(self.file),
                "on_failure_callback": FailureNotifier(),
                **RETRIES,
            },
            "user_defined_macros": {"newest": newest, "period": period_by(recipe.schedule.data)},
        }
