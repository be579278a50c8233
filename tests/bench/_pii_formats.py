"""Personal data in the forms in which people write it, with right checksums, and texts that only look like some."""

from __future__ import annotations

import random
from collections.abc import Callable

NAMES = ("Anna Kowalski", "John Smith", "Maria Garcia Lopez", "Wei Zhang", "Priya Sharma", "Jürgen Müller", "O'Brien")
NAMES += ("Fatima Al-Sayed", "Luca Rossi", "Emily Johnson", "Pierre Dubois", "Olga Ivanova", "Kwame Mensah")
AROUND = (
    "please contact {} about the order",
    "My colleague {} wrote back yesterday.",
    "{} called again, nobody answered",
    "I met {} at the station and we talked for an hour",
)
HARDER = ("Gruß, {}", "{}: can you call me back?", "RE: {} / invoice 12", "tell {} i said hi", "cc {}, {} and the team")
PLAIN = (
    "She won 6-4 6-3 7-5 in straight sets",
    "they lost 7-6 (5) 6-4, 6-2 again",
    "open 1998-2003 2005-2009 and from 2015-2020 on",
    "released on 2024-01-15 12:30, updated 2024-02-01",
    "scores of 21-19 21-18 21-7 in the final",
    "see pages 100-200 300-400 and 500-600",
    "sizes 10-12 14-16 18-20 are sold out",
    "the part 12-3456789 fits, so does 98-7654321",
    "the post 123456789 on social media had 40,000 views",
    "it costs 1,299.00 or 12 x 108.25 with 0.0 % interest",
    "order 20230415123 was sent, order 20230415124 was not",
    "version 2.11.0 of 2023 is faster than 2.10.3 by 35.5 %",
    "meet me (at) noon @ the gate, row 12 seat 14",
    "x = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233]",
    "the match ended 2:1, the other 0:0, and 3:2 after 90 minutes",
    "1914 1939 1945 1989 are years to remember",
)
"""Texts without any personal data."""


def planted(count: int) -> list[tuple[str, str, str]]:
    """``count`` values of each form: the entity, the value, and a text with it."""
    draw = random.Random(5)
    found = []
    for entity, context, make in FORMS:
        for _ in range(count):
            value = make(draw)
            found.append((entity, value, draw.choice(AROUND).format(f"{context}{value}")))
    return found


def people(count: int) -> list[tuple[str, str]]:
    """Names of persons, whole, first names alone and in lower case, each with a text that it stands in."""
    draw = random.Random(6)
    found = []
    for _ in range(count):
        name = draw.choice(NAMES)
        name = draw.choice((name, name, name.split()[0], name.lower()))
        found.append((name, draw.choice(AROUND + HARDER).replace("{}", name, 1).replace("{}", "Tom Baker")))
    return found


def _digits(draw: random.Random, count: int) -> str:
    return "".join(str(draw.randrange(10)) for _ in range(count))


def _card(draw: random.Random) -> str:
    number = f"4{_digits(draw, 14)}"
    total = sum(int(d) if n % 2 else sum(divmod(2 * int(d), 10)) for n, d in enumerate(number))
    return number + str(-total % 10)


def _split(text: str, mark: str, width: int = 4) -> str:
    return mark.join(text[start : start + width] for start in range(0, len(text), width))


def _iban(draw: random.Random) -> str:
    account = _digits(draw, 18)
    return f"DE{98 - int(account + '131400') % 97:02d}{account}"


def _ssn(draw: random.Random) -> str:
    return f"{draw.randrange(100, 660)}{draw.randrange(10, 99)}{draw.randrange(1000, 9999)}"


def _nhs(draw: random.Random) -> str:
    while True:
        number = _digits(draw, 9)
        check = 11 - sum(int(d) * (10 - n) for n, d in enumerate(number)) % 11
        if check != 10:
            return number + str(check % 11)


def _pesel(draw: random.Random) -> str:
    number = f"{draw.randrange(40, 99)}{draw.randrange(1, 12):02d}{draw.randrange(1, 28):02d}{_digits(draw, 4)}"
    return number + str(-sum(int(d) * w for d, w in zip(number, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3), strict=True)) % 10)


