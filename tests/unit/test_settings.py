"""Settings come from the environment and have defaults that need no server."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from ftcore import settings


def test_everything_is_under_home_unless_told_otherwise(home: Path) -> None:
    conf = settings.load()
    assert conf.store_root == str(home / "store")
    assert conf.mlflow_uri == f"sqlite:///{home / 'mlflow' / 'mlflow.db'}"
    assert conf.cache == home / "cache"


def test_servers_and_buckets_are_taken_as_given(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTCORE_STORE", "s3://bucket/prefix")
    monkeypatch.setenv("FTCORE_TRACKING_URI", "http://mlflow:5000")
    conf = settings.load()
    assert (conf.store_root, conf.mlflow_uri) == ("s3://bucket/prefix", "http://mlflow:5000")


def test_a_password_is_not_printed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTCORE_AIRFLOW_PASSWORD", "tell-nobody")
    assert "tell-nobody" not in repr(settings.load())


def test_a_wrong_value_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTCORE_LOCK_TIMEOUT_S", "soon")
    with pytest.raises(ValidationError, match="lock_timeout_s"):
        settings.load()


def test_a_suite_is_ones_own_else_a_shipped_one(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTCORE_EXPECTATIONS", str(tmp_path))
    shipped = settings.REPOSITORY / "expectations" / "chat.json"
    assert settings.load().suite("chat") == shipped
    (tmp_path / "chat.json").write_text("{}", encoding="utf-8")
    assert settings.load().suite("chat") == tmp_path / "chat.json"
    assert settings.load().suite("nowhere") == tmp_path / "nowhere.json"


@pytest.mark.parametrize("folder", ["plain", "Zoë [R&D] #1 100%", "a?b", "per%20cent", "a%3Fb", "plus+x;y&z=1"])
def test_the_url_of_a_sqlite_file_leads_to_that_file(tmp_path: Path, folder: str) -> None:
    import sqlalchemy

    (tmp_path / folder).mkdir()
    engine = sqlalchemy.create_engine(settings.sqlite_url(tmp_path / folder / "x.db"))
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (a INTEGER)"))
    engine.dispose()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.db")] == [f"{folder}/x.db"]
