"""What answers are worth, reward by reward."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from ftcore.errors import TrainingError
from ftcore.models.outputs import examples
from ftcore.training.exchanges import ReferenceModel, not_asked
from ftcore.training.methods import _rewards

HELLO = [{"role": "user", "content": "hello"}]


def reward(**given: Any) -> Any:
    return TypeAdapter(_rewards.Reward).validate_python(given)


def worth(answers: list[str], prompt: Any = HELLO, ask: Any = not_asked, **given: Any) -> list[float]:
    return reward(**given).score(ask)([prompt] * len(answers), answers)


def test_a_pattern_is_searched_for_or_matches_the_whole() -> None:
    answers = ["7", "it is 7", "seven", " 7 \n"]
    assert worth(answers, kind="regex", pattern=r"\d") == [1, 1, 0, 1]
    assert worth(answers, kind="regex", pattern=r"\d", whole=True) == [1, 0, 0, 1]
    assert worth(["<think>\na\n</think>\n7"], kind="regex", pattern=r"^<think>.*</think>$") == [1]


def test_an_answer_should_be_as_long_as_asked() -> None:
    answers = ["", "a", "a b", "a b c d", "a b c d e f", "a " * 8, "a " * 40]
    assert worth(answers, kind="length", least=2, most=4) == [0, 0.5, 1, 1, 0.5, 0, 0]
    with pytest.raises(ValidationError, match="least is more than most"):
        reward(kind="length", least=5, most=4)


def test_a_classifier_judges_the_answer_by_one_label() -> None:
    def ask(reference: str) -> ReferenceModel:
        assert reference == "models:/mood@champion"
        return ReferenceModel(lambda texts: np.array([[0.1, 0.9] if "good" in t else [0.8, 0.2] for t in texts]), ("bad", "good"), "classification")  # fmt: skip  # noqa: E501

    given = {"kind": "classifier", "model": "models:/mood@champion"}
    assert worth(["so good", "no"], ask=ask, label="good", **given) == [0.9, 0.2]
    with pytest.raises(TrainingError, match="no label 'fine'"):
        worth(["x"], ask=ask, label="fine", **given)


def test_a_reward_model_scores_the_answer_in_its_conversation() -> None:
    seen: list[Any] = []

    def ask(_: str) -> ReferenceModel:
        def predict(texts: Any) -> np.ndarray:
            seen.extend(examples(texts))
            return np.array([[len(one.answer), np.nan] for one in seen])

        return ReferenceModel(predict, (), "preference")

    given = {"kind": "registered", "model": "models:/taste/3"}
    assert worth(["ab", "abc"], ask=ask, **given) == [2, 3]
    assert json.loads(seen[0].text) == HELLO
    seen.clear()
    assert worth(["ab"], "go on", ask, **given) == [2]
    assert seen[0].text == "go on"


def test_a_model_of_another_task_gives_no_score() -> None:
    def ask(_: str) -> ReferenceModel:
        return ReferenceModel(lambda texts: np.zeros((len(texts), 2)), ("a", "b"), "classification")

    with pytest.raises(TrainingError, match="is a model for classification"):
        worth(["x"], ask=ask, kind="registered", model="models:/mood@champion")


def test_rewards_add_up_by_their_weights_and_have_names_of_their_own() -> None:
    rewards = [
        reward(kind="regex", pattern="a", weight=2),
        reward(kind="regex", pattern="b", weight=-0.5),
        reward(kind="length", most=1),
    ]
    total = _rewards.total(rewards, [one.score(not_asked) for one in rewards])
    assert total([HELLO] * 3, ["a", "ab", "c"]) == [3, 2.5, 1]
    assert _rewards.named(rewards) == ["regex_1", "regex_2", "length"]
