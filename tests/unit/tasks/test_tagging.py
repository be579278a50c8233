"""Tags: entities are counted as seqeval counts them, and rows whose tags do not fit their words are left out."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import seqeval.metrics
from pydantic import ValidationError

from ftcore.errors import DataRejectedError, NotEnoughDataError
from ftcore.models import loading
from ftcore.models.features import IGNORED
from ftcore.tasks.tagging import Tagging
from tests.models import rows, small

CONFIG = Tagging(labels=("O", "B-COL", "I-COL", "B-THING", "I-THING"))


@pytest.mark.parametrize("labels", [["O", "O"], ["O", "PER"], ["O", "B-"[:1]], ["O"]])
def test_tags_must_be_distinct_and_written_as_usual(labels: list[str]) -> None:
    with pytest.raises(ValidationError):
        Tagging(labels=tuple(labels))


def test_scores_are_seqevals() -> None:
    chance = random.Random(4)
    right = [[chance.choice(CONFIG.labels) for _ in range(chance.randint(1, 9))] for _ in range(200)]
    said = [[tag if chance.random() < 0.7 else chance.choice(CONFIG.labels) for tag in row] for row in right]
    table = rows(*((" ".join("a" for _ in row), None, " ".join(row)) for row in right))
    found = CONFIG.metrics(CONFIG.tallies(table, said).sum(0))
    for name, score in {
        "f1": seqeval.metrics.f1_score,
        "precision": seqeval.metrics.precision_score,
        "recall": seqeval.metrics.recall_score,
        "accuracy": seqeval.metrics.accuracy_score,
    }.items():
        assert found[name] == pytest.approx(score(right, said)), name


def test_tags_that_are_missing_count_as_none() -> None:
    table = rows(("the red door", None, "O B-COL B-THING"))
    tallies = CONFIG.tallies(table, [["O", "B-COL"]])
    assert CONFIG.metrics(tallies.sum(0))["recall"] == 0.5
    assert tallies[0, -2:].tolist() == [2, 3]


def test_rows_with_another_number_of_tags_in_an_older_snapshot_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small("bert", tmp_path)
    good, bad = ("the red door", None, "O B-COL B-THING"), ("the car", None, "O")
    table = rows(*[good] * 30, bad)
    CONFIG.check({"train": table})
    features = CONFIG.encode(loading.tokenizer(tmp_path), table, 48)
    assert (len(features), "30" in features.row_ids) == (30, False)
    assert features[0]["labels"] == [IGNORED, 0, 1, 3, IGNORED]


def test_unknown_tags_and_nothing_to_learn_are_said() -> None:
    with pytest.raises(DataRejectedError, match="does not name"):
        CONFIG.check({"train": rows(("red", None, "B-SIZE"))})
    with pytest.raises(NotEnoughDataError, match="no word of the train split has a tag"):
        CONFIG.check({"train": rows(("red", None, "O"))})
    assert not CONFIG.valid("O B-SIZE")
    assert not CONFIG.valid(None)


def test_words_beyond_the_longest_length_are_part_of_nothing(tmp_path: Path) -> None:
    small("bert", tmp_path)
    words = loading.tokenizer(tmp_path)
    text = " ".join(["red"] * 20)
    features = CONFIG.encode(words, rows((text, None, " ".join(["B-COL"] * 20))), 8)
    assert (features.truncated, features[0]["labels"]) == (1, [IGNORED, *[1] * 6, IGNORED])
    model = CONFIG.load(tmp_path)
    model.save_pretrained(tmp_path / "made")
    words.save_pretrained(tmp_path / "made")
    (tags,) = CONFIG.predictor(tmp_path / "made", 8)([text])
    assert len(tags) == 20
    assert set(tags[6:]) == {"O"}


def test_a_word_of_several_tokens_has_the_tag_of_its_first() -> None:
    best = [0, 1, 2, 3, 0]
    assert CONFIG._of_words([None, 0, 0, 1, None], best, 3) == ["B-COL", "B-THING", "O"]
    assert np.isnan(CONFIG.answers([["O"]])[1]).all()