def _nie(draw: random.Random) -> str:
    first, number = draw.randrange(3), _digits(draw, 7)
    return f"{'XYZ'[first]}{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[int(f'{first}{number}') % 23]}"


def _dashed(number: str) -> str:
    return f"{number[0]}-{number[1:-1]}-{number[-1]}"


def _steuer(draw: random.Random) -> str:
    ten = draw.sample(range(10), 10)
    ten[draw.randrange(1, 10)] = ten[0]  # one digit twice, one not at all
    if ten[0] == 0:
        return _steuer(draw)
    product = 10
    for digit in ten:
        total = (digit + product) % 10 or 10
        product = 2 * total % 11
    return "".join(map(str, ten)) + str((11 - product) % 10)


def _nir(draw: random.Random) -> str:
    number = (
        f"{draw.choice('12')}{_digits(draw, 2)}{draw.randrange(1, 12):02d}{draw.randrange(10, 95)}{_digits(draw, 6)}"
    )
    return f"{number}{97 - int(number) % 97:02d}"


INSIDE = ("corp.internal", "b.local", "x.corp", "box.lan")
"""Domains of companies' own networks."""


def _word(draw: random.Random) -> str:
    return draw.choice(("anna.k", "m_b", "x+news", "sales", "jo"))


Form = tuple[str, str, Callable[[random.Random], str]]
FORMS: tuple[Form, ...] = (
    ("EMAIL_ADDRESS", "", lambda draw: f"{_word(draw)}@{draw.choice(('example.org', 'mail.example.co.uk'))}"),
    (
        "EMAIL_ADDRESS",
        "",
        lambda draw: f"{_word(draw)}@{draw.choice(('corp.internal', 'b.local', 'x.corp', 'box.lan'))}",
    ),
    ("EMAIL_ADDRESS", "", lambda draw: f"{_word(draw)}@localhost"),
    ("EMAIL_ADDRESS", "", lambda draw: f"{_word(draw)} (at) example.com"),
    ("PHONE_NUMBER", "", lambda draw: f"+49 30 9{_digits(draw, 6)}"),
    ("PHONE_NUMBER", "", lambda draw: f"(415) 555-0{_digits(draw, 3)}"),
    ("PHONE_NUMBER", "Tel. ", lambda draw: f"0171/2{_digits(draw, 6)}"),
    ("CREDIT_CARD", "", _card),
    ("CREDIT_CARD", "", lambda draw: _split(_card(draw), "-")),
    ("CREDIT_CARD", "", lambda draw: _split(_card(draw), ".")),
    ("CREDIT_CARD", "", lambda draw: _split(_card(draw), " ").replace(" ", "\n", 1)),
    ("IBAN_CODE", "", _iban),
    ("IBAN_CODE", "", lambda draw: _split(_iban(draw), " ")),
    ("IBAN_CODE", "", lambda draw: _iban(draw).lower()),
    ("IP_ADDRESS", "", lambda draw: f"10.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(256)}"),
    ("US_SSN", "", lambda draw: "{}-{}-{}".format(*_parts(_ssn(draw)))),
    ("US_SSN", "SSN ", _ssn),
    ("US_SSN", "social security number: ", _ssn),
    ("UK_NHS", "NHS ", _nhs),
    ("PL_PESEL", "pesel ", _pesel),
    ("ES_NIE", "NIE ", _nie),
    (
        "ES_NIE",
        "",
        lambda draw: "{0[0]}-{0}".format(_nie(draw)).replace("-X", "-").replace("-Y", "-").replace("-Z", "-"),
    ),
    ("DE_TAX_ID", "Steuer-ID ", _steuer),
    ("FR_NIR", "sécurité sociale ", _nir),
    ("US_ITIN", "ITIN ", lambda draw: f"9{_digits(draw, 2)}-7{_digits(draw, 1)}-{draw.randrange(1000, 9999)}"),
    ("US_EIN", "EIN ", lambda draw: f"{draw.randrange(10, 99)}-{_digits(draw, 7)}"),
)
"""Entity, what stands before the value, and what makes one."""


def _parts(number: str) -> tuple[str, str, str]:
    return number[:3], number[3:5], number[5:]
