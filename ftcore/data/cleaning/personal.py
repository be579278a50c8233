"""Personal data in text: found by Presidio's pattern recognisers, with their checksums, and replaced.

Presidio's engine would run a language model over every text to find what has a pattern. Here a cheap expression per
entity picks the texts that could hold one, a superset of what its recogniser can match, and only those are looked at.
"""

from __future__ import annotations

import hmac
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ftcore.data.cleaning import _addresses, _recognisers, names
from ftcore.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from ftcore.recipe.sections import PersonalData

LEAST_SCORE = 0.4 - 1e-9
"""Presidio's patterns weaker than this need a word of their context near by."""
CONTEXT_GAIN = 0.35
"""What such a word adds, as in Presidio's own context enhancer."""
KEY_VARIABLE = "FTCORE_PSEUDONYM_KEY"
NAMES = {"PERSON": ("PERSON",), "LOCATION": ("GPE", "LOC", "FAC"), "ORGANIZATION": ("ORG",)}
"""Entities that take a language model, and spaCy's labels for them."""
DIGITS = r"\d(?:(?:_|[^\w\n]{0,4})\d){5}"
COULD_HOLD = {
    "EMAIL_ADDRESS": _addresses.COULD_HOLD,
    "URL": r"\w[.][A-Za-z]{2}",
    "IP_ADDRESS": r"\d[.]\d{1,3}[.]\d|::|[0-9A-Fa-f]:[0-9A-Fa-f]{1,4}:",
    "IBAN_CODE": r"[A-Za-z]{2}\d\d",
    "ES_NIF": r"\d{7}",
    "ES_NIE": r"[XYZxyz][- ]?\d{7}",
    "FR_NIR": r"\d(?: ?[\dAB]){12}",
    "IT_FISCAL_CODE": r"[A-Za-z]{6}[0-9LMNP-Vlmnp-v]{2}[A-EHLMPR-Ta-ehlmpr-t][0-9A-Za-z]{7}",
}
"""Per entity what its texts all match. Others are numbers of six digits or more, or hold a digit at least."""
NUMBERS = (
    "CREDIT_CARD",
    "PHONE_NUMBER",
    "US_SSN",
    "US_ITIN",
    "US_EIN",
    "FR_TAX_ID",
    "UK_NHS",
    "PL_PESEL",
    "DE_TAX_ID",
    "AU_TFN",
)
COULD_HOLD |= dict.fromkeys((*NUMBERS, "AU_MEDICARE", "CA_SIN", "IN_AADHAAR", "TR_NATIONAL_ID", "TH_TNIN"), DIGITS)
SPELT = ("at)", "at]", "AT)", "AT]", "(a)", "[a]", " dot ", " DOT ", "&commat;")
"""Some of these is in each address that has neither a sign nor a digit."""
NAMED_SCORE = 0.85
"""How sure a name is, which spaCy does not say: what Presidio's engine takes it for."""
FENCED = re.compile(r"^[ \t]*(```+|~~~+)[^\n]*\n.*?(?:^[ \t]*\1|\Z)", re.MULTILINE | re.DOTALL)
"""A block of code in Markdown."""
PASSES = 8
"""Most times that a text is looked at again: what is left around a replacement may join into something new."""


