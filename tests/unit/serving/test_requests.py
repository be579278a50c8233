"""Files to score and files of labels, as other systems write them: read as the recipe's sources read theirs."""

from __future__ import annotations

import gzip
import io
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from ftcore.errors import DataRejectedError
from ftcore.recipe.model import Recipe
from ftcore.recipe.reading import parse
from ftcore.serving import requests
from ftcore.serving.requests import Handed
from tests.unit.conftest import RECIPE

PLAIN: dict[str, Any] = {"kind": "files", "path": "train.csv"}
MAPPED: dict[str, Any] = {"kind": "files", "path": "t.csv", "name": "mails", "text": "message", "group": "customer"}


def recipe(*sources: dict[str, Any], **changed: Any) -> Recipe:
    return parse(RECIPE | {"sources": [*(sources or [PLAIN]), {"kind": "feedback"}]} | changed)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def texts(path: Path, *sources: dict[str, Any], handed: Handed | None = None) -> list[str]:
    return [row["text"] for row in requests.read(path, recipe(*sources), handed)]


def as_parquet() -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"request_id": [1, 2], "text": ["a; b", "c"], "tags": [[1], []]}), sink)
    return sink.getvalue()


LINES = [{"request_id": 1, "text": "a; b", "tags": ["x"], "meta": {"n": 0}}, {"request_id": 2, "text": "c", "tags": []}]
FILES: dict[str, str | bytes] = {
    "a.csv": "request_id,text,tags\n1,a; b,[]\n2,c,\n",
    "excel.csv": '\ufeffrequest_id;text\r\n1;"a; b"\r\n2;c\r\n',
    "note.csv": 'sep=;\r\nrequest_id;text\r\n1;"a; b"\r\n2;c\r\n',
    "tabs.csv": "request_id\ttext\n1\ta; b\n2\tc\n",
    "pipes.csv": "request_id|text\n1|a; b\n2|c\n",
    "a.tsv": "request_id\ttext\n1\ta; b\n2\tc\n",
    "utf16.csv": "request_id,text\n1,a; b\n2,c\n".encode("utf-16"),
    "a.jsonl": "\n".join(map(json.dumps, LINES)),
    "a.json": json.dumps(LINES, indent=1),
    "a.csv.gz": gzip.compress(b"request_id,text\n1,a; b\n2,c\n"),
    "a.parquet": as_parquet(),
}


@pytest.mark.parametrize("name", FILES)
def test_columns_that_nobody_asked_for_and_delimiters_do_no_harm(tmp_path: Path, name: str) -> None:
    rows = requests.read(write(tmp_path / name, FILES[name]), recipe())
    assert [(row["request_id"], row["text"], row["context"], row["group"]) for row in rows] == [
        ("1", "a; b", None, None),
        ("2", "c", None, None),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text,note,text\nx,y,z\n", "more than one column 'text'"),
        ("body;note\nx;y\n", r"has no column text; it has body;note(.|\n)*--delimiter names another"),
        ("request_id,text\n2\n3,b,c\n", r"2 of 2 rows cannot be read(.|\n)*line 2: (.|\n)*line 3: \[3 cells"),
        ("request_id,text\n", "has no row"),
        ("text,request_id\na,1\nb,1\n", r"uses a request_id twice\n  - request_id 1\n  hint: .*--new-ids"),
    ],
)
def test_what_is_ambiguous_or_broken_is_refused(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(DataRejectedError, match=said):
        texts(write(tmp_path / "r.csv", content))
    with pytest.raises(DataRejectedError, match="save a spreadsheet as CSV"):
        texts(write(tmp_path / "r.xlsx", b"PK"))


def test_the_recipes_mapping_holds(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "id;customer;message\n1;ann;hello\n2;;bye\n")
    rows = requests.read(path, recipe(MAPPED))
    assert [(row["text"], row["group"]) for row in rows] == [("hello", "ann"), ("bye", None)]
    both = write(tmp_path / "both.csv", "text,message,customer,context\nT,M,ann,C\n")
    (row,) = requests.read(both, recipe(MAPPED))
    assert (row["text"], row["context"], row["group"]) == ("M", "C", "ann"), "the recipe decides, and names no context"
    assert texts(write(tmp_path / "log.csv", "text\nT\n"), MAPPED) == ["T"], "the log's own names are read, too"
    template = MAPPED | {"text": "{{ t.subject }}: {{ t.body }}", "group": "{{ t.who }}", "where": "t.lang == 'en'"}
    lines = [{"t": {"subject": "S", "body": "B", "who": "w"}}, {"t": {"subject": "S2", "body": "B2", "who": None}}]
    path = write(tmp_path / "r.jsonl", "\n".join(map(json.dumps, lines)))
    assert texts(path, template) == ["S: B", "S2: B2"], "`where` is about training"
    write(path, "\n".join(map(json.dumps, [*lines, {"t": {"subject": "S3"}}])))
    assert texts(path, template)[2].startswith("\ufffd [line 3: text: t.body is missing"), "refused when it is cleaned"


def test_a_file_that_fits_two_mappings_needs_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "text,message\nT,M\n")
    with pytest.raises(
        DataRejectedError, match=r"columns of several sources(.|\n)*files:mails: text: message(.|\n)*--source"
    ):
        texts(path, PLAIN, MAPPED)
    assert texts(path, PLAIN, MAPPED, handed=Handed(source="files:mails")) == ["M"]
    assert texts(path, PLAIN, MAPPED, handed=Handed(source="files:train")) == ["T"]
    with pytest.raises(DataRejectedError, match=r"no source 'other'(.|\n)*files:train, files:mails"):
        texts(path, PLAIN, MAPPED, handed=Handed(source="other"))
    with pytest.raises(DataRejectedError, match="has no column message"):
        texts(write(path, "text\nT\n"), PLAIN, MAPPED, handed=Handed(source="files:mails"))


