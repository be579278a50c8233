"""ingest: parts, attempts that were killed, and sources that are read from a watermark on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftcore import pipeline
from ftcore.context import Context
from ftcore.data import snapshot, split, watermarks
from ftcore.errors import DataRejectedError, FtcoreError, NotFoundError, RecipeError, TransientError
from ftcore.steps import ingest
from ftcore.store import parts, store
from ftcore.store.records import Record, now

if TYPE_CHECKING:
    from conftest import Product

SQL = {"kind": "sql", "connection": "crm", "query": "SELECT * FROM t", "watermark": "seen", "id": "id"}
FILES = {"kind": "files", "path": "*.csv"}


def texts(context: Context) -> list[str]:
    folder = context.folder / "parts"
    return [text for table in parts.read(folder) for text in table["text"].to_pylist()]


def record(context: Context, outcome: Any) -> Record:
    """The record that the pipeline would make."""
    return Record(
        step="ingest", recipe="small", run_id=context.run_id, fingerprint="f", figures=outcome.figures, started_at=now()
    )


def publish(context: Context, outcome: Any) -> str:
    """Publish what was ingested as it is, the way ``validate`` does, and commit the watermarks."""
    import pyarrow as pa

    rows = pa.concat_tables(parts.read(context.folder / "parts"))
    rows = rows.append_column("split", pa.repeat("train", rows.num_rows))
    quarantine = snapshot.schema().append(pa.field("reason", pa.string())).empty_table()
    identity = snapshot.publish(context.shelf, lambda: [rows], quarantine, {})
    watermarks.commit(context.shelf, record(context, outcome), identity)
    return identity


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sqlite3.Connection:
    """A database with three rows."""
    monkeypatch.setenv("FTCORE_CONNECTION_CRM", f"sqlite:///{tmp_path / 'crm.db'}")
    made = sqlite3.connect(tmp_path / "crm.db", isolation_level=None)
    made.execute("CREATE TABLE t (id INTEGER, text TEXT, label TEXT, seen INTEGER)")
    made.executemany("INSERT INTO t VALUES (?, ?, 'positive', ?)", [(n, f"row {n}", n) for n in (1, 2, 3)])
    return made


def test_parts_are_small_and_those_of_a_killed_attempt_go(
    tmp_path: Path, context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "ROWS", 4)
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"row {n},positive\n" for n in range(10)))
    here = context(FILES, {"kind": "feedback"})
    (here.folder / "parts").mkdir()
    (here.folder / "parts" / "part-00007.parquet").write_bytes(b"left over")
    (here.folder / "record.json").write_text("{}")
    outcome = ingest.run(here)
    names = sorted(file.name for file in (here.folder / "parts").iterdir())
    assert names == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert texts(here) == [f"row {n}" for n in range(10)]
    by_source = {"0:files": 10, "1:feedback": 0}
    known = {"grouped_by": {"files:a": '[null, "recipe"]'}, "history": None, "redrawn": {}, "reused_ids": {}}
    known |= {"current": None, "split_keys": split.load(here.shelf).state}
    assert outcome.figures == {"rows": 10, "by_source": by_source, "suppressed": 0, "watermarks": {}} | known
    assert outcome.paths == {"rows": "runs/r1/ingest/parts"}
    assert not (here.folder / "record.json").exists()
    assert ingest.run(here).inputs == outcome.inputs


def test_a_part_of_long_rows_is_written_before_memory_fills(
    tmp_path: Path, context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SIZE_BYTES", 20_000)
    (tmp_path / "a.txt").write_text("\n".join(f"{n} " + "x" * 10_000 for n in range(6)))
    monkeypatch.setattr("ftcore.data.sources._formats.ROWS", 1)
    here = context({"kind": "files", "path": "a.txt"})
    ingest.run(here)
    assert len(list((here.folder / "parts").iterdir())) >= 3
    assert len(texts(here)) == 6


def test_no_row_at_all_and_a_broken_file_are_errors(tmp_path: Path, context: Callable[..., Context]) -> None:
    (tmp_path / "a.csv").write_text("text,label\n")
    with pytest.raises(DataRejectedError, match="hold no row"):
        ingest.run(context(FILES))
    with pytest.raises(RecipeError, match=r"sources\[1\]\.name: sources\[0\] is called sql:crm already"):
        ingest.run(context(SQL, SQL))


def test_a_full_disk_is_a_clear_error(
    tmp_path: Path, context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "a.csv").write_text("text,label\nx,y\n")

    def write(path: object, data: bytes) -> None:
        del path
        with full.open("wb", buffering=0) as file:
            file.write(data)

    monkeypatch.setattr(parts, "write_bytes", write)
    with pytest.raises(TransientError, match="no room is left"):
        ingest.run(context(FILES))


@pytest.mark.usefixtures("crm")
def test_a_watermark_moves_only_with_the_snapshot(crm: sqlite3.Connection, context: Callable[..., Context]) -> None:
    first = context(SQL)
    outcome = ingest.run(first)
    assert outcome.figures["watermarks"]["sql:crm"]["value"] == "3"
    crm.execute("INSERT INTO t VALUES (4, 'row 4', 'positive', 4)")
    assert len(texts(first)) == 3
    again = context(SQL, run_id="r2")  # r1 was never published: nothing is skipped
    assert ingest.run(again).figures["rows"] == 4
    base = publish(again, ingest.run(again))
    mark = watermarks.load(again.shelf, "sql:crm", watermarks_config(again))
    assert mark
    assert (mark.value, mark.snapshot) == (4, base)
    assert watermarks.held(again.shelf) == {base}

    crm.execute("INSERT INTO t VALUES (5, 'row 5', 'positive', 5)")
    crm.execute("UPDATE t SET text = 'row 2, changed', seen = 6 WHERE id = 2")
    crm.execute("INSERT INTO t VALUES (6, 'row 6', 'positive', 4)")  # as late as the last one that was seen
    third = context(SQL, run_id="r3")
    outcome = ingest.run(third)
    expected = ["row 1", "row 2, changed", "row 3", "row 4", "row 5", "row 6"]
    assert sorted(texts(third)) == expected
    assert ingest.run(third).figures == outcome.figures  # a crash before the record: the same again
    assert sorted(texts(third)) == expected
    crm.execute("DELETE FROM t WHERE id < 5")  # old rows come from the snapshot now
    assert sorted(texts(third)) == expected
    publish(third, outcome)
    quiet = context(SQL, run_id="r4")
    assert sorted((ingest.run(quiet), texts(quiet))[1]) == expected


def watermarks_config(context: Context) -> str:
    return store.digest(context.recipe.sources[0].model_dump(mode="json"))


@pytest.mark.usefixtures("crm")
def test_a_changed_source_a_lost_snapshot_and_a_wish_read_from_the_beginning(
    crm: sqlite3.Connection, context: Callable[..., Context]
) -> None:
    first = context(SQL)
    base = publish(first, ingest.run(first))
    crm.execute("DELETE FROM t WHERE id = 1")
    assert ingest.run(context(SQL, run_id="r2")).figures["rows"] == 3
    assert ingest.run(context(SQL | {"text": "label"}, run_id="r3")).figures["rows"] == 2
    assert ingest.run(context(SQL, run_id="r4", reread="always")).figures["rows"] == 2
    (snapshot.folder(first.shelf, base) / "manifest.json").unlink()
    assert ingest.run(context(SQL, run_id="r5")).figures["rows"] == 2


@pytest.mark.usefixtures("crm")
def test_a_cap_holds_for_old_and_new_rows_together(crm: sqlite3.Connection, context: Callable[..., Context]) -> None:
    capped = SQL | {"max_rows": 2}
    first = context(capped)
    publish(first, ingest.run(first))
    crm.executemany("INSERT INTO t VALUES (?, ?, 'positive', ?)", [(n, f"row {n}", n) for n in range(4, 30)])
    grown, whole = context(capped, run_id="r2"), context(capped, run_id="r3", reread="always")
    ingest.run(grown)
    ingest.run(whole)
    assert sorted(texts(grown)) == sorted(texts(whole))
    assert len(texts(grown)) == 2


def test_the_step_is_light_to_import() -> None:
    import subprocess
    import sys

    code = "import sys, ftcore.pipeline, ftcore.steps.ingest, ftcore.recipe; print([m for m in sys.modules if m in "
    code += "{'pyarrow', 'sqlalchemy', 'datasets', 'jinja2', 'mlflow', 'fsspec', 'upath', 'numpy'}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert pipeline.RING["data"][0] == "ingest"


def test_sources_are_read_in_the_recipes_order(product: Product) -> None:
    product.write_rows([("one", "positive"), ("two", "negative")], "b.csv")
    product.write_rows([("three", "positive")], "a.csv")
    sources = [{"kind": "files", "path": name} for name in ("b.csv", "a.csv")]
    product.change(sources=[*sources, {"kind": "feedback"}])
    outcome = ingest.run(product.context("ingest"))
    (rows,) = parts.read(product.shelf.root / outcome.paths["rows"])
    assert rows["text"].to_pylist() == ["one", "two", "three"]
    assert rows.schema.equals(snapshot.schema())
    assert outcome.figures["by_source"] == {"0:files": 2, "1:files": 1, "2:feedback": 0}


def test_sources_without_a_row_are_refused(product: Product) -> None:
    product.write_rows([])
    with pytest.raises(DataRejectedError, match=r"hold no row\n  - 0:files: 0 rows"):
        ingest.run(product.context("ingest"))


def test_a_source_that_is_not_there_is_named(product: Product) -> None:
    with pytest.raises(NotFoundError, match=r"rows\.csv"):
        ingest.run(product.context("ingest"))


def test_raw_rows_of_which_a_part_is_gone_are_read_again(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROWS", 4)
    product.write_rows([(f"row number {n:x}", "positive") for n in range(10)])
    record = product.run("ingest")
    parts.files(product.shelf.root / record.paths["rows"])[1].unlink()
    with pytest.raises(FtcoreError, match="raw rows of run r1 are gone"):
        product.run("prepare")
    product.run("ingest", again=True)
    assert product.run("prepare").figures["rows_in"] == 10


def test_rows_that_where_leaves_out_are_counted_and_no_fault(tmp_path: Path, context: Callable[..., Context]) -> None:
    lines = "".join(f"row {n},positive,{('en', 'de', 'fr')[n % 3]}\n" for n in range(9))
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"text,label,lang\n{lines.replace('row', name)}")
    chosen = FILES | {"where": "lang == 'en'"}
    here = context(chosen, FILES | {"path": "a.csv", "name": "all"}, {"kind": "feedback"})
    for _ in range(2):  # a second attempt counts anew
        figures = ingest.run(here).figures
        assert (figures["by_source"], figures["filtered"]) == (
            {"0:files": 6, "1:files": 9, "2:feedback": 0},
            {"0:files": 12},
        )
    with pytest.raises(DataRejectedError, match="hold no row") as caught:
        ingest.run(context(FILES | {"where": "lang == 'es'"}, run_id="r2"))
    assert "0:files: 0 rows, `where` filtered 18" in str(caught.value)
