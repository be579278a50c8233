"""Personal data: real recognisers on made-up values with right checksums."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from ftcore.cleaning import _recognisers, personal
from ftcore.cleaning.personal import KEY_VARIABLE, Cleaner, Finder, cleaner
from ftcore.errors import MissingExtraError
from ftcore.sections import PersonalData

SECRET = {KEY_VARIABLE: "0123456789abcdef-secret"}
VALUES = {
    "EMAIL_ADDRESS": "anna.k@example.org",
    "PHONE_NUMBER": "+49 30 901820",
    "CREDIT_CARD": "4111 1111 1111 1111",
    "IBAN_CODE": "DE89 3704 0044 0532 0130 00",
    "IP_ADDRESS": "192.168.7.14",
    "US_SSN": "536-22-4417",
    "PL_PESEL": "44051401359",
    "IT_FISCAL_CODE": "RSSMRA85T10A562S",
    "ES_NIF": "12345678Z",
    "UK_NHS": "943 476 5919",
}


def made(**entities: str) -> Cleaner:
    return cleaner(PersonalData(entities=entities), SECRET, "demo")


@pytest.mark.parametrize("entity", VALUES)
def test_each_kind_is_masked(entity: str) -> None:
    value = VALUES[entity]
    one = made()
    (text,), drop = one.clean([f"Please write to {value} before noon."])
    assert value not in text
    assert text.startswith("Please write to [")
    assert text.endswith("] before noon.")
    assert drop == []
    assert sum(one.counts.values()) == 1


def test_a_wrong_checksum_is_no_card() -> None:
    (text,), _ = made(PHONE_NUMBER="keep").clean(["4111 1111 1111 1112"])
    assert text == "4111 1111 1111 1112"


def test_plain_text_stays() -> None:
    texts = ["Rated 7/10 in 2026, seen 3 times: 12:30, 14:45.", "50% off @ noon", ""]
    assert made().clean(texts)[0] == texts


def test_pseudonyms_are_stable_within_the_recipe_and_differ_between() -> None:
    one = made(EMAIL_ADDRESS="pseudonym")
    (a, b, c), _ = one.clean(["to Anna@example.org now", "to anna@example.org now", "to bob@example.org now"])
    assert a == b != c
    assert "example" not in a
    config = PersonalData(entities={"EMAIL_ADDRESS": "pseudonym"})
    assert cleaner(config, SECRET, "other").clean(["to anna@example.org now"])[0] != [a]


def test_pseudonyms_take_a_key() -> None:
    with pytest.raises(MissingExtraError, match=KEY_VARIABLE):
        cleaner(PersonalData(entities={"EMAIL_ADDRESS": "pseudonym"}), {}, "demo")


def test_rows_can_be_dropped_and_kinds_kept() -> None:
    texts, drop = made(US_SSN="drop_row", EMAIL_ADDRESS="keep").clean(["mine is 536-22-4417", "a@example.org"])
    assert drop == [0]
    assert "4417" not in texts[0]
    assert texts[1] == "a@example.org"


def test_what_is_cleaned_is_clean() -> None:
    texts = [f"{a} {b} and {a}" for a in VALUES.values() for b in VALUES.values()]
    config = PersonalData(entities=dict.fromkeys(VALUES, "pseudonym"))
    cleaned, _ = cleaner(config, SECRET, "demo").clean(texts)
    assert Finder(tuple(VALUES), config.phone_regions, config.model).find(cleaned) == {}


def test_an_unknown_entity_is_named() -> None:
    with pytest.raises(MissingExtraError, match="NO_SUCH_THING"):
        made(NO_SUCH_THING="mask").clean(["1234567"])


def test_the_quick_look_misses_nothing_that_a_recogniser_finds() -> None:
    draw = random.Random(1)
    config = PersonalData()
    finder = Finder(tuple(config.actions), config.phone_regions, config.model)
    recognisers = {one: _recognisers.of(one, finder.phone_regions) for one in finder.entities}
    odd = ["RSSMRA8RTMLARSNS", "1234567-Z", "0043 1 58858-0", "(0)30 9018-20", "fe80::1%eth0", "1:2:3:4:5:6:7:8"]
    odd += ["::ffff:1.2.3.4", "NL91ABNA0417164300", "+33 1 42 68 53 00", "07700 900123", "::1"]
    found = 0
    for _ in range(400):
        value = list(draw.choice([*odd, *VALUES.values()]))
        for _ in range(draw.randrange(3)):
            value[draw.randrange(len(value))] = draw.choice("0123456789 -./()xABZ:")
        text = f"see {''.join(value)} now"
        for entity, some in recognisers.items():
            if any(one.score >= personal.LEAST_SCORE for r in some for one in r.analyze(text, [entity], None)):
                found += 1
                assert entity in {one.entity for one in Finder((entity,), finder.phone_regions, "").find([text])[0]}
    assert found > 150


def test_presidio_brings_no_torch_along() -> None:
    code = "import sys; from ftcore.cleaning.personal import cleaner; from ftcore.sections import PersonalData;"
    code += "print(cleaner(PersonalData(), {}, 'x').clean(['to a@example.org'])[0], 'torch' in sys.modules);"
    code += "import torch, transformers; print(torch.ones(1).item())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["['to [EMAIL_ADDRESS]'] False", "1.0", ""]