def test_what_a_person_says_about_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "r.csv", "request_id:text\n1:caf\xe9\n".encode("cp1252"))
    assert texts(path, handed=Handed(delimiter=":", encoding="cp1252")) == ["café"]
    caplog.set_level(logging.WARNING, "ftcore")
    assert texts(path, handed=Handed(delimiter=":")) == ["caf\ufffd"]
    assert "1 rows hold bytes that are no UTF-8; --encoding names another" in caplog.text
    twice = write(tmp_path / "twice.csv", "request_id,text\n1,a\n1,b\n")
    made = [row["request_id"] for row in requests.read(twice, recipe(), Handed(new_ids=True))]
    assert len({*made, "1"}) == 3


def test_a_line_that_cannot_be_read_costs_one_request_and_a_label_that_cannot_the_file(tmp_path: Path) -> None:
    rows = requests.read(write(tmp_path / "r.csv", "request_id,text\n1,a\n2\n3,b,c\n4,d\n"), recipe())
    assert [row["text"].split("]")[0] for row in rows] == [
        "a",
        "\ufffd [line 3: 1 cells instead of 2",
        "\ufffd [line 4: 3 cells instead of 2",
        "d",
    ]
    assert len({row["request_id"] for row in rows}) == 4
    with pytest.raises(DataRejectedError, match=r"1 of 2 rows cannot be read\n  - line 3"):
        requests.labels(write(tmp_path / "l.csv", "request_id,label\n1,positive\n2\n"), recipe())


def test_labels_are_read_by_the_same_rules(tmp_path: Path) -> None:
    def read(name: str, content: str, *sources: dict[str, Any]) -> list[tuple[str | None, str | None]]:
        rows = requests.labels(write(tmp_path / name, content), recipe(*sources))
        return [(row["request_id"], row["label"]) for row in rows]

    expected = [("q0", "positive"), ("q1", "negative")]
    assert read("l.csv", "\ufeffrequest_id;label\nq0;positive\nq1;negative\n") == expected
    lines = [{"request_id": r, "label": label, "why": ["x"]} for r, label in expected]
    assert read("l.jsonl", "\n".join(map(json.dumps, lines))) == expected
    stars = PLAIN | {"label": "stars", "label_map": {5: "positive", 1: "negative"}}
    assert read("s.csv", "request_id,stars,text\nq0,5,x\nq1,1,y\n", stars) == expected
    assert read("s.csv", "request_id,label\nq0,5\nq1,negative\n", stars) == expected
    hot = PLAIN | {"label_columns": ["positive", "negative"]}
    assert read("h.csv", "request_id,positive,negative\nq0,1,0\nq1,0,1\n", hot) == expected
    with pytest.raises(DataRejectedError, match=r"has no column request_id, label; it has text"):
        read("l.csv", "text\nx\n")


def test_a_column_of_the_file_wins_over_the_place_where_the_file_lies(tmp_path: Path) -> None:
    """``label: folder`` says how documents were sorted; a file of labels lies anywhere."""
    documents = {"kind": "files", "path": "docs/*/*.txt", "format": "document", "label": "folder"}
    klasse = {"kind": "files", "path": "k.csv", "label": "klasse", "context": "folder"}
    expected = [("q0", "positive"), ("q1", "negative")]

    def read(header: str, *sources: dict[str, Any], handed: Handed | None = None) -> list[Any]:
        path = write(tmp_path / "l.csv", f"{header}\nq0,positive\nq1,negative\n")
        return [(row["request_id"], row["label"]) for row in requests.labels(path, recipe(*sources), handed)]

    assert read("request_id,label", documents) == expected
    assert read("request_id,label", documents, handed=Handed(source="files:docs")) == expected
    assert read("request_id,label", documents, klasse) == expected
    assert read("request_id,klasse", documents, klasse) == expected
    assert read("request_id,folder", documents) == expected, "a column of that name is one"
    assert read("request_id,note", documents) == [(f"q{n}", tmp_path.name) for n in range(2)], "there is no other"
    path = write(tmp_path / "r.csv", "text,context\nT,C\n")
    (row,) = requests.read(path, recipe(klasse))
    assert (row["text"], row["context"]) == ("T", "C")
    (row,) = requests.read(write(path, "text\nT\n"), recipe(klasse))
    assert row["context"] == tmp_path.name