@dataclass(frozen=True)
class Finding:
    """One piece of personal data; ``start`` and ``end`` count characters. It never holds the value."""

    entity: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Finder:
    """Looks for some entities in texts."""

    entities: tuple[str, ...]
    """Presidio's names, such as ``EMAIL_ADDRESS``."""
    phone_regions: tuple[str, ...]
    """Countries whose phone numbers are known without ``+``."""
    model: str
    """spaCy model for names and places, a package."""
    code: bool = True
    """Whether fenced blocks of code are looked at, too."""

    def find(self, texts: Sequence[str]) -> dict[int, list[Finding]]:
        """Findings by position of the text, in order and not overlapping; texts without any are left out."""
        found: dict[int, list[Finding]] = {}
        if self._prefilter is not None:
            may = self._prefilter.search
            for place, text in enumerate(texts):
                # The second is for "name (at) domain": a look for a string costs nothing beside an expression.
                if (may(text) or any(mark in text for mark in SPELT)) and (there := self._in(text)):
                    found[place] = there
        if self._labels:
            for place, named in enumerate(self._named(texts)):
                if named:
                    found[place] = _apart(found.get(place, []) + named)
        return found if self.code else _outside_code(texts, found)

    @cached_property
    def patterns_only(self) -> Finder:
        """The same without names and places."""
        return replace(self, entities=tuple(self._patterns)) if self._labels else self

    @cached_property
    def _patterns(self) -> list[str]:
        return [entity for entity in self.entities if entity not in NAMES]

    @cached_property
    def _labels(self) -> dict[str, str]:
        return {label: name for name in self.entities for label in NAMES.get(name, ())}

    @cached_property
    def _prefilter(self) -> re.Pattern[str] | None:
        """One quick look that most texts do not pass: every entity but these has a digit, an ``@`` or ``::``."""
        if not self._patterns:
            return None
        without = {name: COULD_HOLD[name] for name in ("IT_FISCAL_CODE", "URL")} | {"IP_ADDRESS": r":[0-9A-Fa-f]*:"}
        return re.compile("|".join([r"[\d@＠﹫]", *(without[e] for e in self._patterns if e in without)]))

    @cached_property
    def _expressions(self) -> list[tuple[re.Pattern[str], list[str]]]:
        """Each expression with the entities that it could hold: most numbers share one, which is looked for once."""
        found: dict[str, list[str]] = {}
        for entity in self._patterns:
            found.setdefault(COULD_HOLD.get(entity, r"\d"), []).append(entity)
        return [(re.compile(expression), entities) for expression, entities in found.items()]

    @cached_property
    def _recognisers(self) -> dict[str, list[Any]]:
        """By entity, made when the first text could hold it: texts without any never wait for Presidio's import."""
        return {}

    def _in(self, text: str) -> list[Finding]:
        found = [
            one
            for could_hold, entities in self._expressions
            if could_hold.search(text)
            for entity in entities
            for one in self._of(entity, text)
        ]
        return _apart(found)

    def _of(self, entity: str, text: str) -> Iterator[Finding]:
        if entity not in self._recognisers:
            self._recognisers[entity] = _recognisers.of(entity, self.phone_regions)
        for recogniser in self._recognisers[entity]:
            for one in recogniser.analyze(text, [entity], None):
                score, words = one.score, recogniser.context or ()
                if score < LEAST_SCORE and _recognisers.near(words, text, one.start, one.end):
                    score += CONTEXT_GAIN
                if score >= LEAST_SCORE:
                    yield Finding(entity, one.start, one.end, score)

    def _named(self, texts: Sequence[str]) -> list[list[Finding]]:
        try:
            found = names.find(self.model, texts, self._labels)
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"finding {', '.join(sorted(set(self._labels.values())))} takes the spaCy model {self.model}",
                hint=f"pip install --no-deps {self.model.replace('_', '-')}",
            ) from error
        return [[Finding(*one, NAMED_SCORE) for one in there] for there in found]


