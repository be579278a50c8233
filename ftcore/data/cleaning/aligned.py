"""Texts that point into each other, cleaned together: answers stay pieces of their passages, tags keep their words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from ftcore.data.cleaning import normalise

if TYPE_CHECKING:
    from ftcore.data.cleaning.rows import Editor


_BLANKS = re.compile(r"[ \t\n\r\f\v]+")


def split_words(text: str | None) -> list[str]:
    """The words of a text. Only ASCII blanks part them: a no-break space belongs to its word."""
    return [word for word in _BLANKS.split(text or "") if word]


def passages(
    editor: Editor, texts: Sequence[str | None], answers: Sequence[str | None], places: Sequence[int]
) -> tuple[list[str], list[str | None]]:
    """Passages and their answers cleaned; an answer that is a piece of its passage is one afterwards.

    Where personal data covers a part of an answer, the answer takes in the whole of what stands in its place.

    Args:
        editor: cleans, and keeps which rows must go.
        texts: passages.
        answers: one a passage; None where there is none.
        places: position of the row that each belongs to.
    """
    cleaned = [normalise.clean(text, lines=True) for text in texts]
    found = [_piece(text, answer, new) for text, answer, new in zip(texts, answers, cleaned, strict=True)]
    marks = {place: [span] for place, span in enumerate(found) if span}
    cleaned = editor.masked(cleaned, places, marks)
    pieces = [cleaned[n][slice(*marks[n][0])] if n in marks else answer for n, answer in enumerate(answers)]
    # By itself an answer may read as personal data where in its passage it does not, and the other way round.
    there = [n for n, piece in enumerate(pieces) if piece is not None]
    alone = editor.texts([pieces[n] for n in there], [places[n] for n in there], lines=True)
    for n, own in zip(there, alone, strict=True):
        if n in marks and own != pieces[n] and own.strip() and pieces[n]:
            cleaned[n] = cleaned[n].replace(str(pieces[n]), own)
        pieces[n] = own
    return cleaned, pieces


def words(editor: Editor, texts: Sequence[str | None], places: Sequence[int]) -> list[str]:
    """Texts whose words have a tag each, cleaned word by word: as many words after as before.

    Personal data that spans words is replaced in each of them.
    """
    split = [[_word(word) for word in split_words(text)] for text in texts]
    marks: dict[int, list[tuple[int, int]]] = {}
    for number, row in enumerate(split):
        at, marks[number] = 0, []
        for word in row:
            marks[number].append((at, at + len(word)))
            at += len(word) + 1
    joined = [" ".join(row) for row in split]
    cleaned = editor.masked(joined, places, marks)
    return [
        old if old == new else " ".join("_".join(split_words(new[start:end])) for start, end in marks[number])
        for number, (old, new) in enumerate(zip(joined, cleaned, strict=True))
    ]


def _word(word: str) -> str:
    """One word without mojibake, as long as it stays one word."""
    fixed = normalise.clean(word, lines=True)
    return fixed if len(split_words(fixed)) == 1 and len(fixed) == len(fixed.strip()) else word


def _piece(raw: str | None, answer: str | None, new: str) -> tuple[int, int] | None:
    """Where the answer of a raw passage stands in the normalised one; None where it stood nowhere."""
    answer = (answer or "").strip()
    if not answer or not raw:
        return None
    own = answer if answer in new else normalise.clean(answer, lines=True)
    at = new.find(own) if own else -1
    if at >= 0:
        return at, at + len(own)
    start = raw.find(answer)
    if start < 0:
        return None
    span = _moved(raw, new, start), _moved(raw, new, start + len(answer))
    inside = new[slice(*span)]
    span = span[0] + len(inside) - len(inside.lstrip()), span[1] - (len(inside) - len(inside.rstrip()))
    return span if span[1] > span[0] else None


def _moved(old: str, new: str, at: int) -> int:
    """The place in a text that a place in its earlier wording became."""
    head = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    if at <= head:
        return at
    rest = min(len(old), len(new)) - head
    pairs = zip(reversed(old), reversed(new), strict=False)
    tail = next((n for n, (a, b) in enumerate(pairs) if a != b or n == rest), rest)
    if at >= len(old) - tail:
        return len(new) - (len(old) - at)
    match = SequenceMatcher(None, old[head : len(old) - tail], new[head : len(new) - tail], autojunk=False)
    for _, a, b, c, d in match.get_opcodes():
        if a <= at - head < b:
            return head + min(c + at - head - a, d)
    return len(new) - tail
