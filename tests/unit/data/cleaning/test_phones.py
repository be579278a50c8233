"""Which sources call their rows by phone numbers: all ids of a source tell it together."""

from __future__ import annotations

import random

import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftcore.data.cleaning import personal, phones
from ftcore.recipe.sections import PersonalData

CONFIG = PersonalData()
FINDER = personal.cleaner(CONFIG, {}, "r").finder


def of(ids: list[str], finder: personal.Finder = FINDER) -> bool:
    return phones.sources([("s", one) for one in ids], finder) == {"s"}


def mobiles(region: str, count: int, *, abroad: bool) -> list[str]:
    """Numbers like the country's example of a mobile phone, as people there write them without blanks."""
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    draw, found, form = random.Random(region), set(), phonenumbers.PhoneNumberFormat
    while len(found) < count:
        one = phonenumbers.PhoneNumber(
            country_code=example.country_code, national_number=example.national_number + draw.randrange(10**6)
        )
        text = phonenumbers.format_number(one, form.E164 if abroad else form.NATIONAL)
        found.add("".join(sign for sign in text if sign.isdigit()))
    return sorted(found)


@pytest.mark.parametrize("count", [1, 5, 300])
@pytest.mark.parametrize("abroad", [False, True])
@pytest.mark.parametrize("region", CONFIG.phone_regions)
def test_phone_numbers_of_each_country_are_some(region: str, abroad: bool, count: int) -> None:
    numbers = mobiles(region, count, abroad=abroad)
    assert of(numbers)
    assert of([*numbers, *map(str, range(1000)), "anna@example.org", "A-1"]), "short numbers and others tell nothing"
    slips = [f"{number}0"[:12] for number in numbers[: count // 20]]
    assert of([*numbers, *slips])


DRAW = random.Random(1)
COUNTERS = {
    "from one on": [str(n) for n in range(1, 3000)],
    "from a million on": [str(10**6 + n) for n in range(3000)],
    "in a block of phone numbers": [str(2025550000 + n) for n in range(3000)],
    "in steps of ten": [str(2025550000 + 10 * n) for n in range(3000)],
    "padded with zeros": [f"{n:010d}" for n in range(1, 3000)],
    "seconds": [str(1_700_000_000 + 60 * n) for n in range(3000)],
    "days": [f"2026{month:02d}{day:02d}" for month in range(1, 13) for day in range(1, 29)],
    **{f"random of {d} digits": [str(DRAW.randrange(10 ** (d - 1), 10**d)) for _ in range(3000)] for d in range(7, 16)},
    "none": [],
}


@pytest.mark.parametrize("kind", COUNTERS)
def test_numbers_of_machines_are_none(kind: str) -> None:
    assert not of(COUNTERS[kind])


def test_it_does_not_depend_on_the_order_and_ends_where_phone_numbers_are_kept() -> None:
    mixed = [*mobiles("DE", 2700, abroad=False), *(str(10**9 + n * 7919) for n in range(310))]
    found = set()
    for seed in range(5):
        random.Random(seed).shuffle(mixed)
        found.add(of(mixed))
    assert len(found) == 1
    kept = personal.cleaner(PersonalData(entities={"PHONE_NUMBER": "keep"}), {}, "r").finder
    assert not of(mobiles("US", 50, abroad=False), kept)


@given(st.lists(st.none() | st.text("0123456789٣५a \n", max_size=17)))
def test_bare_numbers_are_told_alike_in_tables(ids: list[str | None]) -> None:
    table = pa.table({"source": ["s"] * len(ids), "source_id": pa.array(ids, pa.string())})
    assert list(phones.bare(table)) == [("s", one) for one in ids if one and phones.BARE.fullmatch(one)]
