"""A snapshot is named by its content, never changes, and no row ever changes sides."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from ftcore import snapshot, store
from ftcore.errors import DataRejectedError
from ftcore.recipe import Prepare
from ftcore.store import Shelf

SHARES = Prepare()
TEXTS = st.text(min_size=1, max_size=30)


def rows(count: int, **changes: list[object]) -> pa.Table:
    columns = {
        "row_id": [f"id{number}" for number in range(count)],
        "text": [f"text {number}" for number in range(count)],
        "label": [("a", "b")[number % 2] for number in range(count)],
        "source": ["test"] * count,
        "group": [None] * count,
        "observed_at": [None] * count,
        "split": [snapshot.side(None, f"text {number}", SHARES) for number in range(count)],
    }
    return pa.table(columns | changes, schema=snapshot.schema(split=True))


def no_quarantine() -> pa.Table:
    return snapshot.schema().append(pa.field("reason", pa.string())).empty_table()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(UPath(tmp_path / "demo"), "demo", tmp_path / "locks")


@given(st.permutations(range(12)))
def test_the_id_does_not_depend_on_the_order_of_the_rows(order: list[int]) -> None:
    table = rows(12)
    assert snapshot.content_id(table.take(order)) == snapshot.content_id(table)


def test_the_id_does_not_depend_on_how_rows_lie_in_memory() -> None:
    table = rows(12)
    pieces = pa.concat_tables([table.slice(0, 5), table.slice(5)])
    assert snapshot.content_id(pieces) == snapshot.content_id(table.select(table.column_names[::-1]))


@pytest.mark.parametrize("column", ["row_id", "text", "label", "source", "group", "split"])
def test_every_changed_value_gives_another_id(column: str) -> None:
    table = rows(4)
    values = table[column].to_pylist()
    changed = rows(4, **{column: [*values[:3], "other"]})
    missing = rows(4, **{column: [*values[:3], None]})
    found = {snapshot.content_id(t) for t in (table, changed, missing)}
    assert len(found) == (2 if column == "group" else 3)


@given(st.none() | TEXTS, TEXTS, st.randoms())
def test_the_side_is_drawn_from_the_group_or_else_the_text(group: str | None, text: str, chance: random.Random) -> None:
    side = snapshot.side(group, text, SHARES)
    assert side in snapshot.SPLITS
    assert side == snapshot.side(group, text, SHARES)
    if group:
        assert side == snapshot.side(group, str(chance.random()), SHARES)
    else:
        assert snapshot.side("", text, SHARES) == snapshot.side(None, f" \t{text}\n", SHARES) == side


@given(st.lists(st.sampled_from(["Straße", "I", "ﬁlm", "Ａ", "e\u0301", "Σ", "x"]), min_size=1, max_size=5))
def test_case_width_and_spacing_do_not_change_the_side(words: list[str]) -> None:
    text = " ".join(words)
    for other in (text.lower(), text.casefold(), f"  {'   '.join(words)} ", text.replace(" ", "\u00a0\t")):
        assert snapshot.text_key(other) == snapshot.text_key(text)
        assert snapshot.side(None, other, SHARES) == snapshot.side(None, text, SHARES)


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.2), (0.3, 0.5), (0.01, 0.01)])
def test_the_shares_come_out_right(validation: float, test: float) -> None:
    shares, count = Prepare(validation=validation, test=test), 20_000
    sides = [snapshot.side(None, f"text {number}", shares) for number in range(count)]
    for name, share in {"validation": validation, "test": test, "train": 1 - validation - test}.items():
        four_sigma = 4 * (share * (1 - share) / count) ** 0.5
        assert sides.count(name) / count == pytest.approx(share, abs=four_sigma)


def test_a_larger_test_share_takes_no_row_out_of_the_test_side() -> None:
    for number in range(500):
        if snapshot.side(None, f"t{number}", Prepare(test=0.2)) == "test":
            assert snapshot.side(None, f"t{number}", Prepare(test=0.3)) == "test"


def test_a_row_id_keeps_source_and_key_apart() -> None:
    assert snapshot.row_id("a", "bc") != snapshot.row_id("ab", "c")
    assert snapshot.row_id("a", "b") == snapshot.row_id("a", "b")


def test_what_is_published_is_read_back(shelf: Shelf) -> None:
    assert snapshot.current(shelf) is None
    table = rows(40)
    identity = snapshot.publish(shelf, table, no_quarantine(), {"rows": 40})
    assert identity == snapshot.content_id(table) == snapshot.current(shelf)
    assert snapshot.content_id(snapshot.read(shelf, identity)) == identity
    assert set(snapshot.read(shelf, identity, ["test"])["split"].to_pylist()) == {"test"}
    manifest = snapshot.manifest(shelf, identity)
    assert (manifest["snapshot"], manifest["rows"]) == (identity, 40)
    assert set(manifest["files"]) == {"train.parquet", "validation.parquet", "test.parquet", "quarantine.parquet"}


def test_publishing_the_same_rows_again_changes_nothing(shelf: Shelf) -> None:
    table = rows(40)
    identity = snapshot.publish(shelf, table, no_quarantine(), {"run_id": "first"})
    before = store.hash_folder(snapshot.folder(shelf, identity))
    other = snapshot.publish(shelf, rows(39), no_quarantine(), {"run_id": "other"})
    assert snapshot.current(shelf) == other != identity
    assert (
        snapshot.publish(shelf, table.take(list(range(39, -1, -1))), no_quarantine(), {"run_id": "again"}) == identity
    )
    assert snapshot.current(shelf) == identity
    assert store.hash_folder(snapshot.folder(shelf, identity)) == before


def test_the_manifest_is_written_last_but_for_the_pointer(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = store.write_bytes
    monkeypatch.setattr(store, "write_bytes", lambda path, data: (written.append(path.name), write(path, data)))
    snapshot.publish(shelf, rows(40), no_quarantine(), {})
    assert written[-2:] == ["manifest.json", "current.json"]
    assert len(written) == 6


def test_a_publication_that_was_killed_is_finished_the_next_time(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    table, write, left = rows(40), store.write_bytes, 0

    def until_killed(path: UPath, data: bytes) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        write(path, data)

    for calls in range(6):
        left = calls
        monkeypatch.setattr(store, "write_bytes", until_killed)
        with pytest.raises(KeyboardInterrupt):
            snapshot.publish(shelf, table, no_quarantine(), {})
        monkeypatch.setattr(store, "write_bytes", write)
        assert snapshot.current(shelf) is None
    identity = snapshot.publish(shelf, table, no_quarantine(), {})
    assert snapshot.read(shelf, identity).num_rows == 40


@pytest.mark.parametrize("split", snapshot.SPLITS)
def test_a_changed_byte_is_noticed(shelf: Shelf, split: str) -> None:
    identity = snapshot.publish(shelf, rows(40), no_quarantine(), {})
    path = snapshot.folder(shelf, identity) / f"{split}.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DataRejectedError, match=rf"{split}\.parquet does not match its hash"):
        snapshot.read(shelf, identity)


@pytest.mark.parametrize("identity", ["../../elsewhere", "", ".", "a/b"])
def test_an_id_cannot_leave_the_folder(shelf: Shelf, identity: str) -> None:
    with pytest.raises(DataRejectedError, match="is not a snapshot id"):
        snapshot.folder(shelf, identity)


def test_a_snapshot_that_is_not_there_is_named(shelf: Shelf) -> None:
    with pytest.raises(DataRejectedError, match="demo has no snapshot 'abc'"):
        snapshot.read(shelf, "abc")
