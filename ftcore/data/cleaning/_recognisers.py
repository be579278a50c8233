"""What finds each kind of personal data: Presidio's recognisers with their checksums, widened where people write more.

Presidio takes no address of an internal domain, no IBAN in lower case, no card with dots or a line break in it, no
social security number without dashes, and calls scores of tennis and spans of years phone numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from ftcore.data.cleaning._imports import hidden
from ftcore.errors import ConfigurationError, MissingExtraError

INTERNAL = (
    "local",
    "localdomain",
    "localhost",
    "internal",
    "intranet",
    "corp",
    "lan",
    "home",
    "private",
    "test",
    "example",
)
"""Domains that no public list has and that people write: RFC 2606, RFC 6762, RFC 8375, ICANN's name collisions."""
UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
SEPARATOR = r"(?:[-./_ \u00a0\u2009\u202f]| {2}|[ \t]*\r?\n[ \t]*)?"
CARD = rf"(?<![^\W_])(?!1\d{{12}}(?!\d))(?:4\d{{3}}|5[0-5]\d{{2}}|6\d{{3}}|1\d{{3}}|3\d{{3}}|2\d{{3}}){SEPARATOR}" + (
    rf"\d{{3,4}}{SEPARATOR}\d{{3,4}}{SEPARATOR}\d{{3,5}}(?![^\W_])"
)
NO_PHONE = re.compile(
    r"""(?: \d{2}-\d{7}                                                                # numbers of firms and parts
    |   (?:(?:1[5-9]|20)\d\d \s*[-–/]\s* (?:(?:1[5-9]|20)\d\d|\d\d) [\s,;/]*)+     # spans of years
    |   (?:(?:1[5-9]|20)\d\d [\s,;/.-]*)+                                             # years
    |   (?:\(?\d{1,2} [-–:] \d{1,2} (?:\s*\(\d{1,2}\))? \)? [\s,;]*){2,}              # scores of sets and games
    |   \d{4}[-/.]\d{1,2}[-/.]\d{1,2} .* | \d{1,2}[-/.]\d{1,2}[-/.](?:19|20)\d\d .*   # dates
    )""",
    re.VERBOSE,
)
"""What ``phonenumbers`` takes for a number and is none."""
OWN: dict[str, tuple[str, float, tuple[str, ...]]] = {
    "US_EIN": (r"\b\d{2}-\d{7}\b", 0.1, ("ein", "employer identification", "federal tax", "tax id", "fein")),
    "FR_NIR": (
        r"\b[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}\b",
        0.3,
        ("sécurité sociale", "securite sociale", "nir", "insee", "secu", "sécu"),
    ),
    "FR_TAX_ID": (
        r"\b[0-3]\d(?: ?\d){11}\b",
        0.1,
        ("numéro fiscal", "numero fiscal", "n° fiscal", "référence fiscale", "spi", "identifiant fiscal", "impôt"),
    ),
}
"""Entities that Presidio does not know: pattern, score and the words of which one must stand near."""


CONTEXT_CHARACTERS = 60
"""How near such a word must stand before a finding; behind it half as near."""


