"""Answers in passages: windows hold every answer whole, and scores are SQuAD's."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from torchmetrics.functional.text import squad

from ftcore.data.cleaning import personal
from ftcore.data.cleaning.rows import Rows, clean
from ftcore.data.sources import files
from ftcore.errors import DataRejectedError, NotEnoughDataError
from ftcore.models import loading
from ftcore.models.outputs import Example
from ftcore.recipe.sections import PersonalData
from ftcore.tasks import _answers, qa
from ftcore.tasks.qa import QuestionAnswering
from tests.models import rows, small

CONFIG = QuestionAnswering(stride_tokens=4)
PASSAGE = "the red door is a boat . the green car is a lamp . the house is white . the chair is blue ."


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("bert")
    small("bert", folder)
    return loading.tokenizer(folder)


def test_scores_are_squads() -> None:
    pairs = [
        ("the red door", "Red door!"),
        ("a", "the"),
        ("red green", "green red blue"),
        ("", "red"),
        ("an A-team", "Ateam"),
        ("red red", "red"),
    ]
    table = rows(*(("?", "p", right) for _, right in pairs))
    tallies = CONFIG.tallies(table, [said for said, _ in pairs])
    for number, (said, right) in enumerate(pairs):
        asked = {"id": "1", "answers": {"answer_start": [0], "text": [right]}}
        expected = squad([{"prediction_text": said, "id": "1"}], [asked])
        assert tallies[number] * 100 == pytest.approx([float(expected["f1"]), float(expected["exact_match"]), 100]), (
            said
        )


@pytest.mark.parametrize("answer", ["red door", "green car is a", "blue", "chair is blue ."])
@pytest.mark.parametrize("length", [16, 20, 64])
def test_a_long_passage_becomes_windows_of_which_some_hold_the_answer(words: Any, answer: str, length: int) -> None:
    features = CONFIG.encode(words, rows(("what is the colour ?", PASSAGE, answer)), length)
    assert max(features.lengths) <= length
    assert (len(features) == 1) == (length == 64)
    there = []
    for number in range(len(features)):
        one = features[number]
        first, last = one["start_positions"], one["end_positions"]
        if first:
            there.append(words.decode(one["input_ids"][first : last + 1]))
            assert one["token_type_ids"][first] == 1
        else:
            assert last == 0
    assert there
    assert set(there) == {answer}


def test_answers_of_an_older_snapshot_that_stand_nowhere_are_left_out(words: Any) -> None:
    good, bad = ("what ?", PASSAGE, "red"), ("what ?", PASSAGE, "purple")
    CONFIG.check({"train": rows(*[good] * 30, bad)})
    assert "30" not in CONFIG.encode(words, rows(*[good] * 30, bad), 64).row_ids
    with pytest.raises(NotEnoughDataError, match="no answer of the train split stands"):
        CONFIG.check({"train": rows(bad)})
    with pytest.raises(DataRejectedError, match="have no context"):
        CONFIG.check({"train": rows(("what ?", None, "red"))})


@pytest.mark.parametrize("length", [8, 12, 20])
def test_a_question_that_fills_the_window_leaves_room_for_the_passage(words: Any, tmp_path: Path, length: int) -> None:
    small("bert", tmp_path)
    model = CONFIG.load(tmp_path)
    model.save_pretrained(tmp_path / "made")
    words.save_pretrained(tmp_path / "made")
    predict = CONFIG.predictor(tmp_path / "made", length)
    (said,) = predict([Example("what colour is the door ? " * 10, PASSAGE)])
    assert said
    assert said in PASSAGE
    assert predict([Example("what ?", "")]) == [""]


def test_the_likeliest_piece_is_in_order_and_no_longer_than_asked() -> None:
    window = qa._Window([1, 2, 3, 4, 5], [0] * 5, [None, (0, 3), (4, 8), (9, 11), None])
    starts, ends = [9.0, 0, 1, 0, 9], [9.0, 5, 0, 3, 9]
    assert window.best(starts, ends, 30) == (5.0, 0, 3)
    assert window.best([0, 2, 1, 0, 0], [0, 0, 0, 9, 0], 2) == (10, 4, 11)


def read(label: str | None, passage: str = PASSAGE) -> str | None:
    """An answer as the task reads it, twice, or why it cannot."""
    rows = Rows(["what ?"], [passage], [label], [None], ["s"])
    faults = CONFIG.parse_rows(rows)
    answer = rows.label[0]
    if not faults:
        faults = CONFIG.parse_rows(rows) | CONFIG.check_rows(rows)
        assert rows.label == [answer], "reading twice changes nothing"
    return faults.get(0, answer)


@pytest.mark.parametrize(
    ("label", "answer"),
    [
        ('{"text": ["red door"], "answer_start": [4]}', "red door"),
        ('{"text": ["red door", "the red door"], "answer_start": [4, 0]}', "red door"),
        ('{"answer_start": [4], "text": ["red door"]}', "red door"),
        ('{"text": "red door", "answer_start": 4}', "red door"),
        ('{"text": ["red door"]}', "red door"),
        ('[{"text": "red door", "answer_start": 4}, {"text": "door", "answer_start": 8}]', "red door"),
        ('["red door", "door"]', "red door"),
        ("{'text': ['red door'], 'answer_start': [4]}", "red door"),
        ("{'text': array(['red door'], dtype=object), 'answer_start': array([4], dtype=int32)}", "red door"),
        (" red door", " red door"),
    ],
)
def test_answers_of_squads_form_are_their_first_text(label: str, answer: str) -> None:
    assert read(label) == answer


@pytest.mark.parametrize(
    ("label", "passage"), [('{"text": ["x"]}', 'send {"text": ["x"]} .'), ("[1]", "see [1] ."), ('["a"]', 'is ["a"] .')]
)
def test_an_answer_that_is_a_piece_of_its_passage_is_that_piece(label: str, passage: str) -> None:
    assert read(label, passage) == label


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ('{"text": [], "answer_start": []}', _answers.UNANSWERABLE),
        ("{'text': array([], dtype=object), 'answer_start': array([], dtype=int32)}", _answers.UNANSWERABLE),
        ("[]", _answers.UNANSWERABLE),
        ('{"text": null, "answer_start": null}', "answer is missing"),
        ('{"text": [null], "answer_start": [0]}', "answer is missing"),
        ('{"text": [""], "answer_start": [0]}', "answer is empty or blank"),
        ('{"text": [["red"]], "answer_start": [0]}', "the answer is no text: \"['red']\""),
        ('{"text": ["purple"], "answer_start": [0]}', "the answer is no piece of its passage"),
        ('{"text": ["red"', "the answer is no piece of its passage"),
        ('{"start": 4}', "the answer is no piece of its passage"),
    ],
)
def test_answers_that_cannot_be_used_are_named(label: str, why: str) -> None:
    assert read(label) == why


@pytest.mark.parametrize("form", ["parquet", "jsonl", "json", "csv"])
def test_squad_is_read_from_every_format(tmp_path: Path, form: str) -> None:
    given = [
        {"question": f"what {n} ?", "context": PASSAGE, "answers": answers}
        for n, answers in enumerate(
            [{"text": ["red", "red door"], "answer_start": [4, 4]}, {"text": [], "answer_start": []}]
        )
    ]
    file = tmp_path / f"squad.{form}"
    if form == "parquet":
        parquet.write_table(pa.Table.from_pylist(given), file)
    elif form == "csv":
        with file.open("w", newline="") as out:
            csv.writer(out).writerows(
                [list(given[0]), *([json.dumps(v) if k == "answers" else v for k, v in r.items()] for r in given)]
            )
    else:
        file.write_text(json.dumps(given) if form == "json" else "\n".join(map(json.dumps, given)))
    source = files.Files(path=str(file), text="question", context="context", label="answers")
    (batch,) = source.batches(file, source.needs(("text", "context", "label")))
    cleaned = clean(source.requests(CONFIG).table(batch), CONFIG, personal.cleaner(PersonalData(), {}, "r"))
    assert cleaned.table["label"].to_pylist()[0] == "red"
    assert cleaned.faults == {1: _answers.UNANSWERABLE}
