"""Files of every format, packed or not, broken in every way the issue names."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftcore.data.sources import _formats, files
from ftcore.errors import DataRejectedError, NotFoundError

Rows = Callable[..., list[dict[str, Any]]]
RECORDS = [
    {"text": "a good film", "label": "positive", "key": "k1", "at": "2026-01-02T03:04:05.678999"},
    {"text": 'two\nlines, a "quote" and ünï 🎬', "label": "negative", "key": "k2", "at": "2026-01-02T03:04:05+02:00"},
    {"text": "no label", "label": None, "key": "k3", "at": None},
]


def as_csv(delimiter: str = ",") -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(RECORDS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(RECORDS)
    return out.getvalue().encode()


def as_jsonl() -> bytes:
    return "\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS).encode()


def as_parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(RECORDS), sink)
    return sink.getvalue()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", as_csv()),
        ("a.csv.gz", gzip.compress(as_csv())),
        ("a.csv.zst", zstd(as_csv())),
        ("a.csv.bz2", bz2.compress(as_csv())),
        ("a.csv.xz", lzma.compress(as_csv())),
        ("a.csv", bz2.compress(as_csv())),
        ("a.csv", zstd(as_csv())),
        ("a.jsonl", as_jsonl()),
        ("a.ndjson.gz", gzip.compress(as_jsonl())),
        ("a.jsonl", gzip.compress(as_jsonl()[:40]) + gzip.compress(as_jsonl()[40:])),
        ("a.parquet", as_parquet()),
        ("a.csv", b"\xef\xbb\xbf" + as_csv()),
        ("a.csv", as_csv().decode().encode("utf-16")),
        ("a.jsonl", b"\xfe\xff" + as_jsonl().decode().encode("utf-16-be")),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, rows: Rows, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    got = rows(kind="files", path=name, id="key", group="key", observed_at="at")
    assert [row["text"] for row in got] == [record["text"] for record in RECORDS]
    assert [row["label"] for row in got] == ["positive", "negative", None]
    assert [row["observed_at"] for row in got] == [
        datetime(2026, 1, 2, 3, 4, 5, 678000, UTC),
        datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC),
        None,
    ]
    assert [row["group"] for row in got] == ["k1", "k2", "k3"]
    assert len({row["row_id"] for row in got}) == 3
    assert {row["source"] for row in got} == {"files:a"}


def test_plain_lines_and_tsv(tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "lines.txt").write_bytes(b"one\r\n\r\ntwo\nthree")
    assert [(r["text"], r["label"]) for r in rows(kind="files", path="lines.txt")] == [
        ("one", None),
        ("two", None),
        ("three", None),
    ]
    (tmp_path / "a.tsv").write_text('text\tlabel\n"so he said\tpositive\n', encoding="utf-8")
    assert [(r["text"], r["label"]) for r in rows(kind="files", path="a.tsv")] == [('"so he said', "positive")]


def test_a_pattern_reads_all_files_in_order(tmp_path: Path, rows: Rows) -> None:
    for name in ("b/2.txt", "a/1.txt", "a/3.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [row["text"] for row in rows(kind="files", path="**/*.txt")] == ["a/1.txt", "a/3.txt", "b/2.txt"]
    with pytest.raises(NotFoundError, match="no file matches"):
        rows(kind="files", path="*.nothing")


def test_broken_bytes_and_nul_become_replacement_characters(tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,label\ncaf\xe9,x\nnul\x00here,y\nfine,z\n")
    assert [row["text"] for row in rows(kind="files", path="a.csv")] == ["caf\ufffd", "nul\ufffdhere", "fine"]
    assert rows(kind="files", path="a.csv", encoding="cp1252")[0]["text"] == "café"
    (tmp_path / "a.jsonl").write_text('{"text": "half \\ud800 pair", "label": "x"}\n', encoding="utf-8")
    assert [row["text"] for row in rows(kind="files", path="a.jsonl")] == ["half \ufffd pair"]


def test_a_row_that_cannot_be_read_is_quarantinable_and_harms_no_other(tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "a.csv").write_text('text,label\ngood,x\none,two,three\nshort\n"a"b,x\nlast,y\n', encoding="utf-8")
    got = [row["text"] for row in rows(kind="files", path="a.csv")]
    assert (got[0], got[-1]) == ("good", "last")
    assert got[1].startswith("\ufffd [3 cells instead of 2] one,two,three")
    assert got[2].startswith("\ufffd [1 cells instead of 2] short")
    assert got[3].startswith("\ufffd [")
    (tmp_path / "a.jsonl").write_text(
        '{"text": "good", "label": "x"}\n{"text": \n[1, 2]\n' + "[" * 5000 + '\n{"text": "last"}\n', encoding="utf-8"
    )
    got = [row["text"] for row in rows(kind="files", path="a.jsonl")]
    assert (got[0], got[-1]) == ("good", "last")
    assert all(text.startswith("\ufffd [no JSON object] ") and len(text) < 300 for text in got[1:-1])


def test_a_type_that_changes_in_the_middle(tmp_path: Path, rows: Rows) -> None:
    lines = [{"text": 7, "label": 1}, {"text": "seven", "label": "1"}, {"text": [7], "label": True}, {"text": None}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    got = rows(kind="files", path="a.jsonl", label_map={1: "positive"})
    assert [row["text"] for row in got] == ["7", "seven", "\ufffd [text is a list] [7]", ""]
    assert [row["label"] for row in got] == ["positive", "positive", None, None]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt"])
def test_a_line_of_a_hundred_megabytes_needs_little_memory(tmp_path: Path, rows: Rows, name: str) -> None:
    start = {"a.csv": "text,label\n", "a.jsonl": "", "a.txt": ""}[name]
    row = {"a.csv": "{},x\n", "a.jsonl": '{{"text": "{}", "label": "x"}}\n', "a.txt": "{}\n"}[name]
    with (tmp_path / name).open("w") as file:
        file.write(start + row.format("before") + row.format("first").rstrip("\n")[:-1])
        for _ in range(100):
            file.write("x" * 1_000_000)
        file.write("\n" + row.format("after"))
    tracemalloc.start()
    got = [text["text"] for text in rows(kind="files", path=name)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (got[0], got[-1], len(got)) == ("before", "after", 3)
    assert got[1].startswith(f"\ufffd [longer than {_formats.LONGEST_ROW:,} characters] ")
    assert peak < 80_000_000


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"", r"a\.csv is empty"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), r"a\.jsonl\.gz is empty"),
        ("a.csv", b"words,label\nx,y\n", r"a\.csv has no column 'text'; it has words, label"),
        ("a.csv", b"text,label,text\nx,y,z\n", r"more than one column 'text'"),
        ("a.jsonl", b'{"words": "x", "label": "y"}\n', r"has no column 'text'; it has label, words"),
        ("a.parquet", as_parquet()[:-30], r"a\.parquet cannot be read"),
        ("a.csv", b'text,label\nx,y\n"open,y\nx,y\nx,y\n', r"a\.csv, line 3: a quote is opened"),
        (
            "a.csv.gz",
            gzip.compress(as_csv() * 3000)[:-20],
            r"a\.csv\.gz, after line \d+: the compressed data is broken",
        ),
        ("a.csv.zst", zstd(as_csv() * 3000)[:-20], r"a\.csv\.zst, after line \d+: the compressed data is broken"),
        ("a.csv.bz2", bz2.compress(as_csv() * 3000)[:-20], r"a\.csv\.bz2.*: the compressed data is broken"),
        ("a.csv.xz", lzma.compress(as_csv() * 3000)[:-20], r"a\.csv\.xz.*: the compressed data is broken"),
        ("a.csv", b"Text, LABEL\nx,y\n", r"letters count as they are written: 'Text', 'LABEL'"),
        ("a.csv", b"# by X\n# on Monday\ntext,label\nx,y\n", r"say `skip_rows: 2`: the header is in line 3"),
        (
            "a.jsonl",
            b'{"data": [{"text": "x"}], "n": 1}\n',
            r"1 objects stand under 'data': write that array into a file",
        ),
        ("a.docx", b"PK", r"cannot read '\.docx' files"),
    ],
)
def test_what_makes_a_file_doubtful_is_an_error_that_says_where(
    tmp_path: Path, rows: Rows, name: str, data: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataRejectedError, match=said):
        rows(kind="files", path=name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize("between", ["", " ", "\n"])
def test_objects_behind_each_other_in_a_line_are_rows(tmp_path: Path, rows: Rows, name: str, between: str) -> None:
    lines = [between.join(json.dumps({"text": f"{line}{n} }}{{", "label": "x"}) for n in range(3)) for line in "ab"]
    (tmp_path / name).write_text("\n".join([*lines, '{"text": "c", "label": "x"} 7', '{"text": "d"}{"text"']))
    got = [row["text"] for row in rows(kind="files", path=name)]
    assert got[:6] == [f"{line}{n} }}{{" for line in "ab" for n in range(3)]
    assert got[6:] == [
        f"\ufffd [no JSON object] {end}" for end in ('{"text": "c", "label": "x"} 7', '{"text": "d"}{"text"')
    ]


def test_lines_that_begin_like_a_table_are_warned_of(
    tmp_path: Path, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    for name, text, form in (("a.txt", "text\tlabel\nx\ty\n", "tsv"), ("b.txt", "id;Text;Label\n1;x;y\n", "csv")):
        (tmp_path / name).write_text(text)
        assert len(rows(kind="files", path=name)) == 2
        assert f"{name} begins like a table, and each line is read as a text: say `format: {form}`" in caplog.text
    caplog.clear()
    (tmp_path / "c.txt").write_text("the text of a label\ntext\tlabel\n")
    assert len(rows(kind="files", path="c.txt")) == 2
    assert not caplog.records


def test_a_time_that_is_none_costs_its_row(tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "a.csv").write_text("text,label,at\nx,y,2026-01-01\nx,y,yesterday\nz,y,\n", encoding="utf-8")
    got = rows(kind="files", path="a.csv", observed_at="at")
    assert [row["text"].split("]")[0] for row in got] == [
        "x",
        "\ufffd [observed_at: column 'at' holds something that is no ISO 8601 time: 'yesterday'",
        "z",
    ]
    assert [row["origin"].rsplit("/", 1)[-1] for row in got] == [f"a.csv, line {n}" for n in (2, 3, 4)]


def test_a_column_of_times_that_holds_none_is_a_fault_of_the_recipe(tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "a.csv").write_text("text,label,at\nx,y,monday\nx,y,yesterday\n", encoding="utf-8")
    with pytest.raises(
        DataRejectedError, match=r"a\.csv, line 2: column 'at'.*'monday'; .*fails in every row \(2 rows"
    ):
        rows(kind="files", path="a.csv", observed_at="at")


@pytest.mark.parametrize(
    ("text", "config", "expected"),
    [
        ("made by X\n\ntext,label\na,b\n", {"skip_rows": 2}, [("a", "b", 4)]),
        ("1,a,b\n2,c,d\n", {"header": ["n", "text", "label"]}, [("a", "b", 1), ("c", "d", 2)]),
        ("Text (de),Label\na,b\n", {"skip_rows": 1, "header": ["text", "label"]}, [("a", "b", 2)]),
        ("sep=;\ntext;label\na,1;b\n", {}, [("a,1", "b", 3)]),
        ("text,label\n'a, b',c\n", {"quote": "'"}, [("a, b", "c", 2)]),
        ('text|label\n"a|c\n', {"quote": "", "delimiter": "|"}, [('"a', "c", 2)]),
        ('text\tlabel\n"a\tb"\tc\n', {"quote": '"', "delimiter": "\t"}, [("a\tb", "c", 2)]),
    ],
)
def test_csv_as_other_programs_write_it(
    tmp_path: Path, rows: Rows, text: str, config: dict[str, Any], expected: list[tuple[str, str, int]]
) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    got = rows(kind="files", path="a.csv", **config)
    assert [(r["text"], r["label"], int(r["origin"].rsplit(" ", 1)[1])) for r in got] == expected


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_read_an_element_at_a_time(tmp_path: Path, rows: Rows, indent: int | None) -> None:
    records = [{"instruction": f"Say {n}", "input": "" if n % 2 else f"in {n}", "output": "é" * n} for n in range(400)]
    records[7]["output"] = "long " * 40_000
    (tmp_path / "alpaca.json").write_text(json.dumps(records, indent=indent, ensure_ascii=False), encoding="utf-8")
    got = rows(
        kind="files", path="alpaca.json", label="output",
        text="{{ instruction }}{% if input %}\n\n{{ input }}{% endif %}",
    )  # fmt: skip
    assert len(got) == 400
    assert [got[n]["text"] for n in (0, 1)] == ["Say 0\n\nin 0", "Say 1"]
    assert (got[7]["label"], got[8]["label"]) == ("long " * 40_000, "é" * 8)
    assert got[399]["origin"].endswith("alpaca.json, item 400")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", []),
        (' [ {"text": "a", "label": "x"} , 7, {"text": "b"} ] ', ["a", "\ufffd [no JSON object] 7", "b"]),
        ('{"text": "a", "label": "x"}\n{"text": "b"}\n', ["a", "b"]),
    ],
)
def test_what_a_json_file_may_hold(tmp_path: Path, rows: Rows, text: str, expected: list[str]) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert [row["text"] for row in rows(kind="files", path="a.json")] == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"text": "a", "label": "x"}]\n[{"text": "b", "label": "x"}]', r"a\.json, line 2: more stands behind"),
        ('[{"text": "a", "label": "x"}]\n\n{"text": "b"}', r"a\.json, line 3: more stands behind"),
        ('[{"text": "a", "label": "x"},\n{"text": "b"', r"a\.json, item 2 \(line 2\): breaks off or is no JSON"),
        ('[{"text": "a", "label": "x"}', r"item 2 .*breaks off"),
        ('{\n  "text": "a"\n}', "holds one JSON object over several lines, not rows"),
        ('[{"words": "a"}]', "has no column 'text', 'label'; it has words"),
    ],
)
def test_a_json_file_that_cannot_be_read_says_where(tmp_path: Path, rows: Rows, text: str, said: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataRejectedError, match=said):
        rows(kind="files", path="a.json")


def test_a_file_without_rows_among_several_is_a_warning(
    tmp_path: Path, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    for name, text in {"a.csv": "text,label\nx,y\n", "b.csv": "", "c.csv": "text,label\n"}.items():
        (tmp_path / name).write_text(text)
    assert [row["text"] for row in rows(kind="files", path="*.csv")] == ["x"]
    warned = [message.rpartition("/")[2] for message in caplog.messages if "nothing to read" in message]
    assert [message.split(":")[0] for message in warned] == ["b.csv is empty", "c.csv has no row"]
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(DataRejectedError, match="is empty"):
        rows(kind="files", path="*.csv")


def test_memory_does_not_grow_with_the_file(tmp_path: Path, rows: Rows, context: Callable[..., Any]) -> None:
    peaks = []
    for count in (30_000, 120_000):
        with (tmp_path / "a.csv").open("w", encoding="utf-8") as file:
            file.write("text,label\n")
            file.writelines(f"sentence number {n} of a file that goes on,positive\n" for n in range(count))
        here = context({"kind": "files", "path": "a.csv"})
        tracemalloc.start()
        assert sum(table.num_rows for table in here.recipe.sources[0].read(here)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.1


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r\n"), max_size=30)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXT.filter(lambda t: t.strip()), min_size=1, max_size=20), packed=st.booleans())
def test_any_text_comes_back_from_csv_and_jsonl(tmp_path: Path, rows: Rows, texts: list[str], packed: bool) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([["text", "label"], *([text, "x"] for text in texts)])
    data = {"a.csv": out.getvalue(), "b.jsonl": "\n".join(json.dumps({"text": t, "label": "x"}) for t in texts)}
    for name, content in data.items():
        (tmp_path / name).write_bytes(gzip.compress(content.encode()) if packed else content.encode())
        assert [row["text"] for row in rows(kind="files", path=name)] == texts


@pytest.mark.parametrize(
    ("delimiter", "config", "said"),
    [
        (";", {}, 'delimiter: ";"'),
        ("\t", {}, r'delimiter: "\t"'),
        ("|", {}, 'delimiter: "|"'),
        (",", {"delimiter": ";"}, 'delimiter: ","'),
        (",", {}, "name the columns in the recipe"),
    ],
)
def test_a_delimiter_that_would_make_the_header_fit_is_named(
    tmp_path: Path, delimiter: str, config: dict[str, Any], said: str
) -> None:
    wanted = ["Text", "Klasse"] if said.startswith("delimiter") else ["Text", "label"]
    path = tmp_path / "a.csv"
    path.write_text(delimiter.join(["Nr", '"Bewertung, in Sternen"', '"Text"', "Klasse"]) + "\n", encoding="utf-8")
    with pytest.raises(DataRejectedError, match="has no column") as caught:
        list(files.Files(path=str(path), **config).batches(path, wanted))
    assert said in str(caught.value)
