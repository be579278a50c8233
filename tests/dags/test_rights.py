"""Who is logged in at a terminal may decide there what they may on the pages: Airflow's own application is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from typer.testing import CliRunner

from ftcore.cli import app
from ftcore.errors import FtcoreError
from ftcore.registry import rights
from ftcore_airflow.pages import access

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Product

ALL = ("answer", "hold", "change")
DECIDERS = {"vera": (), "uma": ("answer", "hold"), "olga": ALL, "admin": ALL}
COMMANDS = (
    ("change", ("models", "promote", "{}", "1")),
    ("change", ("models", "promote", "{}", "1", "--override", "--reason", "x")),
    ("change", ("models", "rollback", "{}", "--reason", "x")),
    ("change", ("models", "reject", "{}", "1", "--reason", "x")),
    ("change", ("models", "release", "{}", "--reason", "x")),
    ("change", ("ledger", "{}", "--acknowledge", "--reason", "x")),
    ("hold", ("models", "hold", "{}", "--reason", "x")),
)


@pytest.fixture
def logged_in(server: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Logs a person in at the terminal; requests to Airflow reach its application without a network."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    from tests.dags.conftest import USERS

    client = TestClient(server)

    def request(method: str, url: str, *, timeout: float, **given: Any) -> httpx.Response:
        del timeout
        return client.request(method, url.removeprefix("http://airflow"), **given)

    def log_in(name: str) -> Any:
        monkeypatch.setenv("FTCORE_AIRFLOW_URL", "http://airflow")
        person = SimpleAuthManagerUser(username=name, role=USERS[name])
        monkeypatch.setenv("FTCORE_AIRFLOW_TOKEN", get_auth_manager().generate_jwt(person))
        return person

    monkeypatch.setattr(httpx, "request", request)
    return log_in


@pytest.mark.parametrize("name", DECIDERS)
def test_the_terminal_asks_for_the_rights_of_the_pages(
    name: str, logged_in: Callable[[str], Any], product: Product
) -> None:
    from ftcore import settings

    person = logged_in(name)
    on_pages = access.rights(person, product.name)
    for right in ALL:
        assert getattr(on_pages, right) == (right in DECIDERS[name]), right
        if right in DECIDERS[name]:
            assert rights.decider(settings.load(), product.name, right).name == name
            continue
        with pytest.raises(FtcoreError, match=f"{name} may not "):
            rights.decider(settings.load(), product.name, right)


@pytest.mark.parametrize("name", ["vera", "uma"])
def test_every_command_that_changes_the_registry_asks(
    name: str, logged_in: Callable[[str], Any], product: Product
) -> None:
    logged_in(name)
    before = product.shelf.ledger()
    for right, words in COMMANDS:
        if right in DECIDERS[name]:
            continue
        done = CliRunner().invoke(app, [word.format(product.name) for word in words])
        assert isinstance(done.exception, FtcoreError), words
        assert f"{name} may not " in str(done.exception), (words, done.exception)
    assert product.shelf.ledger() == before


def test_who_may_decide_does(logged_in: Callable[[str], Any], product: Product) -> None:
    product.crown("r1")
    logged_in("uma")
    assert CliRunner().invoke(app, ["models", "hold", product.name, "--reason", "x"]).exit_code == 0
    logged_in("olga")
    assert CliRunner().invoke(app, ["models", "release", product.name, "--reason", "y"]).exit_code == 0
    assert [line["by"] for line in product.shelf.ledger() if line["kind"] in ("hold", "release")] == ["uma", "olga"]
