"""Snapshots: named by content, unchanged or found out, compared, and deleted only where nothing needs them."""

from __future__ import annotations

import json
import random
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from ftcore.data import publications, snapshot, snapshot_diff
from ftcore.errors import DataRejectedError
from ftcore.store import parts
from ftcore.store.records import Record, now
from ftcore.store.store import RecipeStore, hash_file, read_table, write_bytes, write_json, write_table


def table(count: int, *, label: str = "pos") -> pa.Table:
    rows = [
        {"row_id": snapshot.row_id("t", str(n)), "text": f"text {n}", "label": label, "source": "t",
         "split": snapshot.SPLITS[n % 3]}
        for n in range(count)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=snapshot.schema(split=True)).sort_by("row_id")


def publish(shelf: RecipeStore, rows: pa.Table) -> str:
    quarantine = snapshot.schema().append(pa.field("reason", pa.string())).empty_table()
    counts = {row["values"]: row["counts"] for row in rows["label"].value_counts().to_pylist()}
    return snapshot.publish(shelf, lambda: [rows], quarantine, {"labels": counts}, {"suite/result.json": b"{}"})


@pytest.fixture
def shelf(tmp_path: Path) -> RecipeStore:
    return RecipeStore(UPath(tmp_path) / "demo", "demo", tmp_path / "locks")


def test_what_is_published_is_read(shelf: RecipeStore) -> None:
    identity = publish(shelf, table(30))
    assert snapshot.current(shelf) == identity
    assert snapshot.read(shelf, identity).sort_by("row_id") == table(30)
    assert snapshot.read(shelf, identity, ["test"], ["text"]).column_names == ["text"]
    assert snapshot.verify(shelf, identity) == []


def test_large_snapshots_come_in_parts(shelf: RecipeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROWS", 7)
    identity = publish(shelf, table(60))
    assert len(list((snapshot.folder(shelf, identity) / "train").iterdir())) == 3
    assert [one.num_rows for one in snapshot.batches(shelf, identity, ["train"])] == [7, 7, 6]
    assert identity == snapshot.content_id(table(60))


def test_every_flipped_byte_is_found(shelf: RecipeStore) -> None:
    identity = publish(shelf, table(300))
    draw = random.Random(11)
    files = sorted(path for path in snapshot.folder(shelf, identity).rglob("*") if path.is_file())
    files = [path for path in files if path.name != publications.SIGNED]  # hex in capitals is the same signature
    for _ in range(100):
        path = draw.choice(files)
        data = path.read_bytes()
        place = draw.randrange(len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << draw.randrange(8))]) + data[place + 1 :])
        assert snapshot.verify(shelf, identity), f"byte {place} of {path.name}"
        path.write_bytes(data)
    assert snapshot.verify(shelf, identity) == []


def test_missing_and_foreign_files_are_found(shelf: RecipeStore) -> None:
    place = snapshot.folder(shelf, publish(shelf, table(9)))
    (place / "extra.txt").write_text("x")
    (place / "quarantine.parquet").unlink()
    assert snapshot.verify(shelf, place.name) == ["quarantine.parquet is gone", "extra.txt does not belong here"]
    with pytest.raises(DataRejectedError, match="no snapshot"):
        snapshot.verify(shelf, "abc")


def test_a_changed_file_is_not_read(shelf: RecipeStore) -> None:
    identity = publish(shelf, table(9))
    path = snapshot.folder(shelf, identity) / "test" / "part-00000.parquet"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DataRejectedError, match="does not match its hash"):
        snapshot.read(shelf, identity)


def again(shelf: RecipeStore, run_id: str, left_out: int, **more: Any) -> str:
    quarantine = table(left_out).drop_columns(["split"])
    quarantine = quarantine.append_column("reason", pa.array(["odd"] * left_out, pa.string()))
    manifest = {"labels": {}, "run_id": run_id, "quarantined": left_out, "removed_entities": [run_id], **more}
    page = {"report.html": lambda document: f"{document['quarantined']} left out".encode()}
    return snapshot.publish(shelf, lambda: [table(30)], quarantine, manifest, page)


