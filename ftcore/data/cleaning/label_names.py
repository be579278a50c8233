"""Labels that are one and written in several ways: with blanks, with invisible characters, as 1, 1.0, true or True.

What a task or a map lists decides: a value is the listed name that it is equal to; else the one that it equals without
blanks and invisible characters at its ends, and invisible ones inside; else the one with the same number, where true
counts as 1 and false as 0. A value that could be two of the names by such a rule is neither of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

Number: TypeAlias = Decimal
_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,40})(?:\.[0-9]{1,40})?")
"""A number as tables and JSON write it. ``007`` is none: it is a code."""
_BOOLEANS = {"true": Decimal(1), "false": Decimal(0)}
STATED = (
    "a label is the listed one that it equals, without blanks and invisible characters at its ends and invisible ones "
    "inside, or with the same number; true is 1, false is 0"
)
"""The rule in a sentence, for manifests."""
LONGEST = 60
"""Characters of a value that a message shows."""
LISTED = 12
"""Names that a message lists."""


def visible(text: str) -> str:
    """The text composed (NFC), without invisible characters, and with one space for every run of blanks inside."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    shown = "".join(one for one in text if unicodedata.category(one) != "Cf")
    return unicodedata.normalize("NFC", " ".join(shown.split()))


def number(text: str) -> Number | None:
    """The number that a text writes, true being 1 and false 0; None where it is neither."""
    text = visible(text)
    if _NUMBER.fullmatch(text):
        return Decimal(text)
    return _BOOLEANS.get(text.lower())


class Names:
    """Names that a task or a map lists, and what each stands for."""

    def __init__(self, names: Iterable[str] | Mapping[str, str]) -> None:
        """Index the names by each rule; those of a task stand for themselves."""
        meanings = dict(names) if isinstance(names, Mapping) else {name: name for name in names}
        self._visible = _unique((visible(name), meaning) for name, meaning in meanings.items())
        numbers = ((number(name), meaning) for name, meaning in meanings.items())
        self._numbers = _unique((value, meaning) for value, meaning in numbers if value is not None)
        self._known: dict[str, str | None] = {**meanings}

    def find(self, value: str) -> str | None:
        """What the name stands for that a value means; None where it means none of them."""
        if value not in self._known:
            if len(self._known) > 100_000:  # labels that somebody wrote freely: nothing is gained by keeping them
                return self._find(value)
            self._known[value] = self._find(value)
        return self._known[value]

    def _find(self, value: str) -> str | None:
        shown = visible(value)
        if shown in self._visible:
            return self._visible[shown]
        meant = number(shown)
        return None if meant is None else self._numbers.get(meant)


def written(value: Any) -> Any:
    """A label that YAML, JSON or a column holds as a number or a boolean, as a text; anything else as it is."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def at_odds(names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Keys of a map that are one label and stand for two: each with the first one of the same label."""
    first: dict[Any, str] = {}
    for name, meaning in names.items():
        value = number(name)
        before = first.setdefault(visible(name) if value is None else value, name)
        if names[before] != meaning:
            yield before, name


def alike(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names that look the same to people: each with the first one that it looks like."""
    first: dict[str, str] = {}
    for name in names:
        before = first.setdefault(visible(name), name)
        if before != name:
            yield before, name


def none_of(value: str, names: Iterable[str], what: str = "label", listed: str = "task.labels") -> str:
    """What is wrong with a value that is none of some names, with the value as ``repr``."""
    return f"{what} {shown(value)} is none of {listed}: {listing(names)}"


def shown(value: str) -> str:
    """A value as ``repr``, with every invisible character written out, and shortened where it is long."""
    short = value if len(value) <= LONGEST else value[: LONGEST - 1] + "…"
    return repr(short)


def listing(names: Iterable[str]) -> str:
    """Names for a message, the first of them where there are many."""
    every = list(names)
    rest = f" and {len(every) - LISTED:,} more" if len(every) > LISTED else ""
    return ", ".join(every[:LISTED]) + rest


def _unique(pairs: Iterable[tuple[Any, str]]) -> dict[Any, str]:
    """By key its one meaning; a key of several meanings is left out."""
    found: dict[Any, str] = {}
    several = set()
    for key, meaning in pairs:
        if found.setdefault(key, meaning) != meaning:
            several.add(key)
    return {key: meaning for key, meaning in found.items() if key not in several}
