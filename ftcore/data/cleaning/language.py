"""Which language a text is in: py3langid, whose model ships with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

SHORTEST = 20
"""Characters below which no guess is worth acting on."""


def foreign(texts: Sequence[str], languages: Sequence[str], confidence: float) -> dict[int, str]:
    """Positions of texts in none of the languages, each with the language it is in.

    Args:
        texts: normalised texts.
        languages: ISO 639-1 codes.
        confidence: least probability of the guess; less sure texts count as belonging.
    """
    identify = _identifier()
    found = {}
    for place, text in enumerate(texts):
        if len(text) >= SHORTEST:
            language, sure = identify(text)
            if language not in languages and sure >= confidence:
                found[place] = str(language)
    return found


def guess(texts: Sequence[str]) -> list[str]:
    """ISO 639-1 code of each text's likeliest language; ``und`` for one too short to tell."""
    identify = _identifier()
    return [str(identify(text)[0]) if len(text) >= SHORTEST else "und" for text in texts]


def languages(texts: Sequence[str]) -> dict[str, float]:
    """Share of each language among the texts long enough to tell, the commonest first."""
    identify = _identifier()
    counts = Counter(str(identify(text)[0]) for text in texts if len(text) >= SHORTEST)
    return {language: count / counts.total() for language, count in counts.most_common()}


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True).classify