@dataclass
class Cleaner:
    """Replaces personal data as a recipe says, and counts what it did."""

    config: PersonalData
    key: bytes
    """Secret behind the pseudonyms."""
    phones: frozenset[str] = frozenset()
    """Sources whose rows' own ids are phone numbers, as bare numbers."""

    def __post_init__(self) -> None:
        """Find only what is not kept."""
        acted = tuple(entity for entity, action in self.config.actions.items() if action != "keep")
        self.finder = finder(self.config, acted)
        self.counts: Counter[str] = Counter()

    def clean(
        self, texts: Sequence[str], marks: Mapping[int, list[tuple[int, int]]] | None = None
    ) -> tuple[list[str], list[int]]:
        """The texts without personal data, and the positions of those whose rows must go.

        Args:
            texts: any number.
            marks: by position of a text spans in it, which are moved along as it changes; one that shares a character
                with personal data takes in all that stands in its place.
        """
        marks = marks or {}
        cleaned, drop = list(texts), set()
        found = self.finder.find(texts)
        for _ in range(PASSES):
            for place, findings in found.items():
                self.counts.update(one.entity for one in findings)
                if any(self.config.actions[one.entity] == "drop_row" for one in findings):
                    drop.add(place)
                text, spans = cleaned[place], marks.get(place)
                for one in reversed(findings):
                    instead = self._instead(one.entity, text[one.start : one.end])
                    text = text[: one.start] + instead + text[one.end :]
                    if spans:
                        spans[:] = [_moved(span, one, len(instead)) for span in spans]
                cleaned[place] = text
            again = list(found)
            rest = self.finder.find([cleaned[place] for place in again])
            found = {again[place]: findings for place, findings in rest.items()}
            if not found:
                break
        return cleaned, sorted(drop)

    def _instead(self, entity: str, value: str) -> str:
        if self.config.actions[entity] != "pseudonym":
            return f"[{entity}]"
        folded = re.sub(r"[\s\-().]", "", value).casefold() if entity != "URL" else value
        code = hmac.new(self.key, f"{entity}\x00{folded}".encode(), "sha256").hexdigest()
        # Letters only, so that no recogniser takes a pseudonym for a number.
        return f"[{entity} {code[:10].translate(LETTERS)}]"


LETTERS = str.maketrans("0123456789", "ghijklmnop")


def finder(config: PersonalData, entities: Sequence[str]) -> Finder:
    """What looks for some entities as a recipe says."""
    return Finder(tuple(entities), config.phone_regions, config.model, config.code == "clean")


def _moved(span: tuple[int, int], found: Finding, length: int) -> tuple[int, int]:
    """Where a span stands once ``length`` characters are in the place of a finding."""
    start, end = span
    by = length - (found.end - found.start)
    if found.start >= end:
        return span
    if found.end <= start:
        return start + by, end + by
    return min(start, found.start), max(end, found.end) + by


def _outside_code(texts: Sequence[str], found: Mapping[int, list[Finding]]) -> dict[int, list[Finding]]:
    """Findings that touch no fenced block; one without an end goes on to the end of its text."""
    kept = {}
    for place, findings in found.items():
        blocks = [one.span() for one in FENCED.finditer(texts[place])]
        outside = [f for f in findings if not any(f.start < end and f.end > start for start, end in blocks)]
        if outside:
            kept[place] = outside
    return kept


def cleaner(config: PersonalData, environment: Mapping[str, str], recipe: str) -> Cleaner:
    """What cleans as a recipe says.

    Raises:
        ConfigurationError: pseudonyms are asked for and there is no key in the environment.
        MissingExtraError: Presidio is not installed.
    """
    key = environment.get(KEY_VARIABLE, "")
    if "pseudonym" in config.actions.values() and len(key) < 16:
        raise ConfigurationError(
            f"{recipe} asks for pseudonyms, which take a secret of at least 16 characters in {KEY_VARIABLE}",
            hint="python -c 'import secrets; print(secrets.token_hex(32))' makes one; keep it, or pseudonyms change",
        )
    return Cleaner(config, hmac.digest(key.encode(), recipe.encode(), "sha256"))


def _apart(findings: list[Finding]) -> list[Finding]:
    """Findings that do not overlap: what overlaps becomes one, named by the surest and longest."""
    joined: list[list[Finding]] = []
    for one in sorted(findings, key=lambda one: (one.start, -one.end)):
        if joined and one.start < max(other.end for other in joined[-1]):
            joined[-1].append(one)
        else:
            joined.append([one])
    return [
        Finding(
            max(some, key=lambda one: (one.score, one.end - one.start, one.entity)).entity,
            some[0].start,
            max(one.end for one in some),
            max(one.score for one in some),
        )
        for some in joined
    ]