def test_every_publication_keeps_what_was_left_out_beside_the_same_rows(shelf: RecipeStore) -> None:
    identity = again(shelf, "one", 0)
    created = snapshot.manifest(shelf, identity)["created_at"]
    first = (snapshot.folder(shelf, identity) / "manifest.json").read_bytes()
    for run_id, left_out in (("two", 20), ("three", 0), ("four", 4)):
        assert again(shelf, run_id, left_out) == identity
        found = snapshot.manifest(shelf, identity)
        assert (found["run_id"], found["quarantined"], found["removed_entities"]) == (run_id, left_out, [run_id])
        assert found["created_at"] == created, "the rows are as old as they were"
        assert snapshot.file(shelf, identity, "report.html") == f"{left_out} left out".encode()
        assert snapshot.read(shelf, identity, ["quarantine"]).num_rows == left_out
        assert snapshot.read(shelf, identity).num_rows == 30
        assert snapshot.verify(shelf, identity) == []
    assert len(snapshot.ls(shelf)) == 1
    assert (snapshot.folder(shelf, identity) / "manifest.json").read_bytes() == first
    publish(shelf, table(9))
    assert snapshot.manifest(shelf, identity)["run_id"] == "four", "also where it is not current any more"
    again(shelf, "one", 0)
    assert snapshot.manifest(shelf, identity)["run_id"] == "one"


def test_a_run_that_publishes_again_changes_nothing(shelf: RecipeStore) -> None:
    identity = again(shelf, "one", 0)
    pointer = shelf.root / "snapshots" / "current.json"
    first = pointer.read_bytes()
    again(shelf, "two", 20, previous=None)
    place = snapshot.folder(shelf, identity)
    [name] = [path.name for path in (place / "publications").iterdir()]
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    again(shelf, "two", 20, previous=identity)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    for file in ("manifest.json", publications.SEAL):  # killed before these were written
        (place / "publications" / name / file).unlink()
    pointer.write_bytes(first)
    assert snapshot.verify(shelf, identity) == [], "what was not published is nobody's"
    again(shelf, "two", 20)
    assert [path.name for path in (place / "publications").iterdir()] == [name]
    assert snapshot.manifest(shelf, identity)["quarantined"] == 20
    assert snapshot.verify(shelf, identity) == []


def test_a_changed_publication_is_found(shelf: RecipeStore) -> None:
    identity = again(shelf, "one", 0)
    again(shelf, "two", 20)
    again(shelf, "three", 3)
    for path in [p for p in (snapshot.folder(shelf, identity) / "publications").rglob("*") if p.is_file()]:
        data = path.read_bytes()
        path.write_bytes(data[:-3] + b"x" + data[-2:])
        assert snapshot.verify(shelf, identity), path
        path.unlink()
        assert snapshot.verify(shelf, identity), path
        path.write_bytes(data)
    assert snapshot.verify(shelf, identity) == []


def test_differences_are_counted(shelf: RecipeStore) -> None:
    before = publish(shelf, table(30))
    rows = table(33).to_pylist()[2:]
    rows[0]["label"] = "neg"
    after = publish(shelf, pa.Table.from_pylist(rows, schema=snapshot.schema(split=True)))
    found = snapshot_diff.diff(shelf, before, after)
    assert found["removed"] + found["kept"] + found["changed"] == 30
    assert found["added"] - found["removed"] == 1
    assert (found["changed"], found["moved"]) == (1, 0)
    assert found["labels"]["neg"] == [0.0, 1 / 31]
    assert len(found["examples"]["changed"]) == 1


def test_old_snapshots_go_unless_needed(shelf: RecipeStore) -> None:
    made = [publish(shelf, table(n)) for n in (6, 7, 8, 9, 10)]
    snapshot.publish(shelf, lambda: [table(7)], table(0), {"labels": {}})  # the second is current again
    assert snapshot.ls(shelf)[0]["snapshot"] == made[4]
    assert snapshot.prune(shelf, 1, used=[made[2]]) == [made[0], made[3]]
    assert {one["snapshot"] for one in snapshot.ls(shelf)} == {made[1], made[2], made[4]}
    assert snapshot.prune(shelf, 1, used=[made[2]]) == []


