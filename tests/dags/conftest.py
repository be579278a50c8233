"""A throw-away Airflow for the tests of the DAGs: its settings must stand before Airflow is first imported."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

HOME = Path(tempfile.mkdtemp(prefix="ftcore-airflow-"))
# In a file and not in AIRFLOW__… variables: those would reach the Airflow that other tests start.
(HOME / "airflow.cfg").write_text(
    f"[core]\nload_examples = False\n[dag_processor]\ndag_bundle_storage_path = {HOME / 'bundles'}\n", encoding="utf-8"
)
os.environ["AIRFLOW_HOME"] = str(HOME)

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from fastapi.testclient import TestClient

USERS = {"admin": "admin", "olga": "op", "uma": "user", "vera": "viewer", "stranger": "viewer"}
"""People of the tests with their roles in Airflow's simple auth manager."""
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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Airflow's application with our plugin, on a database of its own."""
    from airflow.api_fastapi import app as airflow_app
    from airflow.utils.db import initdb

    folder = tmp_path_factory.mktemp("airflow")
    changes = {
        "AIRFLOW__CORE__AUTH_MANAGER": "tests.dags._auth.Guarded",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__API__SECRET_KEY": "a secret of the tests for forms and sessions",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of the tests that is long enough for sixty-four bytes of HS512!",
    }
    before = {name: os.environ.get(name) for name in changes}
    os.environ |= changes
    try:
        initdb()
        airflow_app.purge_cached_app()
        yield airflow_app.create_app(apps="core")
    finally:
        airflow_app.purge_cached_app()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def visit(server: Any) -> Callable[[str], TestClient]:
    """Makes a browser that is logged in as a user; as nobody with an empty name."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    def make(user: str) -> TestClient:
        client = TestClient(server, follow_redirects=False)
        if user:
            person = SimpleAuthManagerUser(username=user, role=USERS[user])
            client.cookies.set("_token", get_auth_manager().generate_jwt(person))
        return client

    return make


@pytest.fixture
def admin(visit: Callable[[str], TestClient]) -> TestClient:
    return visit("admin")
