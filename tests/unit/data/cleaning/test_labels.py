"""Planted wrong labels come out on top."""

from __future__ import annotations

import random

import numpy as np

from ftcore.data.cleaning.labels import doubtful


def test_planted_errors_are_listed() -> None:
    draw = random.Random(5)
    good, bad = ["great", "lovely", "superb", "fine"], ["awful", "boring", "terrible", "poor"]
    texts, labels = [], []
    for number in range(400):
        words = good if number % 2 else bad
        texts.append(" ".join([*draw.choices(words, k=3), *draw.choices(["film", "plot", "cast", "scene"], k=3)]))
        labels.append("positive" if number % 2 else "negative")
    wrong = {3, 50, 121, 300}
    for place in wrong:
        labels[place] = "negative" if labels[place] == "positive" else "positive"
    found = doubtful(texts, labels)
    assert {place for place, _, _ in found} == wrong
    assert all(other != labels[place] and sure < 0.5 for place, other, sure in found)


def test_too_few_rows_give_no_opinion() -> None:
    assert doubtful(["a", "b"], ["x", "y"]) == []


def test_meaning_finds_what_words_cannot() -> None:
    draw = random.Random(7)
    side = [number % 2 for number in range(400)]
    texts = [f"w{number} x{draw.randrange(10**6)}" for number in range(400)]  # no word comes twice
    vectors = np.array([[one * 2 - 1 + draw.gauss(0, 0.3), draw.gauss(0, 1)] for one in side])
    wrong = set(draw.sample(range(400), 20))
    labels = [str(1 - one if place in wrong else one) for place, one in enumerate(side)]
    found = {place for place, _, _ in doubtful(texts, labels, lambda some: vectors[: len(some)])}
    assert len(found & wrong) >= 18
    assert len(found - wrong) <= 4
    assert len({place for place, _, _ in doubtful(texts, labels)} & wrong) < 18
