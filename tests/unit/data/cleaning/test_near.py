"""Near duplicates against all pairs compared in full."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from ftcore.data.cleaning import near


def texts(count: int) -> list[bytes]:
    draw = random.Random(3)
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(3, 9))) for _ in range(400)]
    made = [" ".join(draw.choices(words, k=draw.randint(8, 20))) for _ in range(count)]
    for place in range(0, count, 3):
        changed = made[place].split()
        changed[draw.randrange(len(changed))] += "s"
        made.append(" ".join(changed))
    return [text.encode() for text in [*made, "ab", "", "ab"]]


def found(all_texts: list[bytes], threshold: float) -> tuple[set[tuple[int, int]], np.ndarray]:
    pairs, scores = near.pairs([all_texts], len(all_texts), lambda some: [all_texts[i] for i in some], threshold)
    return set(map(tuple, pairs.tolist())), scores


@pytest.mark.parametrize("threshold", [0.6, 0.8])
def test_nearly_all_are_found_and_nothing_else(threshold: float) -> None:
    all_texts = texts(600)
    sets = [near.shingles(text) for text in all_texts]
    truth = {
        (a, b)
        for a, b in itertools.combinations(range(len(sets)), 2)
        if sets[a] and len(sets[a] & sets[b]) >= threshold * len(sets[a] | sets[b])
    }
    got, scores = found(all_texts, threshold)
    assert got <= truth
    assert len(got) >= 0.95 * len(truth) > 100
    assert (scores >= threshold).all()


def test_batches_make_no_difference() -> None:
    all_texts = texts(100)
    whole, _ = found(all_texts, 0.8)
    pairs, _ = near.pairs(
        [all_texts[:17], all_texts[17:]], len(all_texts), lambda some: [all_texts[i] for i in some], 0.8
    )
    assert set(map(tuple, pairs.tolist())) == whole


def test_no_text_at_all() -> None:
    assert found([], 0.8)[0] == set()


def test_large_buckets_are_found() -> None:
    base = "the same sentence of some length, copied again and again with number "
    got, _ = found([f"{base}{n}".encode() for n in range(40)], 0.8)
    gone, _ = near.leave_out(np.array(sorted(got)), np.arange(40), lambda one, other: True, 40)
    assert len(gone) == 39


def test_a_text_stays_when_the_one_like_it_goes() -> None:
    pairs = np.array([[0, 1], [1, 2]])
    gone, because = near.leave_out(pairs, np.arange(3), lambda one, other: True, 3)
    assert (gone.tolist(), because.tolist()) == ([1], [0])


@pytest.mark.parametrize("threshold", [0.6, 0.8])
@pytest.mark.parametrize("size", [7, 10_000])
def test_texts_find_their_like_in_a_reference(threshold: float, size: int) -> None:
    every = texts(400)
    ours, reference = every[300:], every[:300]
    sets = [[near.shingles(text) for text in some] for some in (ours, reference)]
    best = np.array([max((near._jaccard(one, other) for other in sets[1]), default=0) for one in sets[0]])
    got = near.matches(ours, (reference[start : start + size] for start in range(0, 300, size)), threshold)
    assert ((got == 0) | (got >= threshold)).all()
    assert not (got > 0)[best < threshold].any()
    assert (got > 0)[best >= threshold].mean() > 0.97
    assert (best >= threshold).sum() > 50


def test_a_like_text_among_many_that_are_nearly_alike_is_found() -> None:
    invoice = "Dear team, the invoice number {} for our {} order was charged twice, please refund it as soon as you can"
    reference = [invoice.format(n, "spring").encode() for n in range(3000)]
    got = near.matches([invoice.format(n, "summer").encode() for n in range(0, 3000, 10)], [reference], 0.8)
    assert (got >= 0.8).mean() > 0.97


def test_nothing_is_like_nothing() -> None:
    assert near.matches([], [[b"some text"]], 0.8).tolist() == []
    assert near.matches([b"some text", b"", b"abc"], [], 0.8).tolist() == [0, 0, 0]
    assert near.matches([b"", b"abc"], [[b"", b"abc"]], 0.8).tolist() == [0, 0], "too short to have a shingle"
