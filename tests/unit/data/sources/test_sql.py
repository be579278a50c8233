"""SQL on SQLite: parameters, watermarks, errors. A real PostgreSQL is in tests/integration/test_sources.py."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftcore.data.watermarks import Cursor
from ftcore.errors import (
    ConfigurationError,
    DataRejectedError,
    FtcoreError,
    MissingExtraError,
    RecipeError,
    TransientError,
)

Rows = Callable[..., list[dict[str, Any]]]
SQL = {"kind": "sql", "connection": "crm", "query": "SELECT * FROM tickets"}


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sqlite3.Connection:
    """Five tickets, in a database that the environment names."""
    monkeypatch.setenv("FTCORE_CONNECTION_CRM", f"sqlite:///{tmp_path / 'crm.db'}")
    made = sqlite3.connect(tmp_path / "crm.db")
    made.execute("CREATE TABLE tickets (id INTEGER, text TEXT, label TEXT, seen TEXT)")
    made.executemany(
        "INSERT INTO tickets VALUES (?, ?, ?, ?)",
        [(n, f"ticket {n}", "positive", f"2026-01-0{n}") for n in range(1, 6)],
    )
    made.commit()
    return made


@pytest.mark.usefixtures("database")
def test_rows_with_bound_parameters(rows: Rows) -> None:
    query = "SELECT id, text || ' 100% \\:x' AS text, label FROM tickets WHERE label = :label AND id > :low"
    got = rows(**SQL | {"query": query}, id="id", parameters={"label": "positive", "low": 3})
    assert [row["text"] for row in got] == ["ticket 4 100% :x", "ticket 5 100% :x"]
    assert {row["source"] for row in got} == {"sql:crm"}
    assert rows(**SQL | {"query": query}, parameters={"label": "x' OR '1'='1", "low": 0}) == []


@pytest.mark.usefixtures("database")
def test_a_query_may_name_the_period_of_its_run(context: Callable[..., Any]) -> None:
    query = "SELECT * FROM tickets WHERE :since IS NULL OR (seen >= date(:since) AND seen < date(:until))"
    source = SQL | {"query": query, "observed_at": "seen"}
    for asked, count in (({}, 5), ({"since": "2026-01-02", "until": "2026-01-04"}, 2)):
        here = context(source, **asked)
        assert sum(table.num_rows for table in here.recipe.sources[0].read(here)) == count
    own = context(source | {"parameters": {"since": "2026-01-05", "until": "2026-01-06"}})
    assert sum(table.num_rows for table in own.recipe.sources[0].read(own)) == 1, "the recipe's own value counts"


def test_a_cursor_reads_from_its_watermark_on(database: sqlite3.Connection, context: Callable[..., Any]) -> None:
    here = context(SQL | {"watermark": "seen", "id": "id", "observed_at": "seen"})
    config = here.recipe.sources[0]
    cursor = Cursor()
    assert sum(t.num_rows for t in config.read_since(here, cursor)) == 5
    assert cursor.reached == "2026-01-05"
    database.execute("INSERT INTO tickets VALUES (6, 'late', 'negative', '2026-01-05')")
    database.execute("INSERT INTO tickets VALUES (7, 'later', 'negative', '2026-01-06')")
    database.commit()
    cursor = Cursor(since=cursor.reached)
    texts = [text for t in config.read_since(here, cursor) for text in t["text"].to_pylist()]
    assert sorted(texts) == ["late", "later", "ticket 5"]  # the last value again: rows may have come beside it
    assert cursor.reached == "2026-01-06"
    database.execute("INSERT INTO tickets VALUES (8, 'lost', 'negative', NULL)")
    database.commit()
    with pytest.raises(DataRejectedError, match="watermark 'seen' is null"):
        list(config.read_since(here, cursor))


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"query": "SELECT * FROM nowhere"}, DataRejectedError, "cannot be run: no such table: nowhere"),
        ({"query": "SELECT 1 AS one"}, DataRejectedError, r"query of sql:crm has no column 'text'"),
        ({"query": "SELECT :x AS text, 1 AS label"}, DataRejectedError, "bind parameter 'x'"),
        ({"connection": "other"}, ConfigurationError, "FTCORE_CONNECTION_OTHER"),
        ({"connection": "a b"}, RecipeError, "connection"),
    ],
)
def test_errors_say_what_is_wrong(rows: Rows, change: dict[str, str], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        rows(**SQL | change)


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("postgres://bob:hunter2@127.0.0.1:9/x", TransientError, "went away or does not answer"),
        ("nosuch://bob:hunter2@127.0.0.1/x", FtcoreError, "knows no database 'nosuch'"),
        ("mssql+pyodbc://bob:hunter2@127.0.0.1/x", MissingExtraError, "driver is not installed"),
        ("bob hunter2", ConfigurationError, "'crm' is not a URL"),
    ],
)
def test_no_error_shows_the_password(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, url: str, error: type[Exception], said: str
) -> None:
    import traceback

    monkeypatch.delenv("FTCORE_CONNECTION_CRM", raising=False)
    monkeypatch.setenv("AIRFLOW_CONN_CRM", url)
    with pytest.raises(error, match=said) as caught:
        rows(**SQL)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
