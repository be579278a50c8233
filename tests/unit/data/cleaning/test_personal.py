"""Personal data: real recognisers on made-up values with right checksums."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest

from ftcore.data.cleaning import _recognisers, personal, regions
from ftcore.data.cleaning.personal import KEY_VARIABLE, Cleaner, Finder, cleaner
from ftcore.errors import ConfigurationError
from ftcore.recipe.sections import PersonalData

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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to john.doe@corp.internal.", "write to [EMAIL_ADDRESS]."),
        ("a@b.local, user@localhost", "[EMAIL_ADDRESS], [EMAIL_ADDRESS]"),
        ("john (at) example.com", "[EMAIL_ADDRESS]"),
        ("mail _bob@acme.com_ now", "mail _[EMAIL_ADDRESS]_ now"),
        ("bob@acme.com_backup", "[EMAIL_ADDRESS]_backup"),
        ("bob@acme.comSent from my phone", "[EMAIL_ADDRESS]Sent from my phone"),
        ("bob@acme.com.Then we", "[EMAIL_ADDRESS].Then we"),
        ("bob@acme.it.Then we", "[EMAIL_ADDRESS].Then we"),
        ("contact/bob@acme.co.uk/inbox", "contact/[EMAIL_ADDRESS]/inbox"),
        ("bob＠acme．com", "[EMAIL_ADDRESS]"),
        ("mailto:bob%40acme.com?x", "mailto:[EMAIL_ADDRESS]?x"),
        ("BOB AT ACME DOT COM", "[EMAIL_ADDRESS]"),
        ("bob&#64;acme.com", "[EMAIL_ADDRESS]"),
        ("bob at acme dot com", "[EMAIL_ADDRESS]"),
        ("write bob(a)acme.com or bob [at] acme [dot] com", "write [EMAIL_ADDRESS] or [EMAIL_ADDRESS]"),
        ("card 4111  1111  1111  1111", "card [CREDIT_CARD]"),
        ("card 4111_1111_1111_1111", "card [CREDIT_CARD]"),
        ("card 4111/1111/1111/1111", "card [CREDIT_CARD]"),
        ("card 4111\u20091111\u20091111\u20091111", "card [CREDIT_CARD]"),
        ("card ４１１１ １１１１ １１１１ １１１１", "card [CREDIT_CARD]"),
        ("iban DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000", "iban [IBAN_CODE]"),
        ("iban DE89.3704.0044.0532.0130.00", "iban [IBAN_CODE]"),
        ("iban de89 3704 0044 0532 0130 00 bitte", "iban [IBAN_CODE] bitte"),
        ("card 4111.1111.1111.1111", "card [CREDIT_CARD]"),
        ("card 4111\n1111 1111 1111", "card [CREDIT_CARD]"),
        ("SSN 536904399", "SSN [US_SSN]"),
        ("social security number 536904399", "social security number [US_SSN]"),
        ("NIE X1234567L or X-1234567-L", "NIE [ES_NIE] or [ES_NIE]"),
        ("Steuer-ID 86095742719", "Steuer-ID [DE_TAX_ID]"),
        ("EIN 12-3456789", "EIN [US_EIN]"),
        ("sécurité sociale 1 84 12 76 451 089 46", "sécurité sociale [FR_NIR]"),
        ("numéro fiscal 30 23 217 600 053", "numéro fiscal [FR_TAX_ID]"),
    ],
)
def test_numbers_and_addresses_in_the_forms_that_people_write(text: str, expected: str) -> None:
    assert made().clean([text])[0] == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "won 6-4 6-3 7-5 today",
        "won 7-6 (5) 6-4, 6-2",
        "1998-2003 2005-2009",
        "2001 2002 2003 2004",
        "on 2024-01-15 12:30",
        "post 123456789 on social media",
        "part 12-3456789",
        "order 20230415123",
        "meet me (at) noon",
        "foo@bar",
        "part 98-7654321",
        "meet at noon dot",
        "look at the polka dot dress at home dot",
        "look at polka dot it",
        "f(a) is b(a).",
        "x(a)self.method",
        "@property and a@b.method",
        "X@w.to_list() and X@w.is.method",
        "print(a)",
    ],
)
def test_scores_years_dates_and_part_numbers_stay(text: str) -> None:
    assert made().clean([text])[0] == [text]


def test_long_runs_cost_no_more_than_others() -> None:
    text = "ab.c-d" * 20_000
    begun = time.process_time()
    assert made().clean([f"{text} a@b.c {text}@example.org@{text} (at) {text}"])[0][0].count("[EMAIL_ADDRESS]") == 1
    assert time.process_time() - begun < 20


def test_regions_are_those_of_the_numbers_and_languages_seen() -> None:
    texts = ["ring +48 600 123 456", "oder +49 30 901820", "nochmals +49 30 901821"]
    assert regions.seen(texts, {"de": 0.9, "pl": 0.09, "fi": 0.01}) == ["DE", "PL", "AT", "CH"]


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
    with pytest.raises(ConfigurationError, match=KEY_VARIABLE):
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
    with pytest.raises(ConfigurationError, match="NO_SUCH_THING"):
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
    code = "import sys; from ftcore.data.cleaning.personal import cleaner;"
    code += "from ftcore.recipe.sections import PersonalData;"
    code += "print(cleaner(PersonalData(), {}, 'x').clean(['to a@example.org'])[0], 'torch' in sys.modules);"
    code += "import torch, transformers; print(torch.ones(1).item())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["['to [EMAIL_ADDRESS]'] False", "1.0", ""]
