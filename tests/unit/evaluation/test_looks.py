"""A look at test rows is counted once, new rows start at none, and nothing that is lost or edited gives looks back."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from upath import UPath

from ftcore.evaluation import looks
from ftcore.evaluation.looks import Look
from ftcore.store.store import RecipeStore, read_json, read_table, write_json, write_table


@pytest.fixture
def shelf(tmp_path: Path) -> RecipeStore:
    return RecipeStore(UPath(tmp_path / "store"), "small", tmp_path / "locks")


def take(
    shelf: RecipeStore,
    candidate: int,
    keys: Sequence[str],
    judged: Collection[int] = (),
    *,
    champion: int = 1,
    how: str = "",
) -> list[int]:
    found = looks.take(shelf, f"r{candidate}", Look.at(candidate, champion, how, keys), judged, 30)
    return found.counts.tolist()  # type: ignore[no-any-return]


def lost(shelf: RecipeStore, candidate: int, keys: Sequence[str], judged: Collection[int] = ()) -> tuple[str, ...]:
    return looks.take(shelf, f"r{candidate}", Look.at(candidate, 1, "", keys), judged, 30).lost


def files(shelf: RecipeStore) -> list[UPath]:
    return sorted((shelf.root / "looks").rglob("*.parquet"), key=str)


def lines(shelf: RecipeStore) -> list[UPath]:
    return sorted((shelf.root / "ledger").glob("look--*.json"), key=str)


def test_each_comparison_is_one_look_however_often_it_is_made(shelf: RecipeStore) -> None:
    assert take(shelf, 2, ["a", "b"]) == [0, 0]
    assert take(shelf, 2, ["b", "a"]) == [0, 0], "made again"
    assert take(shelf, 3, ["a", "b", "c"]) == [1, 1, 0], "a row that is new has not been looked at"
    assert take(shelf, 2, ["a", "b"]) == [0, 0], "a later look changes nothing for an earlier one"
    assert take(shelf, 4, ["c", "a", "d"]) == [1, 2, 0]
    assert take(shelf, 5, ["a"], champion=2) == [0], "another champion"


def test_rows_of_one_group_are_looked_at_together(shelf: RecipeStore) -> None:
    assert take(shelf, 2, ["anna", "anna", "ben"]) == [0, 0, 0]
    assert take(shelf, 3, ["anna", "anna", "anna", "ben"]) == [1, 1, 1, 1]


def test_what_is_not_the_same_comparison_is_another_look(shelf: RecipeStore) -> None:
    """A run that trained again, or compared otherwise or on other rows, had its first look once more."""
    assert take(shelf, 2, ["a", "b"]) == [0, 0]
    assert take(shelf, 2, ["a", "b", "c"]) == [1, 1, 0], "other rows: they were counted as -1"
    assert take(shelf, 2, ["c", "d"]) == [1, 0]
    assert take(shelf, 2, ["a"], how="by f1") == [2], "another metric"
    assert take(shelf, 3, ["a", "b", "c", "d"]) == [3, 2, 2, 1]


def test_the_ledger_tells_of_each_look(shelf: RecipeStore) -> None:
    take(shelf, 2, ["anna", "anna", "ben"])
    take(shelf, 3, ["anna", "carl"])
    take(shelf, 3, ["anna", "carl"])
    first, second = shelf.ledger("look")
    assert (first["run_id"], first["candidate"], first["champion"], first["number"]) == ("r2", 2, 1, 1)
    assert first["reason"] == "version 2 is compared with champion 1 on 3 rows in 2 groups: look 1 at these rows"
    assert second["reason"].endswith("on 2 rows in 2 groups: look 1.5 at these rows")


def test_a_file_holds_no_key_and_each_group_once(shelf: RecipeStore) -> None:
    take(shelf, 2, ["anna@example.com", "ben", "ben"])
    (path,) = files(shelf)
    assert read_table(path).num_rows == 2
    assert b"anna" not in path.read_bytes()


def emptied(path: UPath) -> None:
    table = read_table(path)
    write_table(path, table.slice(0, 0))


def swapped(path: UPath) -> None:
    table = read_table(path)
    others = pa.array(np.arange(table.num_rows), pa.uint64())
    write_table(path, pa.table({"key": others}).replace_schema_metadata(table.schema.metadata))


def renamed_inside(path: UPath) -> None:
    table = read_table(path)
    about = json.loads(table.schema.metadata[looks.ABOUT])
    write_table(path, table.replace_schema_metadata({looks.ABOUT: json.dumps([about[0], 9, about[2]])}))


EDITS: dict[str, Callable[[UPath], object]] = {
    "deleted": lambda path: path.unlink(),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "no bytes": lambda path: path.write_bytes(b""),
    "not Parquet": lambda path: path.write_bytes(b"PAR1 nothing PAR1"),
    "without rows": emptied,
    "other rows": swapped,
    "another champion": renamed_inside,
    "without metadata": lambda path: write_table(path, read_table(path).replace_schema_metadata()),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_file_that_is_lost_or_edited_counts_for_all_rows(shelf: RecipeStore, edit: str) -> None:
    """Deleting the file of looks gave the whole error rate back, without a word."""
    take(shelf, 2, ["a", "b"])
    (path,) = files(shelf)
    EDITS[edit](path)
    assert take(shelf, 3, ["a", "z"]) == [1, 1], "nobody knows which rows"
    assert lost(shelf, 3, ["a", "z"]) == (f"look {path.stem} (version 2)",)
    assert take(shelf, 2, ["a", "b"]) == [0, 0], "made again, its rows are known again"
    assert take(shelf, 4, ["a", "z"]) == [2, 1]


@pytest.mark.parametrize("edit", [None, {"champion": 7}, {"look": "0" * 16}, {"number": 99}, {"candidate": 9}])
def test_a_line_of_the_ledger_that_is_lost_or_edited_gives_no_look_back(
    shelf: RecipeStore, edit: dict[str, object] | None
) -> None:
    take(shelf, 2, ["a", "b"])
    (path,) = lines(shelf)
    if edit is None:
        path.unlink()
    else:
        write_json(path, read_json(path) | edit)
    assert min(take(shelf, 3, ["a", "b"])) >= 1


def test_a_look_of_which_all_is_lost_is_known_from_the_verdicts(shelf: RecipeStore) -> None:
    take(shelf, 2, ["a", "b"])
    for path in [*files(shelf), *lines(shelf)]:
        path.unlink()
    assert take(shelf, 3, ["a", "z"], judged={2, 3}) == [1, 1]
    assert lost(shelf, 3, ["a", "z"], judged={2, 3}) == ("the look at version 2",)
    assert take(shelf, 4, ["a", "z"], judged={2, 3, 4}) == [2, 2]


def test_a_crash_between_file_and_line_counts_once(shelf: RecipeStore) -> None:
    take(shelf, 2, ["a", "b"])
    assert take(shelf, 3, ["a", "b"]) == [1, 1]
    lines(shelf)[1].unlink()
    assert take(shelf, 3, ["a", "b"]) == [1, 1]
    assert take(shelf, 4, ["a", "b"]) == [2, 2]


def _in_a_process(folder: Path, candidate: int) -> list[int]:
    return take(RecipeStore(UPath(folder / "store"), "small", folder / "locks"), candidate, ["a", "b"])


def test_processes_at_once_take_one_look_each(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = [*pool.map(_in_a_process, [tmp_path] * 6, [2, 3, 4, 5, 5, 5])]
    assert sorted(one[0] for one in {tuple(pair) for pair in found}) == [0, 1, 2, 3]
    assert len({tuple(one) for one in found[3:]}) == 1, "the same comparison is one look"
