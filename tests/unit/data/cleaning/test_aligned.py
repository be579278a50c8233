"""Answers stay pieces of their passages, tags stay on their words, whatever is cleaned and masked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftcore.data.cleaning import aligned, personal
from ftcore.data.cleaning.rows import Editor
from ftcore.recipe.sections import PersonalData

CLEANER = personal.cleaner(PersonalData(), {}, "r")
PIECES = [
    "Window &amp; Rabbit",
    "<b>",
    "anna@example.org",
    "cafÃ©",
    "“x”",
    "+49 30 901820",
    "a  \n b",
    "ﬁ",
    "word",
    ",",
    "\u2028",
]
ODD = ["a\u00a0b", "Â\u00a0", "\x07", "4111 1111 1111 1111"]


def passages(text: str, answer: str) -> tuple[str, str | None]:
    (cleaned,), (piece,) = aligned.passages(Editor(CLEANER), [text], [answer], [0])
    return cleaned, piece


@pytest.mark.parametrize(
    ("text", "answer", "piece"),
    [
        ("<p>Window &amp; Rabbit</p>", "Window &amp; Rabbit", "Window &amp; Rabbit"),
        ("write to anna@example.org today", "anna", "[EMAIL_ADDRESS]"),
        ("write to anna@example.org, today", "to anna@example.org, today", "to [EMAIL_ADDRESS], today"),
        ("the cafÃ© is open", "cafÃ©", "café"),
        ("x  \n y b  \nz", "y b  \nz", "y b\nz"),
        ("my social security number is 536904399", "536904399", "[US_SSN]"),
    ],
)
def test_an_answer_stays_a_piece_of_its_passage(text: str, answer: str, piece: str) -> None:
    assert passages(text, answer)[1] == piece


def test_an_answer_that_is_none_stays_none() -> None:
    assert passages("a passage", "elsewhere")[1] == "elsewhere"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6), st.data())
def test_any_piece_of_a_passage_is_one_afterwards(pieces: list[str], data: st.DataObject) -> None:
    text = " ".join(pieces)
    start = data.draw(st.integers(0, len(text) - 1))
    answer = text[start : data.draw(st.integers(start + 1, len(text)))]
    if not answer.strip():
        return
    cleaned, piece = passages(text, answer)
    assert piece is not None
    assert piece in cleaned
    assert passages(cleaned, piece) == (cleaned, piece)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([*PIECES, *ODD]), min_size=1, max_size=6))
def test_as_many_words_after_as_before(pieces: list[str]) -> None:
    text = " ".join(pieces)
    (once,) = aligned.words(Editor(CLEANER), [text], [0])
    assert len(once.split()) == len(text.split())
    assert aligned.words(Editor(CLEANER), [once], [0]) == [once]
    assert "@" not in once


def test_personal_data_that_spans_words_is_replaced_in_each() -> None:
    assert aligned.words(Editor(CLEANER), ["call +49 30 901820, now"], [0]) == [
        "call [PHONE_NUMBER] [PHONE_NUMBER] [PHONE_NUMBER], now"
    ]
