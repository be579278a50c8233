"""Answers as data sets of questions keep them: SQuAD's texts with the places where they start, or a list of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftcore.data.conversations import printed

UNANSWERABLE = "the question has no answer in its passage (an empty list), and qa learns answers only"


class FormError(ValueError):
    """What is meant as answers and cannot be read as such."""


def first(cell: str, passage: str | None) -> str:
    """The first answer of a cell: a text as it is; of ``{"text": […], "answer_start": […]}`` or a list its first text.

    Args:
        cell: a text; answers as JSON, or as Python and NumPy print them.
        passage: an answer that stands in it as it is written is that text, whatever it looks like.

    Raises:
        FormError: there is no answer, or it is no text.
    """
    bare = cell.strip()
    if bare[:1] not in ("{", "[") or bare[-1:] not in ("}", "]"):
        return cell
    found = _texts(printed.loaded(bare))
    if found is not None and not found:
        raise FormError(UNANSWERABLE)
    if found is None or bare in (passage or ""):
        return cell
    answer = found[0]
    if answer is None:
        raise FormError("answer is missing")
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        raise FormError(f"the answer is no text: {str(answer)[:60]!r}")
    return str(answer)


def _texts(value: Any) -> list[Any] | None:
    """The answers' texts; None where the value is none of the forms."""
    if isinstance(value, Mapping):
        text = value.get("text")
        return None if "text" not in value else text if isinstance(text, list) else [text]
    if not isinstance(value, list):
        return None
    if all(isinstance(one, str | None) for one in value):
        return value
    each = [_texts(one) if isinstance(one, Mapping) else None for one in value]
    return None if None in each else [text for one in each for text in one or ()]
