"""ftcore reads a connection as Airflow does, without importing it."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import Connection

from ftcore.data.credentials import connection


@pytest.mark.parametrize(
    "given",
    [
        {"conn_type": "postgres", "host": "db", "schema": "crm"},
        {"conn_type": "postgres", "login": "a b", "password": "p@:/?", "host": "db", "port": 1, "schema": "crm"},
        {"conn_type": "postgres", "host": "db", "schema": "crm", "extra": {"sslmode": "require", "options": "-c a=b"}},
        {"conn_type": "my_sql", "host": "db", "schema": "crm"},
    ],
)
def test_json_becomes_the_url_that_airflow_makes_of_it(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, object]
) -> None:
    text = json.dumps(given)
    monkeypatch.setenv("AIRFLOW_CONN_CRM", text)
    assert connection("crm") == Connection.from_json(text, conn_id="crm").get_uri()
