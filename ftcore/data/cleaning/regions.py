"""Countries whose phone numbers texts may hold, proposed from their languages and the numbers seen in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

SPOKEN: dict[str, tuple[str, ...]] = {
    "ar": ("EG", "SA", "AE"), "bn": ("BD",), "cs": ("CZ",), "da": ("DK",), "de": ("DE", "AT", "CH"), "el": ("GR",),
    "en": ("US", "GB"), "es": ("ES", "MX"), "fa": ("IR",), "fi": ("FI",), "fr": ("FR", "BE", "CH"), "he": ("IL",),
    "hi": ("IN",), "hu": ("HU",), "id": ("ID",), "it": ("IT",), "ja": ("JP",), "ko": ("KR",), "nl": ("NL", "BE"),
    "no": ("NO",), "pl": ("PL",), "pt": ("PT", "BR"), "ro": ("RO",), "ru": ("RU",), "sv": ("SE",), "th": ("TH",),
    "tr": ("TR",), "uk": ("UA",), "vi": ("VN",), "zh": ("CN", "TW"),
}  # fmt: skip
"""Countries where most speakers of a language have their phones, by ISO 639-1 code."""
SHARE = 0.02
"""Smallest share of the texts from which a language counts."""


def seen(texts: Sequence[str], languages: Mapping[str, float]) -> list[str]:
    """ISO 3166 codes of countries, those of international numbers in the texts first, the most frequent before others.

    Args:
        texts: a sample.
        languages: shares of the texts by ISO 639-1 code.
    """
    import phonenumbers

    found: Counter[str] = Counter()
    for text in texts:
        for one in phonenumbers.PhoneNumberMatcher(text, None) if "+" in text else ():
            found[phonenumbers.region_code_for_number(one.number) or ""] += 1
    spoken = [
        country
        for language, share in sorted(languages.items(), key=lambda one: -one[1])
        if share >= SHARE
        for country in SPOKEN.get(language, ())
    ]
    return [country for country in dict.fromkeys([*(code for code, _ in found.most_common()), *spoken]) if country]
