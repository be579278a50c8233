"""Who a row is: files of one name in two folders are two files, and a group is one whatever source names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftcore.context import Context
from ftcore.data import snapshot
from ftcore.recipe import reading as recipes
from ftcore.recipe import source_names
from tests.unit.steps._drafts import RECIPE

Make = Callable[..., Context]


def lay(folder: Path, *names: str, line: str = "a text,negative,1,C-1") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"text,label,id,customer\n{line}\n")


def read(context: Context) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for source in context.recipe.sources:
        found += [row for table in source.read(context) for row in table.to_pylist()]
    return found


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["jan/tickets.csv"], ["files:tickets"]),
        (["jan/tickets.csv", "feb/tickets.csv"], ["files:tickets", "files:feb/tickets"]),
        (["jan/tickets.csv", "jan/tickets.csv"], ["files:tickets", "files:tickets"]),
        (["jan/tickets.csv", "other/faq.csv"], ["files:tickets", "files:faq"]),
        (["jan/*.csv"], ["files:tickets"]),
        (["jan/*"], ["files:tickets.csv"]),
        (["*/*.csv"], ["files:feb/tickets", "files:jan/tickets", "files:other/faq"]),
        (["**/tickets.csv"], ["files:feb/tickets", "files:jan/tickets"]),
        (["jan/*.csv", "feb/*.csv"], ["files:tickets", "files:feb/tickets"]),
        (["jan/*.csv", "feb/tickets.csv"], ["files:jan/tickets", "files:tickets"]),
        (["other/faq.csv", "jan/t*.csv"], ["files:faq", "files:tickets"]),
        (["jan/{day:t%Y}.csv", "./feb/*.csv"], None),
    ],
)
def test_files_of_one_name_in_two_folders_are_two(
    context: Make, tmp_path: Path, paths: list[str], names: list[str] | None
) -> None:
    lay(tmp_path, "jan/tickets.csv", "feb/tickets.csv", "other/faq.csv")
    if names is None:
        lay(tmp_path, "jan/t2026.csv", "feb/t2026.csv")
        names = ["files:t2026", "files:tickets", "files:feb/t2026", "files:feb/tickets"]
    rows = read(context(*({"kind": "files", "path": path, "id": "id"} for path in paths)))
    assert [row["source"] for row in rows] == names
    assert [row["row_id"] for row in rows] == [snapshot.row_id(name, "1") for name in names]
    assert len({row["row_id"] for row in rows}) == len(set(names))


def test_a_file_has_one_name_read_whole_or_in_shards(context: Make, tmp_path: Path) -> None:
    lay(tmp_path, "jan/tickets.csv", "feb/tickets.csv")
    here = context({"kind": "files", "path": str(tmp_path / "*/*.csv")})
    source = here.recipe.sources[0]
    pieces = [piece for _, group in source.shards(here) for piece in group]
    whole = [row for table in source.read(here) for row in table.to_pylist()]
    assert [row for table in source.read_shard(here, pieces) for row in table.to_pylist()] == whole
    assert {row["source"] for row in whole} == {"files:feb/tickets", "files:jan/tickets"}


def test_a_name_that_the_recipe_gives_stays(context: Make, tmp_path: Path) -> None:
    lay(tmp_path, "jan/tickets.csv", "feb/tickets.csv")
    named = [{"kind": "files", "path": f"{month}/tickets.csv", "name": "tickets"} for month in ("jan", "feb")]
    assert {row["source"] for row in read(context(*named))} == {"files:tickets"}


def names_of(document: dict[str, Any], published: dict[str, str] | None = None) -> tuple[list[str], dict[str, str]]:
    sources = recipes.parse(document, published=published).sources
    names = [one.source_name() for one in sources]
    return names, source_names.known(sources, published or {})


def test_a_name_never_passes_to_another_file(caplog: pytest.LogCaptureFixture) -> None:
    def recipe(*paths: str) -> dict[str, Any]:
        return RECIPE | {"sources": [{"kind": "files", "path": path} for path in paths]}

    names, published = names_of(recipe("y1/t.csv", "y2/t.csv"))
    assert names == ["files:t", "files:y2/t"]
    assert names_of(recipe("y2/t.csv", "y1/t.csv"), published)[0] == ["files:y2/t", "files:t"], "the order is nothing"
    names, later = names_of(recipe("y2/t.csv"), published)
    assert (names, later) == (["files:y2/t"], published), "one that is taken out is not forgotten"
    assert not caplog.records
    assert names_of(recipe("y3/t.csv", "y2/t.csv"), later)[0] == ["files:y3/t", "files:y2/t"]
    assert "files:t is the name of other rows, from files y1/t.csv" in caplog.text
    assert names_of(recipe("y3/t.csv", "y2/t.csv", "y1/t.csv"), later)[0] == ["files:y3/t", "files:y2/t", "files:t"]
    moved = RECIPE | {"sources": [{"kind": "files", "path": "new/t.csv", "name": "t"}]}
    assert names_of(moved, later)[0] == ["files:t"], "a file that was moved, as the recipe says"


def test_a_query_keeps_its_name_and_may_be_changed() -> None:
    def recipe(*queries: str) -> dict[str, Any]:
        sql = {"kind": "sql", "connection": "warehouse", "id": "id"}
        return RECIPE | {"sources": [sql | {"query": query} for query in queries]}

    names, published = names_of(recipe("SELECT * FROM a", "SELECT * FROM b"))
    assert names == ["sql:warehouse", "sql:warehouse-2"]
    assert names_of(recipe("SELECT * FROM b"), published)[0] == ["sql:warehouse-2"]
    assert names_of(recipe("SELECT * FROM b", "SELECT * FROM a"), published)[0] == names[::-1]
    assert names_of(recipe("SELECT *, 1 FROM a", "SELECT * FROM b"), published)[0] == names


def test_queries_and_datasets_of_one_name_are_two(context: Make) -> None:
    sql = {"kind": "sql", "connection": "warehouse", "id": "id"}
    here = context(
        sql | {"query": "SELECT * FROM tickets"}, sql | {"query": "SELECT * FROM reviews"},
        sql | {"query": "SELECT * FROM tickets", "label": None},
        {"kind": "hf", "path": "a/reviews"}, {"kind": "hf", "path": "b/reviews"}, {"kind": "feedback"},
    )  # fmt: skip
    names = [source.source_name() for source in here.recipe.sources if source.kind != "feedback"]
    assert names == ["sql:warehouse", "sql:warehouse-2", "sql:warehouse", "hf:reviews", "hf:b/reviews"]


@pytest.mark.parametrize("other", ["1", "1.0", " 1 ", "01"])
def test_ids_are_one_however_a_table_kept_them(context: Make, tmp_path: Path, other: str) -> None:
    lay(tmp_path, "a.csv", line=f"a text,negative,1,C-1\nanother text,negative,{other},C-2")
    rows = read(context({"kind": "files", "path": "a.csv", "id": "id"}))
    assert (rows[0]["row_id"] == rows[1]["row_id"]) is (other != "01")
    assert rows[1]["source_id"] == other


def test_a_row_without_an_id_is_known_by_its_text(context: Make, tmp_path: Path) -> None:
    lay(tmp_path, "a.csv", line="a text,negative, ,\nanother text,negative,  , ")
    rows = read(context({"kind": "files", "path": "a.csv", "id": "id", "group": "customer"}))
    assert len({row["row_id"] for row in rows}) == 2
    assert {row["group"] for row in rows} == {None}


def test_a_group_is_one_in_the_recipe_unless_it_says_otherwise(context: Make, tmp_path: Path) -> None:
    lay(tmp_path, "jan.csv", "feb.csv", line="a text,negative,1, 12.0 ")
    common = {"kind": "files", "group": "customer"}
    rows = read(context(common | {"path": "jan.csv"}, common | {"path": "feb.csv"}))
    assert [row["group"] for row in rows] == ["12", "12"]
    own = common | {"group_scope": "source"}
    rows = read(context(own | {"path": "jan.csv"}, own | {"path": "feb.csv"}, own | {"path": "*.csv"}))
    assert [row["group"] for row in rows] == ["files:jan:12", "files:feb:12", "files:*.csv:12", "files:*.csv:12"]
