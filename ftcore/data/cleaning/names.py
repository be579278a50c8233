"""Names of persons, places and organisations, found by a spaCy model."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

from ftcore.data.cleaning._imports import hidden

PIECE = 50_000
"""Most characters that the language model is given at once: it takes a gigabyte for a million."""
REPLACEMENT = re.compile(r"\[[A-Z_]{3,}(?:[ _][a-p]{10})?\]")
AROUND = 60
"""Characters in which a replacement that a name runs into begins or ends."""


def find(model: str, texts: Sequence[str], labels: Mapping[str, str]) -> list[list[tuple[str, int, int]]]:
    """Names by text, each as its entity, start and end; a long text is looked at in pieces, cut where a word ends.

    Args:
        model: package of a spaCy model.
        texts: any number; the model is given many at once.
        labels: the entity by the model's own label; names with another label are left out.

    Raises:
        ModuleNotFoundError: the model is not installed.
    """
    found: list[list[tuple[str, int, int]]] = [[] for _ in texts]
    pieces = ((text[start:end], (place, start)) for place, text in enumerate(texts) for start, end in _pieces(text))
    for doc, (place, offset) in _language(model).pipe(pieces, as_tuples=True, batch_size=256):
        for name in doc.ents:
            if entity := labels.get(name.label_):
                spans = _outside(texts[place], offset + name.start_char, offset + name.end_char)
                found[place] += [(entity, start, end) for start, end in spans]
    return found


@cache
def _language(model: str) -> Any:
    """A spaCy model, loaded once a process, with no more than finding names takes."""
    # spaCy imports torch where it can, for models that are transformers; without their packages it is for nothing.
    unneeded = (
        () if any(map(find_spec, ("spacy_transformers", "spacy_curated_transformers"))) else ("torch", "transformers")
    )
    with hidden(*unneeded):
        return importlib.import_module(model).load(exclude=["tagger", "parser", "lemmatizer", "attribute_ruler"])


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while len(text) - start > PIECE:
        end = text.rfind(" ", start, start + PIECE) + 1
        end = end if end > start else start + PIECE
        yield start, end
        start = end
    yield start, len(text)


def _outside(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """What of a name is not a replacement: a mask is written like a name, and must not be found again."""
    spans, at = [], start
    for one in REPLACEMENT.finditer(text, max(0, start - AROUND), min(len(text), end + AROUND)):
        if one.start() < end and one.end() > at:
            spans.append((at, one.start()))
            at = one.end()
    spans.append((at, end))
    trimmed = [(high - len(text[low:high].lstrip()), low + len(text[low:high].rstrip())) for low, high in spans]
    return [(low, high) for low, high in trimmed if any(map(str.isalnum, text[low:high]))]
