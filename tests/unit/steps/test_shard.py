"""An ingest that many workers share gives what one alone gives, whoever read what and whoever was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ftcore import pipeline
from ftcore.compliance import forget
from ftcore.data import shards
from ftcore.errors import FtcoreError, NotFoundError
from ftcore.store import parts
from ftcore.store.records import Record

if TYPE_CHECKING:
    from conftest import Product

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04")


@pytest.fixture
def shared(product: Product, monkeypatch: pytest.MonkeyPatch) -> Product:
    """A product with five files of different sizes, a capped source over the same files, and a source that is one."""
    monkeypatch.setenv("FTCORE_SHARD_BYTES", "500")
    for number, size in enumerate((5, 40, 3, 12, 30)):
        lines = [f"film {number} {n},{('positive', 'negative')[n % 2]},{DAYS[n % 4]}" for n in range(size)]
        (product.path.parent / f"in-{number}.csv").write_text("text,label,day\n" + "\n".join(lines))
    files = {"kind": "files", "path": "in-*.csv", "observed_at": "day"}
    capped = files | {"name": "capped", "max_rows": 25, "weight": 0.8}
    product.change(sources=[files, {"kind": "feedback"}, capped])
    return product


def share(product: Product, run_id: str, **params: str) -> list[Record]:
    """What Airflow does up to the join: list the shards, and read each in a task of its own."""
    keys = product.run("shard", run_id, **params).figures["shards"]
    return [product.run("ingest", run_id, shard=key, **params) for key in keys]


def bytes_of(product: Product, record: Record) -> list[bytes]:
    return [file.read_bytes() for file in parts.files(product.shelf.root / record.paths["rows"])]


def test_shards_are_files_of_about_one_size_and_have_names_that_people_know(shared: Product) -> None:
    keys = shared.run("shard").figures["shards"]
    assert keys[0].startswith("00-files-000-in-0")
    assert "01-feedback" in keys
    assert len([key for key in keys if key.startswith("00")]) >= 4
    assert len(set(keys)) == len(keys)


def test_the_result_is_the_same_to_the_byte_however_the_work_was_shared(shared: Product) -> None:
    alone = shared.run("ingest", "alone")
    records = share(shared, "shared")
    joined = shared.run("ingest", "shared")
    assert bytes_of(shared, joined) == bytes_of(shared, alone)
    assert (joined.figures, joined.inputs) == (alone.figures, alone.inputs)
    assert joined.figures["by_source"] == {"0:files": 90, "1:feedback": 0, "2:files": 25}
    assert sum(record.figures["rows"] for record in records) > joined.figures["rows"], "a shard cannot know the cap"
    assert len({record.params["shard"] for record in records}) == len(records)


def test_the_join_takes_over_what_was_read_and_reads_what_was_not(shared: Product, tmp_path: Path) -> None:
    keys = shared.run("shard").figures["shards"]
    for key in keys[:-1]:
        shared.run("ingest", shard=key)
    for path in (shared.path.parent / "in-0.csv", shared.path.parent / "in-1.csv"):
        path.write_text("text,label,day\nchanged meanwhile,positive,2026-01-01\n")
    joined = shared.run("ingest")
    texts = [
        text for table in parts.read(shared.shelf.root / joined.paths["rows"]) for text in table["text"].to_pylist()
    ]
    assert joined.figures["by_source"]["0:files"] == 90
    assert "changed meanwhile" not in texts


def test_a_shard_is_read_once_again_after_a_kill_and_again_for_another_recipe(shared: Product) -> None:
    key = shared.run("shard").figures["shards"][0]
    first = shared.run("ingest", shard=key)
    assert shared.run("ingest", shard=key) == first, "done already"
    folder = shared.shelf.root / first.paths["rows"]
    whole = bytes_of(shared, first)
    (folder.parent / "record.json").unlink()  # a kill leaves parts without a record, some of them half written
    (folder / "part-00000.parquet").write_bytes(b"half")
    (folder / "part-00009.parquet").write_bytes(b"of another attempt")
    again = shared.run("ingest", shard=key)
    assert again.inputs == first.inputs
    assert bytes_of(shared, again) == whole

    sources = shared.document()["sources"]
    sources[0]["weight"] = 0.1
    shared.change(sources=sources)
    assert shared.run("ingest").figures["by_source"]["0:files"] < 30, (
        "what was read for another recipe is not taken over"
    )


def test_a_shard_that_was_killed_is_read_again_to_the_same_bytes(shared: Product) -> None:
    lines = "".join(f"film {n} of very many,positive,2026-01-01\n" for n in range(120_000))
    (shared.path.parent / "in-2.csv").write_text(f"text,label,day\n{lines}")
    key = next(key for key in shared.run("shard").figures["shards"] if "in-2" in key)
    folder = shared.shelf.folder("r1", "ingest", key)
    command = [sys.executable, "-m", "ftcore", "step", "ingest", str(shared.path), "--run", "r1", "-p", f"shard={key}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while not (folder / "parts" / "part-00000.parquet").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "record.json").exists()
    again = shared.run("ingest", shard=key)
    assert again.figures["rows"] >= 120_000


def test_two_shards_of_one_recipe_are_read_at_once(shared: Product) -> None:
    keys = shared.run("shard").figures["shards"]
    with shared.shelf.lock(f"ingest-{keys[0]}", 1):
        found: list[Record] = []
        other = threading.Thread(target=lambda: found.append(shared.run("ingest", shard=keys[1])))
        other.start()
        other.join(timeout=20)
    assert found
    assert found[0].figures["rows"] > 0


def test_files_that_come_later_are_no_part_of_the_run(shared: Product) -> None:
    share(shared, "r1")
    (shared.path.parent / "in-9.csv").write_text("text,label,day\nlate,positive,2026-01-01\n")
    assert shared.run("ingest").figures["by_source"]["0:files"] == 90
    assert shared.run("ingest", "r2").figures["by_source"]["0:files"] == 91


def test_only_rows_of_the_period_are_read_and_a_cap_counts_those(shared: Product) -> None:
    asked = {"since": "2026-01-02", "until": "2026-01-04"}
    share(shared, "january", **asked)
    record = shared.run("ingest", "january", **asked)
    rows = [row for table in parts.read(shared.shelf.root / record.paths["rows"]) for row in table.to_pylist()]
    assert {f"{row['observed_at']:%Y-%m-%d}" for row in rows} == {"2026-01-02", "2026-01-03"}
    assert record.figures["by_source"]["2:files"] == 25
    assert record.figures["period"] == {"since": "2026-01-02T00:00:00+00:00", "until": "2026-01-04T00:00:00+00:00"}
    assert bytes_of(shared, record) == bytes_of(shared, shared.run("ingest", "alone", **asked))


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (lambda p: p.run("ingest", shard="00-nothing"), "there is no shard '00-nothing'\n  hint: known: 00-files"),
        (lambda p: p.run("ingest", shard="../.."), "bad shard"),
        (lambda p: p.run("prepare", shard="00-files"), "prepare is done as a whole"),
        (lambda p: p.run("ingest", since="2026-01-01"), "since needs the other"),
        (lambda p: p.run("ingest", since="January", until="2026-01-01"), "cannot be read"),
        (lambda p: p.run("ingest", since="2026-01-01", until="2026-01-01"), "no time lies"),
        (lambda p: p.run("ingest", since="2020-01-01", until="2020-01-02"), "hold no row observed from 2020-01-01"),
    ],
)
def test_what_cannot_be_asked_is_refused(shared: Product, run: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(FtcoreError, match=said):
        run(shared)


def test_a_source_that_is_not_there_is_named_before_anything_is_read(product: Product) -> None:
    with pytest.raises(NotFoundError, match=r"rows\.csv"):
        product.run("shard")
    assert pipeline.chain_of("shard") == "data"


def test_who_was_forgotten_after_a_shard_was_read_is_left_out_as_by_one_alone(shared: Product) -> None:
    files = {"kind": "files", "path": "in-*.csv", "group": "day"}
    shared.change(sources=[files, files | {"name": "capped", "max_rows": 25}])
    share(shared, "shared")
    forget.forget(shared.recipe, shared.shelf, shared.settings, forget.ErasureRequest(DAYS[2]))
    joined, alone = shared.run("ingest", "shared"), shared.run("ingest", "alone")
    assert bytes_of(shared, joined) == bytes_of(shared, alone)
    assert joined.figures == alone.figures
    assert joined.figures["suppressed"] > 20
    rows = [row for table in parts.read(shared.shelf.root / joined.paths["rows"]) for row in table.to_pylist()]
    assert not any((row["group"] or "").endswith(DAYS[2]) for row in rows)


def test_a_record_vouches_for_no_shard_whose_rows_are_gone(shared: Product) -> None:
    before = bytes_of(shared, shared.run("ingest", "alone"))
    share(shared, "r1")
    shared.run("ingest", "r1")
    parts.remove(shared.shelf.folder("r1", "ingest"))  # as validate does
    assert bytes_of(shared, shared.run("ingest", "r1", again=True)) == before


def test_rows_that_where_leaves_out_are_counted_however_the_work_was_shared(shared: Product) -> None:
    sources = shared.document()["sources"]
    sources[0]["where"] = "label == 'positive'"
    shared.change(sources=sources)
    alone = shared.run("ingest", "alone")
    share(shared, "shared")
    joined = shared.run("ingest", "shared")
    assert (
        alone.figures["filtered"]
        == joined.figures["filtered"]
        == {"0:files": 90 - alone.figures["by_source"]["0:files"]}
    )


def test_names_of_files_are_noted_however_the_work_was_shared(shared: Product) -> None:
    shared.run("ingest", "alone")
    share(shared, "shared")
    shared.run("ingest", "shared")
    alone, joined = (shards.names(shared.shelf.folder(run, "ingest")) for run in ("alone", "shared"))
    assert alone == joined == {f"files:in-{number}": f"files in-{number}.csv" for number in range(5)}
