"""Names and places by the real spaCy model."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from ftcore.data.cleaning import names
from ftcore.data.cleaning.personal import KEY_VARIABLE, Cleaner, Finder, cleaner
from ftcore.errors import MissingExtraError
from ftcore.recipe.sections import PersonalData

SECRET = {KEY_VARIABLE: "0123456789abcdef-secret"}
LABELS = {"PERSON": "PERSON", "GPE": "LOCATION", "ORG": "ORGANIZATION"}
MODEL = PersonalData().model


def made(**entities: str) -> Cleaner:
    return cleaner(PersonalData(entities=entities), SECRET, "demo")


def test_names_places_and_organisations_are_masked() -> None:
    one = made(PERSON="mask", LOCATION="mask", ORGANIZATION="mask")
    texts, drop = one.clean(["Angela Merkel met Emmanuel Macron in Paris.", "I called Microsoft.", "a dull plot"])
    assert texts == ["[PERSON] met [PERSON] in [LOCATION].", "I called [ORGANIZATION].", "a dull plot"]
    assert drop == []
    assert one.counts == {"PERSON": 2, "LOCATION": 1, "ORGANIZATION": 1}


def test_one_name_has_one_pseudonym_and_another_has_another() -> None:
    one = made(PERSON="pseudonym", LOCATION="pseudonym")
    (a, b, c), _ = one.clean(["I met Angela Merkel.", "I met Angela Merkel.", "I met Emmanuel Macron."])
    assert a == b != c
    assert "Merkel" not in a
    assert a.startswith("I met [PERSON ")


def test_patterns_and_names_stand_side_by_side() -> None:
    (text,), _ = made(PERSON="mask").clean(["I asked John Smith (john@example.org) about +1 212-555-0123."])
    assert text == "I asked [PERSON] ([EMAIL_ADDRESS]) about [PHONE_NUMBER]."


@pytest.mark.parametrize("action", ["mask", "pseudonym"])
def test_what_is_cleaned_is_clean(action: str) -> None:
    draw = random.Random(3)
    people, places = ["John Smith", "Angela Merkel", "Dr. Maria Rossi"], ["Paris", "New York", "the Baltic Sea"]
    shapes = ["{p}'s phone is +1 212-555-0123", "{p} of {l}, john@example.org", "{l}: {p}, {p} and {p} from {l}!"]
    texts = [draw.choice(shapes).format(p=draw.choice(people), l=draw.choice(places)) for _ in range(60)]
    config = PersonalData(entities=dict.fromkeys(["PERSON", "LOCATION", "ORGANIZATION"], action))
    cleaned, _ = cleaner(config, SECRET, "demo").clean(texts)
    assert Finder(tuple(config.actions), config.phone_regions, config.model).find(cleaned) == {}


def test_a_text_too_long_for_the_model_is_looked_at_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "PIECE", 60)
    text = "nothing to see here at all. " * 5 + "Then Angela Merkel came from Berlin."
    (found,) = names.find(MODEL, [text], LABELS)
    assert [(entity, text[start:end]) for entity, start, end in found] == [
        ("PERSON", "Angela Merkel"),
        ("LOCATION", "Berlin"),
    ]
    assert names.find(MODEL, ["x" * 200], LABELS) == [[]]


def test_replacements_are_no_names() -> None:
    text = "John [PHONE_NUMBER] Smith [PERSON abcdefghij]"
    assert [text[a:b] for a, b in names._outside(text, 0, len(text))] == ["John", "Smith"]
    assert names._outside("[PHONE_NUMBER]", 1, 13) == []


def test_the_model_is_loaded_once_a_process() -> None:
    made(PERSON="mask").clean(["Angela Merkel"])
    loads = names._language.cache_info().misses
    made(PERSON="mask", LOCATION="mask").clean(["Angela Merkel"])
    assert names._language.cache_info().misses == loads


def test_a_model_that_is_not_there_is_named() -> None:
    config = PersonalData(entities={"PERSON": "mask"}, model="no_such_model")
    with pytest.raises(MissingExtraError, match="no_such_model") as told:
        cleaner(config, {}, "demo").clean(["Angela Merkel"])
    assert "pip install --no-deps no-such-model" in told.value.hint


def test_the_model_brings_no_torch_along() -> None:
    code = f"import sys; from ftcore.data.cleaning import names; names.find({MODEL!r}, ['Angela Merkel'], {LABELS!r});"
    code += "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
