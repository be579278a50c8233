"""Names of groups and rows: one that is personal data stands under a pseudonym, so that they stay apart, nameless."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ftcore.data.cleaning import phones

if TYPE_CHECKING:
    from ftcore.data.cleaning.personal import Cleaner, Finder, Finding
    from ftcore.data.split import SplitKeys

PSEUDONYM = re.compile(r"\[(?:GROUP|ID) [a-p]{16}\]")
"""A group or id whose name was replaced before, as rows of an earlier snapshot have it."""
PLAIN = re.compile(
    r"\d{1,12}|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|(?=[0-9]*[A-Fa-f])[0-9A-Fa-f]{16,64}"
)
"""Ids as machines make them: a number, a UUID, a hash. Most numbers of ten digits are phone numbers somewhere: whether
those of a source are, all of them tell together (``cleaning.phones``)."""
NUMBERED = re.compile(r"\w+ \d+")
"""Where a row stands in what was read: ``line 12``."""
PATHS = ("URL", "PERSON", "LOCATION", "ORGANIZATION")
"""Entities that are not looked for in where a row came from: a file may be called ``notes.md`` or lie in ``London``."""


def pseudonymous(groups: Sequence[str | None], cleaner: Cleaner, keys: SplitKeys) -> list[str | None]:
    """The groups, each that holds personal data under its pseudonym; a pseudonym stays what it is.

    Args:
        groups: one a row; None where there is none.
        cleaner: finds what the recipe calls personal data.
        keys: the recipe's split keys, whose secret the pseudonyms are made with: they stay when other secrets change.
    """
    named = sorted({group for group in groups if group and not PSEUDONYM.fullmatch(group)})
    cleaned, _ = cleaner.clean(named)
    instead = {name: keys.pseudonym(name) for name, clean in zip(named, cleaned, strict=True) if clean != name}
    return [instead.get(group, group) if group else None for group in groups] if instead else list(groups)


def telling(ids: Iterable[str | None], finder: Finder) -> list[str]:
    """Ids that hold personal data, each once. Numbers of up to twelve digits, UUIDs and hashes are none."""
    some = sorted({one for one in ids if one and not PLAIN.fullmatch(one) and not PSEUDONYM.fullmatch(one)})
    return [some[place] for place in sorted(finder.find(some))]


def in_origins(
    origins: Sequence[str | None], ids: Sequence[str | None], finder: Finder
) -> Iterator[tuple[int, list[Finding]]]:
    """Positions of origins that hold personal data besides the row's own id, and what it is."""
    split = [_parts(origin, own) for origin, own in zip(origins, ids, strict=True)]
    found = _in_heads(split, finder)
    yield from ((place, found[head]) for place, (head, _) in enumerate(split) if head in found)


def traced(
    ids: Sequence[str | None],
    origins: Sequence[str | None],
    sources: Sequence[str | None],
    cleaner: Cleaner,
    keys: SplitKeys,
) -> tuple[list[str | None], list[str | None]]:
    """Rows' own ids and origins without personal data: ids under a pseudonym, origins with the entity in its place.

    Args:
        ids: of the rows at their source; None where they have none.
        origins: where each stands, such as ``data/a.csv, line 3``; it may end with the id.
        sources: names of the rows' sources.
        cleaner: finds what the recipe calls personal data, and knows which sources call their rows by phone numbers.
        keys: the recipe's split keys: an id and a group of one name have one pseudonym.
    """
    instead = {one: keys.pseudonym(one, "ID") for one in telling(ids, cleaner.finder)}
    split = [_parts(origin, own) for origin, own in zip(origins, ids, strict=True)]
    masked: dict[str, str] = {}
    for head, found in _in_heads(split, cleaner.finder).items():
        text = head
        for one in reversed(found):
            text = f"{text[: one.start]}[{one.entity}]{text[one.end :]}"
        masked[head] = text
    if not instead and not masked and not cleaner.phones:
        return list(ids), list(origins)
    named = [
        keys.pseudonym(own, "ID") if phones.is_one(own, source, cleaner.phones) else own and instead.get(own, own)
        for own, source in zip(ids, sources, strict=True)
    ]
    told = [
        f"{masked.get(head, head)}{new if own and tail == own else tail}"
        for (head, tail), own, new in zip(split, ids, named, strict=True)
    ]
    return named, [origin and new for origin, new in zip(origins, told, strict=True)]


def _in_heads(split: Iterable[tuple[str, str]], finder: Finder) -> dict[str, list[Finding]]:
    look = replace(finder, entities=tuple(one for one in finder.entities if one not in PATHS))
    heads = sorted({head for head, _ in split if head})
    return {heads[place]: found for place, found in look.find(heads).items()}


def _parts(origin: str | None, own: str | None) -> tuple[str, str]:
    """An origin in what many rows share and what is the row's own: its id at the end, or its line."""
    origin = origin or ""
    if own and origin.endswith(own):
        return origin.removesuffix(own), own
    head, comma, tail = origin.rpartition(", ")
    return (head, comma + tail) if NUMBERED.fullmatch(tail) else (origin, "")
