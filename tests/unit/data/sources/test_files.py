"""Rows from files as people really send them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from ftcore.context import Context
from ftcore.data import snapshot
from ftcore.data.sources import files
from ftcore.errors import DataRejectedError, NotFoundError

Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def read(tmp_path: Path, context: Callable[..., Context]) -> Read:
    """Write a file and read it back: ``read(content, name="rows.csv", **config)``."""

    def read(content: bytes | str = "", name: str = "rows.csv", path: str = "", **config: Any) -> list[dict[str, Any]]:
        if content:
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        here = context({"kind": "files", "path": path or name, **config})
        tables = list(here.recipe.sources[0].read(here))
        assert all(table.schema.equals(snapshot.schema()) for table in tables)
        return [row for table in tables for row in table.to_pylist()]

    return read


def test_csv(read: Read) -> None:
    (row,) = read("text,label,other\nhello,a,1\n")
    assert row.pop("origin").endswith("rows.csv, line 2")
    assert row == dict.fromkeys(row) | {
        "row_id": snapshot.row_id("files:rows", "hello"),
        "text": "hello",
        "label": "a",
        "source": "files:rows",
    }


def test_a_sources_name_is_the_one_that_its_rows_carry(read: Read) -> None:
    (row,) = read("text,label\nhello,a\n")
    assert files.Files(path="rows.csv").source_name() == row["source"] == "files:rows"
    assert files.Files(path="r*.csv", name="all").source_name() == "files:all"
    assert files.Files(path="r*.csv").source_name() is None, "each file has a name of its own"


def test_json_lines(read: Read) -> None:
    lines = [{"text": "hé", "label": 1}, {"text": None, "label": None}, {"label": 0, "text": "x"}]
    rows = read("\n".join(map(json.dumps, lines)), "rows.jsonl")
    assert [(row["text"], row["label"]) for row in rows] == [("hé", "1"), ("", None), ("x", "0")]


def test_parquet(read: Read, tmp_path: Path) -> None:
    at = pa.array([datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    parquet.write_table(pa.table({"body": ["x"], "y": [True], "when": at}), tmp_path / "rows.parquet")
    (row,) = read(name="rows.parquet", text="body", label="y", observed_at="when")
    assert (row["text"], row["label"]) == ("x", "True")
    assert row["observed_at"] == datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def test_a_byte_order_mark_is_no_part_of_the_first_column(read: Read) -> None:
    assert read(b"\xef\xbb\xbftext,label\r\nhello,a\r\n")[0]["text"] == "hello"
    assert read(b'\xef\xbb\xbf{"text": "hello", "label": "a"}', "r.jsonl")[0]["text"] == "hello"


def test_broken_utf8_becomes_the_replacement_character(read: Read) -> None:
    assert read(b"text,label\ncaf\xe9,a\n")[0]["text"] == "caf\ufffd"
    assert read(b'{"text": "caf\xe9", "label": "a"}', "r.jsonl")[0]["text"] == "caf\ufffd"


def test_quoted_newlines_commas_and_quotes(read: Read) -> None:
    rows = read('text,label\n"one\ntwo, ""three""",a\nfour,b\n')
    assert [row["text"] for row in rows] == ['one\ntwo, "three"', "four"]


def test_words_that_look_like_nothing_are_words(read: Read) -> None:
    rows = read("text,label\nNA,null\nnan,NaN\n1e3,007\n,\n")
    assert [(row["text"], row["label"]) for row in rows] == [("NA", "null"), ("nan", "NaN"), ("1e3", "007"), ("", None)]


def test_a_text_may_be_longer_than_a_block(read: Read) -> None:
    rows = read("text,label\n" + "short,a\n" * 1000 + "x" * 2_500_000 + ",b\n")
    assert len(rows) == 1001
    assert len(rows[-1]["text"]) == 2_500_000


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1), max_size=5))
def test_any_text_comes_back_as_it_was_written(texts: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in [*texts, "end"]), encoding="utf-8")
        read = files.Files(path=str(path)).batches(path, None)
        assert [text for batch in read for text in batch.columns["text"]] == [*texts, "end"]


