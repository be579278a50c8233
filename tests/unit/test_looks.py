"""A look at test rows is counted once a run and champion, and new rows start at none."""

from __future__ import annotations

from pathlib import Path

import pytest
from upath import UPath

from ftcore import looks
from ftcore.store import Shelf, read_table


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(UPath(tmp_path / "store"), "small", tmp_path / "locks")


def take(shelf: Shelf, run: str, keys: list[str], champion: int = 1) -> list[int]:
    return looks.take(shelf, champion, (run, shelf.folder(run, "gate")), keys, 5).tolist()  # type: ignore[no-any-return]


def test_each_run_is_one_look_however_often_it_is_made(shelf: Shelf) -> None:
    assert take(shelf, "r1", ["a", "b"]) == [0, 0]
    assert take(shelf, "r1", ["a", "b"]) == [0, 0], "made again"
    assert take(shelf, "r2", ["a", "b", "c"]) == [1, 1, 0], "a row that is new has not been looked at"
    assert take(shelf, "r1", ["a", "b"]) == [0, 0], "a later run changes nothing for an earlier one"
    assert take(shelf, "r3", ["c", "a", "d"]) == [1, 2, 0]
    assert take(shelf, "r4", ["a"], champion=2) == [0], "another champion"


def test_rows_of_one_group_are_looked_at_together(shelf: Shelf) -> None:
    assert take(shelf, "r1", ["anna", "anna", "ben"]) == [0, 0, 0]
    assert take(shelf, "r2", ["anna", "anna", "anna", "ben"]) == [1, 1, 1, 1]


def test_a_crash_between_the_two_files_counts_once(shelf: Shelf) -> None:
    take(shelf, "r1", ["a", "b"])
    assert take(shelf, "r2", ["a", "b"]) == [1, 1]
    (shelf.folder("r2", "gate") / "looks.parquet").unlink()
    assert take(shelf, "r2", ["a", "b"]) == [1, 1]
    assert take(shelf, "r3", ["a", "b"]) == [2, 2]


def test_the_file_holds_no_key_and_does_not_grow_with_looks(shelf: Shelf) -> None:
    for number in range(5):
        take(shelf, f"r{number}", ["anna@example.com", "ben"])
    path = shelf.root / "looks" / "champion-1.parquet"
    assert read_table(path).num_rows == 2
    assert b"anna" not in path.read_bytes()
