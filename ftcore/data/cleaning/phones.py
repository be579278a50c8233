"""Sources whose rows' own ids are phone numbers, told by all of a source's ids: one bare number tells nothing."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.data.cleaning.personal import Finder

BARE = re.compile(r"\d{7,15}")
"""A phone number without its plus sign, by its length: E.164 has fifteen digits at most."""
SAMPLE = 1_000
"""Ids of a source that are looked at."""
SHARE = 0.9
"""Smallest share of them that one country's people would dial: of random numbers of ten digits it is .71 in India,
.39 in the United States, and next to none where national numbers begin with a zero."""
MANY, DENSE = 20, 100
"""From so many ids on they are a counter, not phone numbers, where one in so many numbers of their range is used."""


def sources(rows: Iterable[tuple[str | None, str | None]], finder: Finder) -> frozenset[str]:
    """Names of the sources whose ids, as far as they are bare numbers, are phone numbers.

    Args:
        rows: source and own id of each row; of many ids those with the lowest hashes are looked at, whatever the order.
        finder: looks for phone numbers, or does not, and knows the countries.
    """
    if "PHONE_NUMBER" not in finder.entities:
        return frozenset()
    some: dict[str, set[str]] = {}
    for source, own in rows:
        if own and BARE.fullmatch(own):
            there = some.setdefault(source or "", set())
            there.add(own)
            if len(there) > 4 * SAMPLE:
                some[source or ""] = _lowest(there)
    return frozenset(source for source, ids in some.items() if _dialled(_lowest(ids), finder.phone_regions))


def bare(rows: pa.Table) -> Iterator[tuple[str | None, str | None]]:
    """Source and own id of the rows of a table whose ids are bare numbers, of which most sources have none."""
    import pyarrow.compute as pc

    some = rows.filter(pc.match_substring_regex(rows["source_id"], r"^\p{Nd}{7,15}$"))
    yield from zip(some["source"].to_pylist(), some["source_id"].to_pylist(), strict=True)


def is_one(own: str | None, source: str | None, among: frozenset[str]) -> TypeGuard[str]:
    """Whether a row's own id is a bare phone number.

    Args:
        own: the id.
        source: of the row.
        among: sources whose ids are phone numbers.
    """
    return bool(own) and (source or "") in among and BARE.fullmatch(own or "") is not None


def _lowest(ids: set[str]) -> set[str]:
    return set(sorted(ids, key=lambda one: (zlib.crc32(one.encode()), one))[:SAMPLE])


def _dialled(ids: set[str], regions: tuple[str, ...]) -> bool:
    """Whether nearly all of some numbers are phone numbers of one country, and no counter made them."""
    numbers = sorted(map(int, ids))
    if len(numbers) >= MANY and numbers[-1] - numbers[0] < DENSE * len(numbers):
        return False
    return any(sum(_is_phone(one, region) for one in ids) >= SHARE * len(ids) for region in regions)


def _is_phone(number: str, region: str) -> bool:
    """Whether somebody in a country would write a number so: with the zero before it, or the code of the country."""
    import phonenumbers

    if any(True for _ in phonenumbers.PhoneNumberMatcher(number, region)):
        return True
    code = phonenumbers.country_code_for_region(region)
    return any(one.number.country_code == code for one in phonenumbers.PhoneNumberMatcher(f"+{number}", None))
