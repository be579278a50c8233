"""A space is checked against the recipe's own fields and their bounds, every fault at once."""

from __future__ import annotations

from typing import Any

import pytest

from ftcore.errors import RecipeError
from ftcore.recipe import reading, space


def faults(document: dict[str, Any], **given: object) -> dict[str, str]:
    with pytest.raises(RecipeError) as error:
        reading.parse(document | {"search": {"space": given}})
    assert len(dict(error.value.faults)) == len(error.value.faults)
    return {path.removeprefix("search.space."): message for path, message in error.value.faults}


def test_all_faults_come_at_once_each_with_its_place_in_the_yaml(minimal: dict[str, Any]) -> None:
    found = faults(
        minimal,
        **{
            "train.learning_rate": {"low": "1e-5", "high": 3, "log": True},
            "method.rank": {"choices": [8, 0, "x"]},
            "train.batch_size": {"low": 1.5, "high": 8},
            "gates.minimum": {"low": 0, "high": 1},
            "train": {"low": 0, "high": 1},
            "train.lr": {"low": 0, "high": 1},
            "train.precision": {"low": 0, "high": 1},
            "train.packing": {"choices": [True, "maybe"]},
            "train.epochs.more": {"choices": [1, 2]},
            "train.seed": {"choices": [1, 2]},
            "method.kind": {"choices": ["lora", "dora"]},
            "train.dropout": {"low": 0, "high": 0.3},
        },
    )
    assert set(found) == {
        "train.learning_rate.high",
        "method.rank.choices[1]",
        "method.rank.choices[2]",
        "train.batch_size.low",
        "gates.minimum",
        "train",
        "train.lr",
        "train.precision",
        "train.packing.choices[1]",
        "train.epochs.more",
        "train.seed",
        "method.kind",
    }
    assert "less than or equal to 1" in found["train.learning_rate.high"]
    assert "only what lies in train and method" in found["gates.minimum"]
    assert "known: epochs, learning_rate" in found["train.lr"]
    assert "give choices" in found["train.precision"]
    assert "lucky seed" in found["train.seed"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "give low and high, or choices"),
        ({"low": 1}, "give low and high"),
        ({"low": 0.2, "high": 0.1}, "low must be less than high"),
        ({"low": 0, "high": 0.1, "log": True}, "above 0 for a logarithm"),
        ({"choices": [0.1], "low": 0.1}, "either choices, or"),
        ({"choices": [0.1]}, "two or more"),
        ({"choices": [0.1, 0.1]}, "differ"),
    ],
)
def test_a_dimension_is_a_range_or_choices(minimal: dict[str, Any], given: dict[str, Any], words: str) -> None:
    assert words in faults(minimal, **{"train.warmup": given})["train.warmup"]


def test_what_changes_the_meaning_of_the_loss_cannot_be_searched(minimal: dict[str, Any]) -> None:
    found = faults(minimal | {"method": {"kind": "distill"}}, **{"method.temperature": {"low": 1, "high": 4}})
    assert "what the loss means" in found["method.temperature"]


def test_values_are_those_of_the_fields_and_make_recipes(minimal: dict[str, Any]) -> None:
    dimensions = {
        "train.learning_rate": {"low": "1e-5", "high": "1e-3", "log": True},
        "train.weight_decay": {"choices": ["1e-2", 0]},
        "train.batch_size": {"low": 8, "high": 64},
        "train.micro_batch_tokens": {"choices": [None, 64]},
        "method.rank": {"choices": [8, 16]},
    }
    read = reading.parse(minimal | {"search": {"space": dimensions}})
    found = space.distributions(read)
    assert found["train.weight_decay"].choices == (0.01, 0.0)
    assert (found["train.batch_size"].low, found["train.batch_size"].high) == (8, 64)
    assert isinstance(found["train.batch_size"].low, int)
    assert found["train.learning_rate"].log
    assert space.own(read)["method.rank"] == 16
    assert space.holds(read, space.own(read))
    assert not space.holds(read, {**space.own(read), "train.batch_size": 4})
    other = reading.parse(space.applied(read.resolved(), {"train.batch_size": 4, "method.rank": 8}))
    assert (other.train.batch_size, other.method.rank) == (4, 8)
    assert other.train.epochs == read.train.epochs
