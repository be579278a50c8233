"""Batch scoring by a real champion: each request once in the log, in the file's order, and labels that come back."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from ftcore import cli
from ftcore.data import split
from ftcore.data.sources.feedback import Feedback
from ftcore.errors import DataRejectedError, ExportError, FtcoreError
from ftcore.export.exporters import onnx
from ftcore.models import base, loading
from ftcore.serving import model as models
from ftcore.serving import scoring
from ftcore.store import store
from ftcore.tasks.multitask import Multitask
from tests.models import small

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Product

TEXTS = ["the film is bad", "good", "a great story, and a bright end to it number 7", "awful", "dull 1 2 3 4 5"]


@pytest.fixture
def served(product: Product, tiny: Path) -> Product:
    """A product whose champion is the tiny model."""
    product.crown("first", folders=[tiny / name for name in ("model", "onnx-int8", "onnx-fp32")])
    return product


def score(product: Product, path: Path) -> pa.Table:
    return scoring.score(product.recipe, product.shelf, product.settings, path)


def feedback(product: Product, path: Path) -> dict[str, int]:
    return scoring.feedback(product.recipe, product.shelf, path)


def requests(folder: Path, rows: list[dict[str, Any]], name: str = "requests.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def logged(product: Product, log: str = "predictions") -> list[dict[str, Any]]:
    found = product.shelf.read_log(log)
    return [] if found is None else found.to_pylist()


def test_scores_are_in_the_files_order_and_in_the_log(served: Product, tmp_path: Path) -> None:
    rows = [{"request_id": f"q{n}", "text": text, "group": "ann"} for n, text in enumerate(TEXTS * 20)]
    for number, row in enumerate(rows):
        row["request_id"] = f"q{number}"
    table = score(served, requests(tmp_path, rows))
    assert table.column_names == [*scoring.LOG, scoring.REFUSAL]
    assert table["request_id"].to_pylist() == [row["request_id"] for row in rows]
    assert table["text"].to_pylist() == [row["text"] for row in rows]
    assert logged(served) == table.drop_columns([scoring.REFUSAL]).to_pylist()
    version = served.tracking.version(1)
    model = models.load(served.recipe, served.tracking, version, "onnx-int8")
    alone = np.concatenate([model.outputs([text]) for text in TEXTS])
    assert table["label"].to_pylist()[:5] == [model.labels[best] for best in alone.argmax(-1)]
    assert table["score"].to_pylist()[:5] == pytest.approx(list(alone.max(-1)), abs=0.05)
    assert set(table["model_version"].to_pylist()) == {1}
    assert set(table["group"].to_pylist()) == {"ann"}


def test_scoring_the_same_file_again_adds_nothing(served: Product, tmp_path: Path) -> None:
    path = requests(tmp_path, [{"text": text} for text in TEXTS])
    first, again = score(served, path), score(served, path)
    assert first.equals(again)
    assert "scored_before" not in scoring.summary(first)
    assert scoring.summary(again)["scored_before"] == first.num_rows
    assert len(logged(served)) == len(TEXTS)
    assert len(set(first["request_id"].to_pylist())) == len(TEXTS)


@pytest.mark.parametrize("column", ["label", "score", None])
def test_a_log_that_somebody_changed_is_not_what_the_champion_answers(
    served: Product, tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str | None
) -> None:
    path = requests(tmp_path, [{"text": text} for text in TEXTS])
    first = score(served, path)
    [file] = served.shelf.log_files("predictions")
    table = store.read_table(file)
    if column is None:
        table = table.slice(1)
    else:
        other = {"negative": "positive", "positive": "negative"}
        wrong = [other[row] if column == "label" else 0.123 for row in table["label"].to_pylist()]
        place = table.column_names.index(column)
        table = table.set_column(place, table.schema.field(column), pa.array(wrong, table.schema.field(column).type))
    store.write_table(file, table)
    again = score(served, path)
    for name in ("request_id", "text", "label", "model_version"):
        assert again[name].equals(first[name])
    assert again["score"].to_pylist() == pytest.approx(first["score"].to_pylist(), abs=1e-6)
    assert ("holds other predictions than the model makes now" in caplog.text) == (column is not None)


def test_the_command_says_how_many_rows_were_scored_before(
    served: Product, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"request_id": f"q{number}", "text": text} for number, text in enumerate(TEXTS)]
    for some, before in ((rows[:2], ""), (rows, "2 of 5 were scored before"), (rows, "5 of 5 were scored before")):
        cli.score(str(served.path), requests(tmp_path, some))
        text = capsys.readouterr().out
        assert before in text
        assert bool(before) == ("scored before" in text)
    cli.score(str(served.path), requests(tmp_path, rows), as_json=True)
    assert json.loads(capsys.readouterr().out)["scored_before"] == 5


def test_the_log_holds_only_cleaned_text_and_pseudonyms_and_the_raw_rows_split_key(
    served: Product, tmp_path: Path
) -> None:
    raw = {"text": "A  great story, write to ann@example.org", "group": "ann@example.org", "context": "bob@example.org"}
    table = score(served, requests(tmp_path, [raw]))
    (row,) = logged(served)
    assert row["text"] == "A great story, write to [EMAIL_ADDRESS]"
    assert row["context"] == "[EMAIL_ADDRESS]"
    assert row["group"] == split.load(served.shelf).pseudonym("ann@example.org")
    assert [row["split_key"]] == split.load(served.shelf).of(["ann@example.org"], [raw["text"]])
    assert "example.org" not in json.dumps(table.to_pylist(), default=str)


def test_what_the_model_was_trained_with_decides_what_is_masked(served: Product, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny / "onnx-int8", tmp_path / "onnx-int8")
    card = store.read_json(tmp_path / "onnx-int8" / "ftcore.json") | {
        "personal_data": {"entities": {"EMAIL_ADDRESS": "keep", "IP_ADDRESS": "drop_row"}}
    }
    store.write_json(tmp_path / "onnx-int8" / "ftcore.json", card)
    served.crown("second", folders=[tmp_path / "onnx-int8"])
    table = score(served, requests(tmp_path, [{"text": "ann@example.org is good"}, {"text": "good: 192.168.7.14"}]))
    assert table["text"].to_pylist() == ["ann@example.org is good", "good: [IP_ADDRESS]"]
    assert None not in table["label"].to_pylist()  # answered
    assert [row["text"] for row in logged(served)] == ["ann@example.org is good"]  # and not kept, as in training


def test_a_new_champion_answers_anew(served: Product, tiny: Path, tmp_path: Path) -> None:
    path = requests(tmp_path, [{"text": "good"}])
    score(served, path)
    served.crown("second", folders=[tiny / "onnx-int8"])
    assert score(served, path)["model_version"].to_pylist() == [2]
    assert {row["model_version"] for row in logged(served)} == {1, 2}


def test_request_ids_are_made_where_none_are_given(served: Product, tmp_path: Path) -> None:
    rows = [{"text": "good"}, {"text": "good", "request_id": None}, {"text": "good", "request_id": 7}, {"text": None}]
    ids = score(served, requests(tmp_path, rows))["request_id"].to_pylist()
    assert ids[2] == "7"
    assert len(set(ids)) == 4
    assert "None" not in ids


def test_request_ids_that_are_personal_data_stay_and_are_warned_of_once(
    served: Product, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["ann@example.org", "bob@example.org", "7", "2025550123"]
    rows = [{"text": text, "request_id": name} for text, name in zip(TEXTS, names, strict=False)]
    assert score(served, requests(tmp_path, rows))["request_id"].to_pylist() == names
    (said,) = [one.message for one in caplog.records if "request ids look like" in one.message]
    assert "3 of the first 4 request ids" in said


def test_a_request_id_may_stand_once(served: Product, tmp_path: Path) -> None:
    rows = [{"text": "x", "request_id": name} for name in ("a", "b", "a", "a")]
    with pytest.raises(DataRejectedError, match=r"uses a request_id twice\n  - request_id a"):
        score(served, requests(tmp_path, rows))
    assert logged(served) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [("body\nx\n", "has no column text; it has body"), ("text\n", "has no row"), ("", "is empty")],
)
def test_a_file_that_cannot_be_scored(served: Product, tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "requests.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataRejectedError, match=message):
        score(served, path)


def test_without_a_champion_nothing_is_scored(product: Product, tmp_path: Path) -> None:
    with pytest.raises(FtcoreError, match=f"{product.name} has no champion yet") as error:
        score(product, requests(tmp_path, [{"text": "x"}]))
    assert error.value.hint == f"ftcore run {product.name}"


def test_where_the_gate_refused_the_gate_and_its_reason_are_named(product: Product, tmp_path: Path) -> None:
    version = product.register("r1")
    asked = requests(tmp_path, [{"text": "x"}])
    with pytest.raises(FtcoreError, match="version 1 was not judged yet") as error:
        score(product, asked)
    assert error.value.hint == f"ftcore run {product.name} --run r1 --only finetune"
    rules = [
        {"gate": "slice", "passed": True, "reason": "no slice is worse"},
        {"gate": "threshold", "passed": False, "reason": "accuracy 0.61 is below 0.8"},
    ]
    store.write_json(product.shelf.folder("r1", "gate") / "verdict.json", {"rules": rules})
    product.tracking.tag(version, {"verdict": "failed", "verdict.reason": "accuracy 0.61 is below 0.8"})
    with pytest.raises(FtcoreError, match=r"gates refused version 1:\n  threshold: accuracy 0\.61 is below") as error:
        score(product, asked)
    assert f"ftcore models promote {product.name} 1" in error.value.hint
    from ftcore.registry import versions

    book = versions.book(product.tracking).to_json()
    assert [one["state"] for one in book["versions"]] == ["refused"]


def test_a_summary_counts_labels(served: Product, tmp_path: Path) -> None:
    table = score(served, requests(tmp_path, [{"text": text} for text in TEXTS]))
    found = scoring.summary(table)
    assert (found["rows"], found["model_version"]) == (5, 1)
    assert sum(found["labels"].values()) == 5
    assert found["rows_per_s"] > 0


def test_a_context_is_scored_logged_and_comes_back_with_its_label(served: Product, tmp_path: Path) -> None:
    rows = [{"text": "good", "context": "the film is bad"}, {"text": "good", "context": None}, {"text": "good"}]
    table = score(served, requests(tmp_path, rows))
    assert table["context"].to_pylist() == ["the film is bad", None, None]
    assert len(set(table["request_id"].to_pylist())) == 3
    assert table["score"][0].as_py() != table["score"][1].as_py() == table["score"][2].as_py()
    label = {"request_id": table["request_id"][0].as_py(), "label": "negative"}
    assert feedback(served, requests(tmp_path, [label], "labels.jsonl"))["added"] == 1
    (back,) = (row for found in Feedback().read(served.context("ingest")) for row in found.to_pylist())
    assert (back["text"], back["context"], back["label"]) == ("good", "the film is bad", "negative")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_predictions_are_written_by_the_files_ending(served: Product, tmp_path: Path, suffix: str) -> None:
    table = score(served, requests(tmp_path, [{"text": 'a "quoted",\ntext é'}, {"text": "good"}]))
    path = tmp_path / f"scored{suffix}"
    scoring.write(table, path)
    if suffix == ".csv":
        found = csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True)).to_pylist()
    elif suffix == ".jsonl":
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    else:
        found = parquet.read_table(path).to_pylist()
    for name in ("request_id", "text", "label", "model_version"):
        assert [row[name] for row in found] == table[name].to_pylist()


def test_another_ending_is_refused(served: Product, tmp_path: Path) -> None:
    table = pa.table({"text": ["x"]})
    with pytest.raises(FtcoreError, match=r"cannot write '.xlsx' files"):
        scoring.write(table, tmp_path / "scored.xlsx")
    assert list(tmp_path.glob("scored*")) == []


def test_labels_come_back_by_request_id(served: Product, tmp_path: Path) -> None:
    score(served, requests(tmp_path, [{"text": t, "request_id": n} for n, t in enumerate(TEXTS)]))
    given = [{"request_id": 0, "label": "positive"}, {"request_id": 1, "label": "negative"}]
    path = requests(tmp_path, [*given, {"request_id": "never-scored", "label": "positive"}], "labels.jsonl")
    # One column with numbers and words in it: both are read as text.
    counts = {"added": 2, "known_already": 0, "repeated": 0, "superseded": 0, "unknown_request": 1}
    assert feedback(served, path) == counts
    assert feedback(served, path) == counts | {"added": 0, "known_already": 2}
    labels = {row["request_id"]: row["label"] for row in logged(served, "feedback")}
    assert labels == {"0": "positive", "1": "negative"}


def test_labels_that_contradict_each_other_in_one_file_are_named(
    served: Product, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    score(served, requests(tmp_path, [{"text": f"{t} {n}", "request_id": n} for n, t in enumerate(TEXTS)]))
    lines = (
        [(n, "positive") for n in range(5)] + [(n, "negative") for n in range(4)] + [(3, "negative"), (4, "positive")]
    )
    path = requests(tmp_path, [{"request_id": n, "label": label} for n, label in lines], "labels.jsonl")
    caplog.set_level("WARNING", "ftcore")
    counts = {"added": 5, "known_already": 0, "repeated": 2, "superseded": 4, "unknown_request": 0}
    assert feedback(served, path) == counts
    assert "labels of 4 requests contradict each other, and the last one holds: request_id 0, 1, 2 and 1 more" in (
        caplog.text
    )
    labels = [row["label"] for row in sorted(logged(served, "feedback"), key=lambda row: row["request_id"])]
    assert labels == ["negative"] * 4 + ["positive"]


def test_a_label_may_be_corrected_and_corrected_back(served: Product, tmp_path: Path) -> None:
    score(served, requests(tmp_path, [{"text": "good", "request_id": "q"}]))
    for given in ("positive", "negative", "positive", "negative"):
        assert feedback(served, requests(tmp_path, [{"request_id": "q", "label": given}], "l.jsonl"))["added"] == 1
        (table,) = Feedback().read(served.context("ingest"))
        assert table["label"].to_pylist() == [given]


CARD = {"recipe": "x", "personal_data": {"entities": {"EMAIL_ADDRESS": "mask", "IP_ADDRESS": "drop_row"}}}
CHAT = json.dumps([{"role": "user", "content": "Who?"}])


@pytest.mark.parametrize(
    ("task", "asked", "context", "label", "kept"),
    [
        ("seq2seq", "Who?", None, "ask  ann@example.org", "ask  [EMAIL_ADDRESS]"),
        ("chat", CHAT, None, '[{"role": "assistant", "content": "ann@example.org"}]', "[EMAIL_ADDRESS]"),
        ("qa", "Who?", "ask [EMAIL_ADDRESS] now", "ann@example.org", "[EMAIL_ADDRESS]"),
    ],
)
def test_labels_that_people_wrote_are_masked_as_the_request_was(
    product: Product, tmp_path: Path, task: str, asked: str, context: str | None, label: str, kept: str
) -> None:
    metric = {"seq2seq": "rouge_l", "chat": "token_accuracy", "qa": "f1"}[task]
    gates = [{"kind": "threshold", "metric": metric, "minimum": 0.1}]
    kept_there = {"personal_data": {"entities": {"EMAIL_ADDRESS": "keep"}}}
    product.change(task={"kind": task}, gates=gates, prepare=kept_there, exports=[])
    store.write_json(tmp_path / "model" / "ftcore.json", CARD | {"task": {"kind": task}})
    version = product.register("first", folders=[tmp_path / "model"]).number
    at = datetime(2026, 1, 1, tzinfo=UTC)
    empty = dict.fromkeys(scoring.log_schema().names)
    row = empty | {"at": at, "text": asked, "context": context, "model_version": version}
    rows = [row | {"request_id": name} for name in ("q0", "q1")]
    product.shelf.append("predictions", pa.Table.from_pylist(rows, schema=scoring.log_schema()), "2026-01-01", "p")
    given = [{"request_id": "q0", "label": label}, {"request_id": "q1", "label": "ask 192.168.7.14"}]
    path = requests(tmp_path, given, "labels.jsonl")
    for added in (1, 0):
        counts = scoring.feedback(product.recipe, product.shelf, path, tracking=product.tracking)
        expected = {"added": added, "known_already": 1 - added, "unknown_request": 0, "personal_data": 1}
    assert counts == expected | {"repeated": 0, "superseded": 0}
    assert [(one["request_id"], one["label"]) for one in logged(product, "feedback")] == [("q0", kept)]


@pytest.mark.parametrize("label", ["neutral", None, "Positive", 1])
def test_an_unknown_label_is_refused_and_nothing_is_added(served: Product, tmp_path: Path, label: object) -> None:
    score(served, requests(tmp_path, [{"text": t, "request_id": f"q{n}"} for n, t in enumerate(TEXTS)]))
    bad = requests(tmp_path, [{"request_id": "q0", "label": label}, {"request_id": "q1", "label": label}], "l.jsonl")
    with pytest.raises(DataRejectedError, match=f"\n  - {label}\n  hint: its labels are negative, positive"):
        feedback(served, bad)
    assert logged(served, "feedback") == []


def test_numbers_are_labels_too(served: Product, tmp_path: Path) -> None:
    score(served, requests(tmp_path, [{"text": "good", "request_id": "q"}]))
    served.change(task={"kind": "classification", "labels": ["0", "1"]})
    labels = requests(tmp_path, [{"request_id": "q", "label": 1}], "labels.jsonl")
    assert feedback(served, labels)["added"] == 1
    assert logged(served, "feedback")[0]["label"] == "1"


def test_a_request_id_names_one_request_for_ever(served: Product, tmp_path: Path, tiny: Path) -> None:
    monday = requests(tmp_path, [{"text": t, "request_id": n} for n, t in enumerate(TEXTS)], "monday.jsonl")
    first = score(served, monday)
    tuesday = requests(tmp_path, [{"text": "another", "request_id": n} for n in (7, 1)], "tuesday.jsonl")
    at = f"{first['at'][0].as_py():%Y-%m-%d %H:%M}"
    with pytest.raises(
        DataRejectedError, match=rf"1 request ids name other(.|\n)*request_id 1: another text, scored at {at}"
    ):
        score(served, tuesday)
    assert len(logged(served)) == len(TEXTS), "nothing is logged"
    handed = scoring.requests.Handed(new_ids=True)
    made = scoring.score(served.recipe, served.shelf, served.settings, tuesday, handed)
    assert not {"7", "1"} & set(made["request_id"].to_pylist())
    served.crown("second", folders=[tiny / "onnx-int8"])
    assert score(served, monday)["request_id"].equals(first["request_id"]), "the same texts may be asked again"


def test_a_line_that_cannot_be_read_is_refused_by_name_and_costs_no_other(served: Product, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("request_id,text\nq0,good\nq1\nq2,bad\n", encoding="utf-8")
    table = score(served, path)
    assert [bool(label) for label in table["label"].to_pylist()] == [True, False, True]
    assert table["refusal"].to_pylist() == [None, "the row could not be read: line 3: 1 cells instead of 2", None]
    assert [row["request_id"] for row in logged(served)] == ["q0", "q2"]


def test_a_request_without_a_text_is_refused_by_name(served: Product, tmp_path: Path) -> None:
    blank = ["", "   ", None, "\u00a0\n"]
    given = [{"request_id": n, "text": text} for n, text in enumerate(["good", *blank, "bad"])]
    table = score(served, requests(tmp_path, given))
    assert table["refusal"].to_pylist() == [None, *["text is empty or blank"] * 4, None]
    assert [bool(label) for label in table["label"].to_pylist()] == [True, *[False] * 4, True]
    assert [row["request_id"] for row in logged(served)] == ["0", "5"]


def test_feedback_of_which_nothing_matches_fails(served: Product, tmp_path: Path) -> None:
    score(served, requests(tmp_path, [{"text": "good", "request_id": "q0"}]))
    path = requests(tmp_path, [{"request_id": f"x{n}", "label": "positive"} for n in range(20)], "l.jsonl")
    with pytest.raises(
        DataRejectedError, match=r"none of its 20 labels(.|\n)*request_id x0(.|\n)*and 10 more(.|\n)*-o "
    ):
        feedback(served, path)
    assert logged(served, "feedback") == []


def test_feedback_needs_its_two_columns(served: Product, tmp_path: Path) -> None:
    with pytest.raises(DataRejectedError, match="has no column request_id, label; it has text"):
        feedback(served, requests(tmp_path, [{"text": "x"}]))


@pytest.fixture
def of_parts(product: Product, tmp_path: Path) -> Product:
    """A product whose champion has a head that chooses a colour and one that gives a number."""
    small("bert", tmp_path / "base")
    parts = {
        "colour": {"kind": "classification", "labels": ["red", "blue"], "sources": ["files:colours"]},
        "long": {"kind": "pair", "sources": ["files:longs"]},
    }
    task = Multitask.model_validate({"kind": "multitask", "parts": parts})
    words = loading.tokenizer(tmp_path / "base")
    base.write_model(task.load(tmp_path / "base"), words, tmp_path / "model")
    card = {"task": task.model_dump(mode="json"), "max_length_tokens": 32}
    store.write_json(tmp_path / "model" / "ftcore.json", card)
    product.crown("first", folders=[tmp_path / "model"])
    named = [{"kind": "files", "path": "a.csv", "name": name} for name in ("colours", "longs")]
    product.change(task={"kind": "multitask", "parts": parts}, sources=named, exports=[])
    return product


def test_a_request_names_the_part_that_is_asked(of_parts: Product, tmp_path: Path) -> None:
    texts = ["the door is red", "the lamp is blue"]
    rows = [{"request_id": f"{part}{n}", "text": text, "part": part}
            for n, text in enumerate(texts) for part in ("long", "colour")]  # fmt: skip
    table = score(of_parts, requests(tmp_path, rows))
    assert table["part"].to_pylist() == ["long", "colour"] * 2
    said = table["label"].to_pylist()
    assert set(said[1::2]) <= {"red", "blue"}
    assert [float(one) for one in said[::2]] == pytest.approx(table["score"].to_pylist()[::2], rel=1e-4)
    assert logged(of_parts) == table.drop_columns([scoring.REFUSAL]).to_pylist()
    assert score(of_parts, requests(tmp_path, rows)).equals(table), "the same file adds nothing"

    empty = [{"request_id": f"empty{part}", "text": " ", "part": part} for part in ("long", "colour")]
    table = score(of_parts, requests(tmp_path, empty, "empty.jsonl"))
    assert table["refusal"].to_pylist() == ["text is empty or blank"] * 2
    assert len(logged(of_parts)) == len(rows)

    wrong = requests(tmp_path, [{"request_id": "long0", "label": "red"}], "wrong.jsonl")
    with pytest.raises(DataRejectedError, match=r"labels that .* does not know"):
        feedback(of_parts, wrong)
    labels = [{"request_id": "long0", "label": "2.5"}, {"request_id": "colour1", "label": "red"}]
    assert feedback(of_parts, requests(tmp_path, labels, "labels.jsonl"))["added"] == 2


def test_an_export_answers_for_every_part_as_torch_does(of_parts: Product, tmp_path: Path) -> None:
    rows = [{"text": f"the lamp is {'blue ' * n}", "part": part} for n in range(9) for part in ("long", "colour")]
    torch = score(of_parts, requests(tmp_path, rows))
    config, task = onnx.Onnx(precisions=("fp32",)), of_parts.recipe.task
    words = loading.tokenizer(tmp_path / "model")
    config.export(task.exportable(tmp_path / "model").eval(), words, tmp_path)
    shutil.copy(tmp_path / "model" / "ftcore.json", tmp_path / "onnx-fp32")
    of_parts.crown("second", folders=[tmp_path / "model", tmp_path / "onnx-fp32"])
    of_parts.change(exports=[config.model_dump(mode="json")])
    made = score(of_parts, requests(tmp_path, rows))
    assert made["model_version"][0].as_py() == torch["model_version"][0].as_py() + 1
    assert made["score"].to_pylist() == pytest.approx(torch["score"].to_pylist(), abs=1e-5)
    assert made["label"].to_pylist()[1::2] == torch["label"].to_pylist()[1::2]


def test_a_request_without_a_part_or_with_a_strange_one_is_refused(of_parts: Product, tmp_path: Path) -> None:
    with pytest.raises(DataRejectedError, match="has no column part"):
        score(of_parts, requests(tmp_path, [{"text": "the door"}]))
    with pytest.raises(DataRejectedError, match=r"asks for parts(.|\n)*weather(.|\n)*its parts are colour, long"):
        score(of_parts, requests(tmp_path, [{"text": "the door", "part": "weather"}]))


def test_a_champion_of_other_parts_is_refused(of_parts: Product, tmp_path: Path) -> None:
    parts = of_parts.document()["task"]["parts"]
    parts["colour"]["labels"] = ["red", "green"]
    of_parts.change(task={"kind": "multitask", "parts": parts})
    with pytest.raises(ExportError, match="knows the labels colour/red, colour/blue, long/pair"):
        score(of_parts, requests(tmp_path, [{"text": "the door", "part": "long"}]))
