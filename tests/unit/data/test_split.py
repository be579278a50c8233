"""Split keys: one for a group wherever it comes by, kept in the store, and drawn to the shares."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from ftcore.data import snapshot, split, watermarks
from ftcore.data.snapshot import source_key
from ftcore.data.split import SECRET_VARIABLE, SplitKeys
from ftcore.errors import DamagedFileError, FtcoreError
from ftcore.recipe.sections import Prepare
from ftcore.store.store import RecipeStore, create_bytes

KEYS = SplitKeys(b"0" * 32)


@pytest.fixture
def shelf(tmp_path: Path) -> RecipeStore:
    return RecipeStore(UPath(tmp_path) / "demo", "demo", tmp_path / "locks")


@pytest.mark.parametrize(
    ("given_key", "expected"),
    [
        ("12", "12"), ("12.0", "12"), (" 12 ", "12"), ("12.", "12"), ("-3.00", "-3"), ("1e+16", "10000000000000000"),
        ("1.5e+16", "15000000000000000"), ("012", "012"), ("12.50", "12.50"), ("1e5", "1e5"), ("aB.0", "aB.0"),
        ("1.2.0", "1.2.0"), ("v1.0", "v1.0"), ("", ""),
    ],
)  # fmt: skip
def test_ids_that_differ_only_in_how_they_were_kept_are_one(given_key: str, expected: str) -> None:
    assert source_key(given_key) == expected == source_key(source_key(given_key))


def test_a_group_has_one_key_however_it_is_written() -> None:
    assert len(set(KEYS.of(["C-12", "c-12 ", " C-12"], ["a", "b", "c"]))) == 1
    assert len(set(KEYS.of(["12", "12.0", " 12 ", "１２"], ["a", "b", "c", "d"]))) == 1
    assert len(set(KEYS.of(["12", "012", "12.5", "13"], ["a"] * 4))) == 4
    assert KEYS.of([None, "", "  "], ["A  text"] * 3) == KEYS.of([None] * 3, ["a text"] * 3)
    assert KEYS.of(["a"], ["x"]) != KEYS.of([None], ["a"]), "a text is no group"


@given(st.text(max_size=20), st.sampled_from(snapshot.SPLITS), st.floats(0.01, 0.49), st.floats(0.01, 0.49))
def test_a_key_can_be_made_within_a_split(seed: str, name: str, test: float, validation: float) -> None:
    shares = Prepare(test=test, validation=validation)
    key = KEYS.within(name, seed, shares)
    assert (len(key), split.assign_split(key, shares)) == (16, name)


def test_a_row_keeps_the_key_it_has() -> None:
    rows = pa.Table.from_pylist(
        [{"text": "a", "group": "g"}, {"text": "b", "group": "g", "split_key": "0" * 16}], schema=snapshot.schema()
    )
    filled = KEYS.fill(rows)
    assert filled["split_key"].to_pylist() == [KEYS.of(["g"], ["a"])[0], "0" * 16]
    assert KEYS.fill(filled) is filled


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "text": st.sampled_from(["a", "A ", "b\tc", "é", "", None]),
                "group": st.sampled_from([None, "", " ", "g", "G ", "12.0"]),
                "split_key": st.sampled_from([None, "0" * 16]),
            }
        ),
        max_size=9,
    ),
)
def test_keys_of_a_table_are_those_of_its_rows(rows: list[dict[str, str | None]]) -> None:
    table = pa.Table.from_pylist(rows, schema=snapshot.schema())
    expected = [row["split_key"] or KEYS.of([row["group"]], [row["text"]])[0] for row in rows]
    assert KEYS.fill(table)["split_key"].to_pylist() == expected
    assert KEYS.fill(table, KEYS.raw(table))["split_key"].to_pylist() == expected


def test_groups_that_name_people_stay_apart_and_name_nobody() -> None:
    names = [KEYS.pseudonym(f"user{n}@example.com") for n in range(50)]
    assert len(set(names)) == 50
    assert not any("@" in name or any(map(str.isdigit, name)) for name in names)
    assert KEYS.pseudonym(" User1@example.com") == names[1]


def test_the_secret_stays_what_it_was_when_the_first_row_came_in(shelf: RecipeStore) -> None:
    first = split.load(shelf, {})
    assert first.guessable
    assert split.load(shelf, {SECRET_VARIABLE: "s" * 32}) == first == split.load(shelf, {})
    other = RecipeStore(shelf.root.parent / "other", "other", shelf.locks)
    with_secret = split.load(other, {SECRET_VARIABLE: "s" * 32})
    assert not with_secret.guessable
    assert with_secret == split.load(other, {}), "losing the secret moves nothing"
    assert with_secret.of(["g"], ["t"]) != first.of(["g"], ["t"])


def test_the_same_recipe_has_the_same_keys_on_every_machine(tmp_path: Path) -> None:
    one, other = (RecipeStore(UPath(tmp_path / name) / "demo", "demo", tmp_path) for name in "ab")
    assert split.load(one, {}) == split.load(other, {})


def test_a_look_writes_nothing(shelf: RecipeStore) -> None:
    assert split.load(shelf, {}, keep=False) == split.load(shelf, {}, keep=False)
    assert not (shelf.root / "state").exists()


@pytest.mark.parametrize("where", ["local", "memory"])
def test_of_many_at_once_the_first_one_counts(tmp_path: Path, where: str) -> None:
    root = UPath(tmp_path) if where == "local" else UPath(f"memory://{tmp_path.name}")
    shelf = RecipeStore(root / "demo", "demo", tmp_path / "locks")
    found: list[SplitKeys] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(split.load(shelf, {SECRET_VARIABLE: f"secret {n}" * 4})))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.secret for one in found}) == 1
    assert not create_bytes(shelf.root / "state" / "split.json", b"another")
    assert [file.name for file in (shelf.root / "state").iterdir()] == ["split.json"]


def published(shelf: RecipeStore, keys: SplitKeys) -> None:
    rows = snapshot.schema(split=True).empty_table()
    snapshot.publish(shelf, lambda: [rows], rows.slice(0, 0), {"labels": {}, "split_keys": keys.state})


def test_a_lost_secret_is_not_derived_anew_where_rows_were_split_by_it(
    shelf: RecipeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shelf.root / "state" / "split.json"
    keys = split.load(shelf, {SECRET_VARIABLE: "one"})
    published(shelf, keys)
    path.unlink()
    with pytest.raises(FtcoreError, match=r"split\.json is gone, and what would be derived") as caught:
        split.load(shelf, {})
    assert not path.exists()
    assert "restore it from a backup" in caught.value.hint
    assert split.load(shelf, {SECRET_VARIABLE: "one"}) == keys, "the same one, derived again"
    path.write_text(f'{{"key": "{"ab" * 32}", "from": "?"}}')
    with pytest.raises(FtcoreError, match=r"split\.json is not the one"):
        split.load(shelf, {})
    path.unlink()
    monkeypatch.setenv(split.ANEW_VARIABLE, shelf.name)
    new = split.load(shelf, {})
    monkeypatch.delenv(split.ANEW_VARIABLE)
    assert new != keys
    assert split.load(shelf, {}) == new, "accepted once"
    published(shelf, new)
    assert split.load(shelf, {}) == new


@pytest.mark.parametrize("held", ["", "{", "{}", "[]", '{"key": "abcd", "from": "?"}', '{"key": 1, "from": "?"}'])
def test_a_damaged_secret_is_named(shelf: RecipeStore, held: str) -> None:
    split.load(shelf, {})
    path = shelf.root / "state" / "split.json"
    path.write_text(held)
    with pytest.raises(DamagedFileError, match=r"split\.json") as caught:
        split.load(shelf, {})
    assert "backup" in caught.value.hint
    assert path.read_text() == held


@pytest.mark.parametrize("held", ["", "{", "[]", '{"sql:crm": {}}', '{"sql:crm": 1}', "\xff"])
def test_other_damaged_state_is_named(shelf: RecipeStore, held: str) -> None:
    for path, read in (
        (shelf.root / "state" / "watermarks.json", lambda: watermarks.load(shelf, "sql:crm", "x")),
        (shelf.root / "snapshots" / "current.json", lambda: snapshot.current(shelf)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(held.encode("latin-1"))
        with pytest.raises(DamagedFileError, match=path.name):
            read()


def test_changed_shares_are_told() -> None:
    manifest = {"snapshot": "abc", "settings": {"prepare": {"test": 0.1, "validation": 0.1}}}
    assert split.redrawn(manifest, Prepare(test=0.1)) == ""
    assert "prepare.test is 0.3 instead of 0.1, with which snapshot abc" in split.redrawn(manifest, Prepare(test=0.3))
    assert split.redrawn({}, Prepare(test=0.3)) == ""