def test_ids_make_row_ids_and_texts_do_where_there_are_none(read: Read) -> None:
    first, second = read("id,text,label\n7,same,a\n8,Same ,a\n", id="id")
    assert [first["row_id"], second["row_id"]] == [snapshot.row_id("files:rows", key) for key in ("7", "8")]
    first, second = read("id,text,label\n7,same,a\n8,Same ,a\n")
    assert first["row_id"] == second["row_id"]
    assert read("id,text,label\n7,changed,a\n", id="id")[0]["row_id"] == snapshot.row_id("files:rows", "7")


def test_groups_are_those_of_their_file(read: Read) -> None:
    rows = read("who,text,label\nann,x,a\n,y,a\n", group="who")
    assert [row["group"] for row in rows] == ["ann", None]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02T03:04:05.678901Z", datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)),
        ("", None),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_times_are_iso_8601(read: Read, suffix: str, written: str, expected: datetime | None) -> None:
    line = json.dumps({"at": written or None, "text": "x", "label": "a"})
    content = line if suffix == "jsonl" else f"at,text,label\n{written},x,a\n"
    assert read(content, f"rows.{suffix}", observed_at="at")[0]["observed_at"] == expected


@pytest.mark.parametrize("value", ["yesterday", "12.5", "2026-13-01"])
def test_what_is_no_time_is_refused(read: Read, value: str) -> None:
    with pytest.raises(DataRejectedError, match=r"column 'at' holds something that is no ISO 8601 time"):
        read(f"at,text,label\n{value},x,a\n", observed_at="at")


def test_a_pattern_reads_files_in_order_and_max_rows_takes_the_lowest_row_ids(read: Read, tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{name}1,x\n{name}2,x\n")
    (tmp_path / "sub.csv").mkdir()
    assert [row["text"] for row in read(path="*.csv")] == ["a1", "a2", "b1", "b2", "c1", "c2"]
    by_id = sorted(read(path="*.csv"), key=lambda row: row["row_id"])
    assert read(path="*.csv", max_rows=3) == by_id[:3]
    assert read(path="*.csv", max_rows=4) == by_id[:4]
    assert {row["source"] for row in read(path=str(tmp_path / "[b].csv"), max_rows=1)} == {"files:b"}


def test_no_match_says_where_it_looked(read: Read, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no file matches 'data/\*\.csv' in ") as error:
        read(path="data/*.csv")
    assert str(tmp_path) in str(error.value)


def test_a_header_alone_has_no_rows(read: Read) -> None:
    assert read("text,label\n") == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", "body,label\nx,a\n", "has no column 'text'; it has body, label"),
        ("rows.csv", "text;label\nx;a\n", "has no column 'text', 'label'; it has text;label"),
        ("rows.csv", "text,text,label\nx,y,a\n", "more than one column 'text'"),
        ("rows.csv", "\n \n", "is empty"),
        ("rows.csv", b"\xef\xbb\xbf", "is empty"),
        ("rows.parquet", "not parquet", "cannot be read"),
        ("rows.xlsx", "x", "cannot read '.xlsx' files\n  hint: known: .csv, .tsv, .jsonl, .ndjson, .parquet, .txt"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(read: Read, name: str, content: bytes | str, message: str) -> None:
    with pytest.raises(DataRejectedError, match=message) as error:
        read(content, name)
    assert name in str(error.value)


def test_an_empty_file_is_refused(read: Read, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").touch()
    with pytest.raises(DataRejectedError, match="is empty"):
        read()


def test_a_path_may_name_days(tmp_path: Path, context: Callable[..., Any]) -> None:
    for day in ("2026-01-01", "2026-01-02", "2026-01-03", "2026-02-01"):
        (tmp_path / day[:7]).mkdir(exist_ok=True)
        (tmp_path / day[:7] / f"{day}-a.csv").write_text(f"text,label,at\non {day},positive,{day}T12:00:00\n")
    source = {"kind": "files", "path": "{day:%Y-%m}/{day:%Y-%m-%d}-*.csv", "observed_at": "at"}

    def texts(**asked: str) -> list[str]:
        here = context(source, **asked)
        return [text for table in here.recipe.sources[0].read(here) for text in table["text"].to_pylist()]

    assert len(texts()) == 4
    assert texts(since="2026-01-02", until="2026-01-03") == ["on 2026-01-02"]
    assert texts(since="2026-01-03T06:00", until="2026-02-01T06:00") == ["on 2026-01-03", "on 2026-02-01"]
    with pytest.raises(NotFoundError, match="no file matches '2026-03/2026-03-01"):
        texts(since="2026-03-01", until="2026-03-02")
