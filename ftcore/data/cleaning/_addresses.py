"""E-mail addresses as people write them: run into other words, in wide letters, encoded, or spelt out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

AT = "@|＠|﹫|%40|&#0*64;|&#x0*40;|&commat;"
DOT = "[.．｡。]"
LONGEST = 128
"""Most characters of a name, and twice as many of a domain, so that long runs of letters cost no more than others."""
LOCAL = re.compile(r"[\w.+!#$%&'*=?^`{|}~-]+\Z")
SIGNED = re.compile(rf"(?:{AT})([\w-]+(?:{DOT}[\w-]+)*)")
"""A sign, and what may be a domain with more behind it."""
BRACKETED = re.compile(
    r" ?[(\[{] ?(?:at|a|@) ?[)\]}] ?([\w-]+(?:(?: ?[(\[{] ?(?:dot|\.) ?[)\]}] ?|\.| dot )[\w-]+)+)", re.IGNORECASE
)
ENDINGS = "com|org|net|edu|gov|info|biz|io|de|fr|uk|eu|ca|ch|nl|pl|es|au|jp"
"""Endings that are no words: "meet at noon dot" is no address, nor is "look at polka dot it"."""
COMMON = re.compile(ENDINGS, re.IGNORECASE)
SPELT = re.compile(rf" at ([\w-]+(?: dot [\w-]+)*? dot (?:{ENDINGS}))\b(?! dot \w)", re.IGNORECASE)
MARKS = re.compile(rf" ?[(\[{{] ?(?:dot|\.) ?[)\]}}] ?| dot |{DOT}", re.IGNORECASE)
STARTS = re.compile(r"^(?:[\W_]|%[0-9A-F]{2})+")
GLUED = re.compile(r"[A-Za-z]+?(?=_|\d|(?<=[a-z])[A-Z])")
"""The beginning of a last label to which another word was glued: ``com_backup``, ``comSent``, ``com2``."""
COULD_HOLD = rf"(?:{AT})\w|(?i:[(\[{{] ?(?:at|a|@) ?[)\]}}]| dot )"
"""What every text with an address matches."""


class Addresses:
    """Finds addresses whose domain has a public suffix, from the list that ships with tldextract, or is internal."""

    context: tuple[str, ...] = ()

    def __init__(self, internal: Sequence[str]) -> None:
        """Read the list; nothing is looked up."""
        import tldextract

        self._extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
        self._internal = frozenset(internal)

    def analyze(self, text: str, entities: Sequence[str], artifacts: Any) -> list[Any]:
        """What ``presidio_analyzer`` would call its results."""
        from presidio_analyzer import RecognizerResult

        del entities, artifacts
        return [RecognizerResult("EMAIL_ADDRESS", start, end, 1.0) for start, end in self._spans(text)]

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        for one in SIGNED.finditer(text):
            length = self._length(one[1][: 2 * LONGEST])
            if length and (start := _name(text, one.start())) is not None:
                yield start, one.start(1) + length
        spelt = [BRACKETED] if any(mark in text for mark in "([{") else []
        spelt += [SPELT] if " dot " in text.lower() else []
        for expression in spelt:
            for one in expression.finditer(text):
                start = _name(text, one.start())
                if start is not None and self._is_domain(MARKS.sub(".", one[1])):
                    yield start, one.end()

    def _length(self, domain: str) -> int:
        """How many characters of it are a domain: labels that are none at its end are left out, and glued words cut.

        Then only behind an ending that is no word, or where a sentence begins: ``a@b.to_list`` is code.
        """
        ends = [one.start() for one in re.finditer(DOT, domain)]
        if self._is_domain(MARKS.sub(".", domain)):
            return len(domain)
        for start, end in reversed(list(pairwise([*(one + 1 for one in ends), len(domain) + 1]))):
            cut = GLUED.match(domain, start)
            for stop in (end - 1, *([cut.end()] if cut and cut.end() < end else [])):
                plain = COMMON.fullmatch(domain, start, stop) or domain[stop + 1 : stop + 2].isupper()
                if plain and self._is_domain(MARKS.sub(".", domain[:stop])):
                    return stop
        return 0

    def _is_domain(self, domain: str) -> bool:
        return domain.rpartition(".")[2].lower() in self._internal or self._extract(domain).fqdn != ""


def _name(text: str, end: int) -> int | None:
    """Where the name that ends somewhere begins; None where nothing stands there."""
    first = max(0, end - LONGEST)
    found = LOCAL.search(text[first:end])
    if not found:
        return None
    lead = STARTS.match(found[0])
    return first + found.start() + (lead.end() if lead and lead.end() < len(found[0]) else 0)
