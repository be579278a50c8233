"""A throw-away Airflow for the tests of the DAGs: its settings must stand before Airflow is first imported."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HOME = Path(tempfile.mkdtemp(prefix="ftcore-airflow-"))
# In a file and not in AIRFLOW__… variables: those would reach the Airflow that other tests start.
(HOME / "airflow.cfg").write_text(
    f"[core]\nload_examples = False\n[dag_processor]\ndag_bundle_storage_path = {HOME / 'bundles'}\n", encoding="utf-8"
)
os.environ["AIRFLOW_HOME"] = str(HOME)

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

RECIPES = Path(__file__).parents[2] / "dags" / "recipes"


@pytest.fixture(scope="session", autouse=True)
def _clean_up() -> Iterator[None]:
    yield
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def parse() -> Callable[[Path, str], DagBag]:
    """Lays out the DAG files of a folder of recipes in the bundle ``name`` and parses them as Airflow does."""
    from airflow.dag_processing.dagbag import DagBag

    from ftcore_airflow.bundle import RecipeBundle

    def parse(recipes: Path, name: str) -> DagBag:
        bundle = RecipeBundle(name=name, recipes=str(recipes))
        bundle.initialize()
        return DagBag(bundle.path, bundle_path=bundle.path, bundle_name=name)

    return parse


@pytest.fixture(scope="session")
def bag(parse: Callable[[Path, str], DagBag]) -> DagBag:
    """All DAGs of the recipes that the checkout has."""
    return parse(RECIPES, "checkout")