def near(words: Sequence[str], text: str, start: int, end: int) -> bool:
    """Whether one of some words begins near a finding."""
    around = text[max(0, start - CONTEXT_CHARACTERS) : end + CONTEXT_CHARACTERS // 2].casefold()
    return any(re.search(rf"\b{re.escape(word.strip().casefold())}", around) for word in words)


@cache
def of(entity: str, phone_regions: tuple[str, ...]) -> list[Any]:
    """What finds an entity, whichever country's it is.

    Raises:
        MissingExtraError: Presidio is not installed.
        ConfigurationError: it knows no such entity.
    """
    try:
        # Presidio imports both for engines that are not used here: 3 s, and 300 MB in every worker.
        with hidden("torch", "transformers"):
            from presidio_analyzer import PatternRecognizer, predefined_recognizers
    except ModuleNotFoundError as error:
        raise MissingExtraError("presidio-analyzer is not installed", hint="pip install 'ftcore[data]'") from error
    if entity == "PHONE_NUMBER":
        return [_Phones(predefined_recognizers.PhoneRecognizer(supported_regions=phone_regions))]
    if entity in OWN:
        return [_own(entity)]
    if entity in _MADE:
        return _MADE[entity](predefined_recognizers)
    made = []
    for one in vars(predefined_recognizers).values():
        if isinstance(one, type) and issubclass(one, PatternRecognizer) and one is not PatternRecognizer:
            maker: Any = one
            try:
                recogniser = maker()
            except TypeError:
                continue  # one that takes more than defaults
            if entity in recogniser.supported_entities:
                made.append(recogniser)
    if not made:
        raise ConfigurationError(f"Presidio has no recogniser of {entity}", hint="see its list of supported entities")
    return made


class _Phones:
    """Presidio's phone numbers without those that are years, dates or scores."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.context = inner, inner.context

    def analyze(self, text: str, entities: Sequence[str], artifacts: Any) -> list[Any]:
        found = self.inner.analyze(text, entities, artifacts)
        return [one for one in found if not NO_PHONE.fullmatch(text[one.start : one.end].strip())]


class _InContext:
    """A recogniser of numbers so plain that one without a word of its context near is none, whatever its checksum."""

    def __init__(self, inner: Any, context: Sequence[str]) -> None:
        self.inner, self.context = inner, list(context)

    def analyze(self, text: str, entities: Sequence[str], artifacts: Any) -> list[Any]:
        found = self.inner.analyze(text, entities, artifacts)
        return [one for one in found if near(self.context, text, one.start, one.end)]


NARROW = {ord("０") + digit: ord("0") + digit for digit in range(10)}
"""Full-width digits, each to its plain one."""


class _Narrow:
    """A recogniser that is given the text with plain digits; each is one character, so that places stay."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.context = inner, inner.context

    def analyze(self, text: str, entities: Sequence[str], artifacts: Any) -> list[Any]:
        return list(self.inner.analyze(text if text.isascii() else text.translate(NARROW), entities, artifacts))


class _Uppercase:
    """A recogniser that is given the text in upper case; only letters of ASCII change, so that places stay."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.context = inner, inner.context

    def analyze(self, text: str, entities: Sequence[str], artifacts: Any) -> list[Any]:
        return list(self.inner.analyze(text.translate(UPPER), entities, artifacts))


class _Spaced(_Uppercase):
    """The same where groups of four are parted by other marks than a blank."""

    MARKS = re.compile("(?<=[A-Z0-9])[.\u00a0\u2009\u202f](?=[A-Z0-9])")

    def analyze(self, text: str, entities: Sequence[str], artifacts: Any) -> list[Any]:
        upper = text.translate(UPPER)
        blank = self.MARKS.sub(" ", upper)
        return list(self.inner.analyze(blank, entities, artifacts)) if blank != upper else []


def _patterns(*patterns: tuple[str, float]) -> list[Any]:
    from presidio_analyzer import Pattern

    return [Pattern(str(number), regex, score) for number, (regex, score) in enumerate(patterns)]


def _own(entity: str) -> Any:
    from presidio_analyzer import PatternRecognizer

    regex, score, context = OWN[entity]
    made: Any = PatternRecognizer(entity, patterns=_patterns((regex, score)), context=list(context))
    if entity == "FR_NIR":
        made.validate_result = _nir
    return made


def _nir(text: str) -> bool:
    """Whether the key of a French social security number is right: 97 less the number modulo 97."""
    digits = text.replace(" ", "").upper().replace("2A", "19", 1).replace("2B", "18", 1)
    return digits.isdigit() and 97 - int(digits[:13]) % 97 == int(digits[13:])


def _emails(recognisers: Any) -> list[Any]:
    from ftcore.data.cleaning._addresses import Addresses

    del recognisers
    return [Addresses(INTERNAL)]


def _cards(recognisers: Any) -> list[Any]:
    pairs = [(mark, "") for mark in "-./_ \n\r\t\u00a0\u2009\u202f"]
    return [_Narrow(recognisers.CreditCardRecognizer(patterns=_patterns((CARD, 0.3)), replacement_pairs=pairs))]


def _social_security(recognisers: Any) -> list[Any]:
    patterns = _patterns((r"\b\d{3}[-. ]\d{2}[-. ]\d{4}\b", 0.5), (r"\b(?:\d{9}|\d{5}-\d{4}|\d{3}-\d{6})\b", 0.1))
    return [recognisers.UsSsnRecognizer(patterns=patterns, context=["ssn", "social security", "soc sec", "ss#"])]


def _foreigners(recognisers: Any) -> list[Any]:
    return [recognisers.EsNieRecognizer(patterns=_patterns((r"\b[XYZ][- ]?\d{7}[- ]?[A-Z]\b", 0.5)))]


_MADE: dict[str, Callable[[Any], list[Any]]] = {
    "EMAIL_ADDRESS": _emails,
    "CREDIT_CARD": _cards,
    "US_SSN": _social_security,
    "ES_NIE": _foreigners,
    "DE_TAX_ID": lambda recognisers: [
        _InContext(recognisers.DeTaxIdRecognizer(), ("steuer", "idnr", "id-nr", "tin", "tax", "identifikationsnummer"))
    ],
    "IBAN_CODE": lambda recognisers: [_Uppercase(recognisers.IbanRecognizer()), _Spaced(recognisers.IbanRecognizer())],
}
