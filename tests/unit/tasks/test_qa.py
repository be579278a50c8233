"""Answers in passages: windows hold every answer whole, and scores are SQuAD's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torchmetrics.functional.text import squad

from ftcore.errors import DataRejectedError, NotEnoughDataError
from ftcore.outputs import Example
from ftcore.tasks import qa
from ftcore.training import loading
from tests.unit.tasks._small import rows, small

CONFIG = qa.Config(stride_tokens=4)
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
    tallies = qa.tallies(CONFIG, table, [said for said, _ in pairs])
    for number, (said, right) in enumerate(pairs):
        asked = {"id": "1", "answers": {"answer_start": [0], "text": [right]}}
        expected = squad([{"prediction_text": said, "id": "1"}], [asked])
        assert tallies[number] * 100 == pytest.approx([float(expected["f1"]), float(expected["exact_match"]), 100]), (
            said
        )


@pytest.mark.parametrize("answer", ["red door", "green car is a", "blue", "chair is blue ."])
@pytest.mark.parametrize("length", [16, 20, 64])
def test_a_long_passage_becomes_windows_of_which_some_hold_the_answer(words: Any, answer: str, length: int) -> None:
    features = qa.encode(CONFIG, words, rows(("what is the colour ?", PASSAGE, answer)), length)
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
    qa.check(CONFIG, {"train": rows(*[good] * 30, bad)})
    assert "30" not in qa.encode(CONFIG, words, rows(*[good] * 30, bad), 64).row_ids
    with pytest.raises(NotEnoughDataError, match="no answer of the train split stands"):
        qa.check(CONFIG, {"train": rows(bad)})
    with pytest.raises(DataRejectedError, match="have no context"):
        qa.check(CONFIG, {"train": rows(("what ?", None, "red"))})


@pytest.mark.parametrize("length", [8, 12, 20])
def test_a_question_that_fills_the_window_leaves_room_for_the_passage(words: Any, tmp_path: Path, length: int) -> None:
    small("bert", tmp_path)
    model = qa.load(CONFIG, tmp_path)
    model.save_pretrained(tmp_path / "made")
    words.save_pretrained(tmp_path / "made")
    predict = qa.predictor(CONFIG, tmp_path / "made", length)
    (said,) = predict([Example("what colour is the door ? " * 10, PASSAGE)])
    assert said
    assert said in PASSAGE
    assert predict([Example("what ?", "")]) == [""]


def test_the_likeliest_piece_is_in_order_and_no_longer_than_asked() -> None:
    window = qa._Window([1, 2, 3, 4, 5], [0] * 5, [None, (0, 3), (4, 8), (9, 11), None])
    starts, ends = [9.0, 0, 1, 0, 9], [9.0, 5, 0, 3, 9]
    assert window.best(starts, ends, 30) == (5.0, 0, 3)
    assert window.best([0, 2, 1, 0, 0], [0, 0, 0, 9, 0], 2) == (10, 4, 11)