TEXT = st.text(max_size=8)
ROW: Any = st.tuples(
    TEXT, TEXT, *[st.one_of(st.none(), TEXT)] * 3, TEXT, st.one_of(st.none(), TEXT), st.sampled_from(snapshot.SPLITS)
)


def as_table(rows: list[Any]) -> pa.Table:
    return pa.table({n: pa.array([r[i] for r in rows], pa.string()) for i, n in enumerate(snapshot.HASHED)})


@given(st.lists(ROW, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_the_id_is_of_the_content_not_of_the_order(rows: list[Any], shuffler: Any) -> None:
    identity = snapshot.content_id(as_table(rows))
    other = rows[:]
    shuffler.shuffle(other)
    assert snapshot.content_id([as_table(other[:3]), as_table(other[3:])]) == identity


@given(st.lists(ROW, max_size=8), st.lists(ROW, max_size=8))
@settings(max_examples=150, deadline=None)
def test_other_content_has_another_id(one: list[Any], other: list[Any]) -> None:
    same = sorted(map(repr, one)) == sorted(map(repr, other))
    assert (snapshot.content_id(as_table(one)) == snapshot.content_id(as_table(other))) == same


@given(st.text(max_size=40))
def test_the_quick_key_is_the_whole_key(text: str) -> None:
    import unicodedata

    assert snapshot.text_key(text) == " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def forge(shelf: RecipeStore, identity: str, *, signed: bool) -> None:
    """Rewrite the test rows' labels, the manifest and its seal, as whoever may write to the store can."""
    place = snapshot.folder(shelf, identity)
    [part] = (place / "test").iterdir()
    rows = read_table(part)
    labels = pa.array(["positive"] * rows.num_rows, pa.string())
    write_table(part, rows.set_column(rows.column_names.index("label"), rows.schema.field("label"), labels))
    manifest = json.loads((place / "manifest.json").read_bytes())
    manifest["files"][f"test/{part.name}"] = hash_file(part)
    write_json(place / "manifest.json", manifest)
    write_bytes(place / publications.SEAL, hash_file(place / "manifest.json").encode())
    if not signed:
        (place / publications.SIGNED).unlink()


@pytest.mark.parametrize("signed", [True, False])
def test_rows_of_a_manifest_that_the_platform_did_not_sign_are_not_read(shelf: RecipeStore, signed: bool) -> None:
    publish(shelf, table(9))
    identity = again(shelf, "one", 0)
    good = snapshot.read(shelf, identity)
    forge(shelf, identity, signed=signed)
    why = "was changed, or was not written by the platform" if signed else "is not signed by the platform"
    for read in (partial(snapshot.read, shelf), partial(snapshot.file, shelf, name="report.html")):
        with pytest.raises(DataRejectedError, match=why):
            read(identity)
    assert f"manifest.json {why}" in snapshot.verify(shelf, identity)
    assert again(shelf, "one", 0) == identity, "published anew"
    assert snapshot.read(shelf, identity).equals(good)
    assert snapshot.verify(shelf, identity) == []


def test_a_manifest_of_an_earlier_version_is_read_where_a_signed_record_has_its_hash(
    shelf: RecipeStore, caplog: pytest.LogCaptureFixture
) -> None:
    identity = again(shelf, "one", 0)
    path = snapshot.folder(shelf, identity) / "manifest.json"
    path.with_name(publications.SIGNED).unlink()
    assert snapshot.read(shelf, identity).num_rows == 30
    assert "taken as that of an earlier ftcore" in caplog.text
    publish(shelf, table(9))
    with pytest.raises(DataRejectedError, match="is not signed by the platform"):
        snapshot.read(shelf, identity)
    made = {"step": "plan", "recipe": shelf.name, "run_id": "r1", "fingerprint": "", "started_at": now()}
    shelf.write_record(Record.model_validate(made | {"inputs": {"manifest": hash_file(path)}}))
    assert snapshot.read(shelf, identity).num_rows == 30
    assert snapshot.verify(shelf, identity) == []
