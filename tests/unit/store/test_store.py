"""Files appear whole or not at all, decisions are written once, locks hold and let go."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from upath import UPath

from ftcore.errors import BusyError, FtcoreError
from ftcore.store import store
from ftcore.store.records import Record, now
from ftcore.store.store import RecipeStore

HOLDER = """
import sys, time
from pathlib import Path
from ftcore.store.store import RecipeStore
with RecipeStore(None, "demo", Path(sys.argv[1])).lock("train", 1):
    print("held", flush=True)
    time.sleep(60)
"""


class Killed(BaseException):
    """Nothing can catch a kill."""


@pytest.fixture(params=["local", "file://", "memory://"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RecipeStore]:
    """A shelf on a folder, and on an object store that has no rename."""
    roots = {
        "local": str(tmp_path / "store"),
        "file://": f"file://{tmp_path}/store",
        "memory://": f"memory://{tmp_path}",
    }
    root = UPath(roots[request.param])
    yield RecipeStore(root / "demo", "demo", tmp_path / "locks")
    if request.param == "memory://" and root.exists():
        root.fs.rm(root.path, recursive=True)


def a_record(run_id: str = "r1") -> Record:
    return Record(step="ingest", recipe="demo", run_id=run_id, fingerprint="f", started_at=now(), figures={"rows": 3})


def table(moments: list[datetime], first: int = 0) -> pa.Table:
    kind = pa.timestamp("ms", "UTC")
    return pa.table({"n": list(range(first, first + len(moments))), "at": pa.array(moments, kind)})


def all_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_is_written_is_read(shelf: RecipeStore) -> None:
    store.write_json(shelf.root / "a" / "x.json", {"ä": 1})
    assert store.read_json(shelf.root / "a" / "x.json") == {"ä": 1}
    assert store.read_json(shelf.root / "none.json") is None
    rows = pa.table({"text": ["a", "b"], "n": [1, 2]})
    store.write_table(shelf.root / "t.parquet", rows)
    assert store.read_table(shelf.root / "t.parquet").equals(rows)
    assert store.read_table(shelf.root / "t.parquet", ["n"]).column_names == ["n"]


def test_files_are_overwritten_and_nothing_is_left_beside_them(tmp_path: Path) -> None:
    for content in (b"first", b"second, longer", b"3"):
        store.write_bytes(tmp_path / "f", content)
        assert (tmp_path / "f").read_bytes() == content
    assert all_files(tmp_path) == ["f"]


@pytest.mark.parametrize("made", ["Path", "UPath", "file://"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str) -> None:
    path: Any = {"Path": tmp_path / "f", "UPath": UPath(tmp_path) / "f", "file://": UPath(f"file://{tmp_path}/f")}[made]
    store.write_bytes(path, b"old")
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left"):
        store.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert all_files(tmp_path) == ["f"]


def _full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_kill_before_the_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    store.write_bytes(path, b"old")

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(Killed):
            store.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    store.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


def test_what_a_kill_leaves_behind_is_not_read_as_a_decision(tmp_path: Path) -> None:
    shelf = RecipeStore(UPath(tmp_path), "demo", tmp_path / "locks")
    shelf.add_to_ledger("plan", "r1", "train", "because")
    (tmp_path / "ledger" / ".plan--r2.json.123.tmp").write_text("{")
    (tmp_path / "ledger" / ".plan--r3.json").write_text("{")
    assert [line["run_id"] for line in shelf.ledger()] == ["r1"]


def test_a_record_comes_back_as_it_was(shelf: RecipeStore) -> None:
    assert shelf.record("r1", "ingest") is None
    record = a_record()
    shelf.write_record(record)
    assert shelf.record("r1", "ingest") == record


@pytest.mark.parametrize(
    "run_id", ["../up", "a/b", "", ".hidden", "-x", "a b", "a\n", "a\x00", "x" * 121, "ä", "..", "a:b"]
)
def test_a_run_id_cannot_leave_its_folder(shelf: RecipeStore, run_id: str) -> None:
    with pytest.raises(FtcoreError, match="bad run id"):
        shelf.folder(run_id, "ingest")


def test_a_run_name_is_fit_for_a_path_and_tells_runs_apart() -> None:
    plain = store.run_name("data", "manual-1")
    odd = [store.run_name("data", f"scheduled__2026-01-01T00:00:00+0{n}:00") for n in range(3)]
    assert plain == "data-manual-1"
    assert len({plain, *odd, store.run_name("data", "x" * 300), store.run_name("data", "x" * 301)}) == 6
    for name in (*odd, store.run_name("data", "x" * 300)):
        assert store.RUN_ID.match(name)


def test_paths_are_kept_relative_to_the_recipe(shelf: RecipeStore) -> None:
    path = shelf.folder("r1", "ingest") / "rows.parquet"
    assert shelf.relative(path) == "runs/r1/ingest/rows.parquet"
    store.write_bytes(path, b"x")
    assert (shelf.root / shelf.relative(path)).read_bytes() == b"x"


def test_a_decision_is_written_once(shelf: RecipeStore) -> None:
    first = shelf.add_to_ledger("plan", "r1", "train", "because", rows=3)
    again = shelf.add_to_ledger("plan", "r1", "skip", "changed my mind", rows=4)
    assert again == first
    assert shelf.ledger() == [first]
    assert (first["decision"], first["rows"]) == ("train", 3)


def test_the_ledger_is_read_oldest_first(shelf: RecipeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shelf.ledger() == []
    start = now()
    for number, (kind, run_id) in enumerate([("plan", "z"), ("gate", "m"), ("plan", "a")]):
        monkeypatch.setattr(store, "now", lambda number=number: start + timedelta(seconds=number))
        shelf.add_to_ledger(kind, run_id, "x", "y")
    assert [line["run_id"] for line in shelf.ledger()] == ["z", "m", "a"]
    assert [line["run_id"] for line in shelf.ledger("plan")] == ["z", "a"]


def test_a_batch_is_appended_once(shelf: RecipeStore) -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    assert shelf.append("predictions", table([moment]), "2026-03-01", "batch")
    assert not shelf.append("predictions", table([moment, moment]), "2026-03-01", "batch")
    found = shelf.read_log("predictions")
    assert found is not None
    assert found.num_rows == 1


def test_a_log_is_read_from_a_moment_on(shelf: RecipeStore) -> None:
    assert shelf.read_log("predictions") is None
    start = datetime(2026, 3, 1, 23, 59, 59, 998000, tzinfo=UTC)
    moments = [start + timedelta(milliseconds=number) for number in range(4)]
    shelf.append("predictions", table(moments[2:], 2), "2026-03-02", "a")
    shelf.append("predictions", table(moments[:2]), "2026-03-01", "b")
    for since, expected in [(None, [0, 1, 2, 3]), (moments[0], [1, 2, 3]), (moments[1], [2, 3]), (moments[2], [3])]:
        found = shelf.read_log("predictions", since)
        assert found is not None
        assert found["n"].to_pylist() == expected
    assert shelf.read_log("predictions", moments[3]) is None
    assert [path.name for path in shelf.log_files("predictions", moments[2])] == ["a.parquet"]


def test_a_log_may_gain_a_column(shelf: RecipeStore) -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    shelf.append("predictions", table([moment]).drop_columns(["n"]), "2026-03-01", "old")
    shelf.append("predictions", table([moment]), "2026-03-02", "new")
    found = shelf.read_log("predictions")
    assert found is not None
    assert found["n"].to_pylist() == [None, 0]


def test_a_folder_is_uploaded_and_its_hash_sees_every_byte(shelf: RecipeStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a.txt").write_text("a")
    (source / "deep" / "b.txt").write_text("b")
    store.upload(source, shelf.root / "there")
    assert store.hash_folder(shelf.root / "there") == store.hash_folder(source)
    before = store.hash_folder(source)
    (source / "deep" / "b.txt").write_text("c")
    changed = store.hash_folder(source)
    (source / "deep" / "b.txt").rename(source / "b.txt")
    assert len({before, changed, store.hash_folder(source)}) == 3


def test_a_lock_is_let_go_at_the_end_of_the_block(tmp_path: Path) -> None:
    shelf = RecipeStore(UPath(tmp_path), "demo", tmp_path / "locks")
    lock = shelf.lock("train", 0.05)
    with lock:
        with pytest.raises(BusyError, match="at work on train of demo"):
            shelf.lock("train", 0.05)
        with shelf.lock("export", 0.05), RecipeStore(UPath(tmp_path), "other", tmp_path / "locks").lock("train", 0.05):
            pass
    with shelf.lock("train", 0.05):
        pass


def test_another_process_is_refused_and_a_killed_holder_lets_go(tmp_path: Path) -> None:
    shelf = RecipeStore(UPath(tmp_path), "demo", tmp_path)
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=r"did not finish within 0.2 s") as error:
            shelf.lock("train", 0.2)
        assert error.value.retryable
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=10)
    with shelf.lock("train", 5):
        pass


def test_the_store_is_where_the_settings_say(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftcore import settings

    assert str(store.shelf(settings.load(), "demo").root) == str(home / "store" / "demo")
    monkeypatch.setenv("FTCORE_STORE", "memory://bucket/prefix")
    assert store.shelf(settings.load(), "demo").root.as_uri() == "memory://bucket/prefix/demo"
