"""Words of a text in any script, for metrics that compare texts by words.

A word is a run of letters, marks and digits, as in Unicode's annex 29. Scripts that put no spaces between words (Han,
Hiragana, Katakana, Thai, Lao, Khmer, Myanmar and their like) are compared by characters, each with its marks.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regex import Pattern

# Line_Break=SA are the scripts of South East Asia whose lines are broken by dictionary only: Unicode's annex 14.
_UNSPACED = r"\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Bopomofo}\p{Script=Yi}\p{Line_Break=SA}ー"
_ARTICLES = frozenset(("a", "an", "the"))


@cache
def _pattern(name: str) -> Pattern[str]:
    import regex

    joined = r"\p{M}\u200c\u200d"  # marks, and joiners inside words of Persian and Devanagari
    character = rf"[[{_UNSPACED}]&&[\p{{L}}\p{{N}}]][{joined}]*"
    return regex.compile(
        {
            "character": character,
            "word": rf"{character}|[[\p{{L}}\p{{N}}]--[{_UNSPACED}]][[\p{{L}}\p{{N}}{joined}]--[{_UNSPACED}]]*",
            "other_letter": r"[\p{L}--\p{Script=Latin}]",
            "stripped": r"[\p{P}!-/:-@\[-`{-~]",
        }[name],
        regex.VERSION1,
    )


def words(text: str) -> list[str]:
    """Words in lower case; of a text without any, such as an emoji, its characters.

    For ASCII these are the tokens of ``rouge_score``.
    """
    folded = _folded(text)
    return _pattern("word").findall(folded) or list("".join(folded.split()))


def answer_words(text: str) -> list[str]:
    """Words of an answer without punctuation, and in texts of Latin script without English articles.

    For ASCII these are the words of SQuAD's evaluation: P. Rajpurkar et al. (2016).
    """
    plain = _pattern("stripped").sub("", _folded(text, lower=True))
    tokens = plain.split()
    if not _pattern("other_letter").search(plain):
        tokens = [token for token in tokens if token not in _ARTICLES]
    return [piece for token in tokens for piece in _characters(token)]


def spaced(text: str, like: str) -> str:
    """A text as BLEU's tokenizers take it: the characters of unspaced scripts stand apart.

    Args:
        text: what was written, or the right text.
        like: the right text, whose script decides how both are tokenized.

    Returns:
        Tokens with spaces between them: by ``13a``, mteval's, where the right text is of Latin script, as in
        sacrebleu's default; else by ``intl``, which knows the punctuation of all scripts.
    """
    text = text.rstrip()
    if not _pattern("other_letter").search(like):
        return str(_tokenizer("13a")(text))
    apart = _pattern("character").sub(lambda found: f" {found[0]} ", text)
    return str(_tokenizer("intl")(apart))


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    Source: H. Hyyrö (2004), *Bit-parallel LCS-length computation revisited*: the row of the usual table is one integer,
    so that texts compared by characters take no longer than texts compared by words.
    """
    places: dict[str, int] = {}
    for place, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << place
    every = row = (1 << len(one)) - 1
    for token in other:
        hit = row & places.get(token, 0)
        row = ((row + hit) | (row - hit)) & every
    return len(one) - row.bit_count()


def _folded(text: str, *, lower: bool = False) -> str:
    wide = unicodedata.normalize("NFKC", text)
    return wide.lower() if lower else unicodedata.normalize("NFKC", wide.casefold())


def _characters(token: str) -> Iterator[str]:
    """The pieces of a token: characters of unspaced scripts, and what stands between them."""
    start = 0
    for found in _pattern("character").finditer(token):
        yield from filter(None, (token[start : found.start()], found[0]))
        start = found.end()
    yield from filter(None, (token[start:],))


@cache
def _tokenizer(name: str) -> Any:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
    from sacrebleu.tokenizers.tokenizer_intl import TokenizerV14International

    return {"13a": Tokenizer13a, "intl": TokenizerV14International}[name]()
