"""Connections from the environment, in both forms that Airflow has for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftcore.data.credentials import connection
from ftcore.errors import ConfigurationError

POSTGRES = {
    "conn_type": "postgres",
    "login": "me@here",
    "password": "p/a:s@s",
    "host": "db.example.org",
    "port": "5432",
    "schema": "crm",
    "extra": {"sslmode": "require"},
    "description": "not part of the address",
}


@pytest.mark.parametrize("variable", ["FTCORE_CONNECTION_CRM", "AIRFLOW_CONN_CRM"])
@pytest.mark.parametrize("extra", [{"sslmode": "require"}, '{"sslmode": "require"}'], ids=["object", "text"])
def test_json_and_url_are_the_same_connection(monkeypatch: pytest.MonkeyPatch, variable: str, extra: Any) -> None:
    from sqlalchemy import make_url

    monkeypatch.setenv(variable, json.dumps(POSTGRES | {"extra": extra}))
    of_json = make_url(connection("crm"))
    assert of_json == make_url("postgres://me%40here:p%2Fa%3As%40s@db.example.org:5432/crm?sslmode=require")
    assert (of_json.username, of_json.password) == ("me@here", "p/a:s@s")


def test_what_is_left_out_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CRM", '{"conn_type": "mysql", "host": "db"}')
    assert connection("crm") == "mysql://db"


def test_a_file_is_read_through_a_connection_in_json(
    monkeypatch: pytest.MonkeyPatch, rows: Any, tmp_path: Path
) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(tmp_path / "crm.db", isolation_level=None)) as database:
        database.execute("CREATE TABLE t AS SELECT 'hello' AS text, 'positive' AS label")
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "crm.db")}))
    (row,) = rows(kind="sql", connection="crm", query="SELECT * FROM t")
    assert row["text"] == "hello"


@pytest.mark.parametrize(
    "text",
    [
        '{"conn_type": "postgres", "password": "s3cret"',
        '{"password": "s3cret"}',
        '{"conn_type": "x", "port": "s3cret"}',
    ],
)
def test_json_that_is_no_connection_is_said_without_what_is_in_it(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CRM", text)
    with pytest.raises(ConfigurationError, match="AIRFLOW_CONN_CRM holds JSON that is no connection") as caught:
        connection("crm")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
