"""Languages are told apart, and short texts are left alone."""

from __future__ import annotations

from ftcore.data.cleaning.language import foreign


def test_other_languages_are_found() -> None:
    texts = [
        "This film was a wonderful surprise from beginning to end.",
        "Dieser Film war von Anfang bis Ende eine wunderbare Überraschung.",
        "Ce film était une merveilleuse surprise du début à la fin.",
        "ja",
    ]
    assert foreign(texts, ["en"], 0.9) == {1: "de", 2: "fr"}
    assert foreign(texts, ["en", "de"], 0.9) == {2: "fr"}
