"""A million rows made of real words: VADER's sentences cut into pieces and joined anew, with planted truth.

A piece is four words as somebody wrote them; a row is three to seven pieces of different sentences, so that rows are
of natural length and vocabulary, and alike only where that is planted.
"""

from __future__ import annotations

import json
import random
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ftcore.context import Context, Outcome
from ftcore.data import snapshot, split
from ftcore.data.cleaning import near
from ftcore.recipe.sections import PersonalData, Prepare
from ftcore.store import parts
from ftcore.store.records import Record, now
from ftcore.store.store import RecipeStore
from tests.bench._sentences import load, rows

NEAR, EXACT, PERSONAL = 0.05, 0.05, 0.01
NOTHING = PersonalData(entities=dict.fromkeys(PersonalData().actions, "keep"))
EXACT_ONLY = Prepare(near_duplicates=None, personal_data=NOTHING)
PLANTED = {
    "EMAIL_ADDRESS": ("anna.k{n}@example.org", "m{n}_b@mail.example.co.uk", "x{n}+news@sub.example.com"),
    "PHONE_NUMBER": ("+49 30 9{n:05d}12", "+1 212-555-0{m:03d}", "(415) 555-0{m:03d}"),
    "CREDIT_CARD": ("{card}", "{card_spaced}"),
    "IBAN_CODE": ("{iban}", "{iban_spaced}"),
    "IP_ADDRESS": ("10.{b}.{c}.{d}", "192.168.{c}.{d}", "2001:db8::{b:x}:{c:x}"),
    "US_SSN": ("{s:03d}-{t:02d}-{u:04d}",),
}


def fresh(function: Callable[..., Any], *arguments: object) -> tuple[Any, int]:
    """Call a function in a fresh process; returns its value and the peak memory of it and of its own workers."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, function, arguments).result()


def _measured(function: Callable[..., Any], arguments: tuple[object, ...]) -> tuple[Any, int]:
    value = function(*arguments)
    own, workers = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return value, (own + 2 * workers) * 1024  # two workers at most; each peak is taken as if all came at once


def pieces() -> list[str]:
    """Four-word pieces of all real sentences."""
    found = []
    for domain in ("movie", "tweets", "amazon", "nyt"):
        for row in rows(domain, 100_000):
            words = row["text"].split()
            found += [" ".join(words[i : i + 4]) for i in range(0, len(words) - 3, 4)]
    return found


def make(count: int, root: str) -> dict[str, Any]:
    """Write ``count`` rows as ingest would, under ``root``; returns the truth about them, also in ``truth.json``."""
    import pyarrow as pa
    from upath import UPath

    draw, words = random.Random(17), pieces()
    folder = UPath(root) / "bench" / "runs" / "bench" / "ingest" / "rows"
    writer, keys = parts.Writer(folder, snapshot.schema()), split.load(_shelf(root))
    truth: dict[str, Any] = {"near": [], "exact": [], "personal": {}}
    for batch in _batched(_texts(count, draw, words, truth), parts.ROWS):
        ids = [snapshot.row_id("bench", str(number)) for number, _, _ in batch]
        nothing = [None] * len(batch)
        given = {"row_id": ids, "text": [text for _, text, _ in batch], "label": [label for *_, label in batch]}
        columns = dict.fromkeys(snapshot.COLUMNS, nothing) | given | {"source": ["bench"] * len(batch)}
        writer.add(keys.fill(pa.table(columns, schema=snapshot.schema())))
    writer.close()
    (Path(root) / "truth.json").write_text(json.dumps(truth), encoding="utf-8")
    return truth


def _texts(count: int, draw: random.Random, words: list[str], truth: dict[str, Any]) -> Iterator[tuple[int, str, str]]:
    recent: list[tuple[int, str, str]] = []
    for number in range(count):
        chance = draw.random()
        label = ("negative", "positive")[draw.random() < 0.5]
        if recent and chance < NEAR:
            twin, text, label = draw.choice(recent)
            changed = _change(text, draw)
            if _similar(text, changed) >= 0.8:
                truth["near"].append((snapshot.row_id("bench", str(twin)), snapshot.row_id("bench", str(number))))
            text = changed
        elif recent and chance < NEAR + EXACT:
            twin, text, label = draw.choice(recent)
            text = draw.choice([text.upper, text.lower, lambda text=text: text.replace(" ", "  ")])()
            truth["exact"].append((snapshot.row_id("bench", str(twin)), snapshot.row_id("bench", str(number))))
        else:
            text = " ".join(draw.choice(words) for _ in range(draw.randint(3, 7)))
            if chance > 1 - PERSONAL:
                entity = draw.choice(list(PLANTED))
                value = personal(entity, draw)
                text = f"{text} {value} {draw.choice(words)}"
                truth["personal"][snapshot.row_id("bench", str(number))] = (entity, value)
            elif len(recent) < 20_000:
                recent.append((number, text, label))
            elif draw.random() < 0.2:
                recent[draw.randrange(20_000)] = (number, text, label)
        yield number, text, label


def _change(text: str, draw: random.Random) -> str:
    """One small edit, as people and copyists make them."""
    words = text.split()
    place = draw.randrange(len(words))
    kind = draw.randrange(3)
    if kind == 0:
        words[place] = words[place] + draw.choice("sxy")
    elif kind == 1:
        del words[place]
    else:
        words.append(draw.choice(("really", "indeed", "ok", "imho")))
    return " ".join(words)


def _similar(one: str, other: str) -> float:
    a, b = (near.shingles(snapshot.text_key(text).encode()) for text in (one, other))
    return len(a & b) / len(a | b)


def personal(entity: str, draw: random.Random) -> str:
    """A made-up value with a right checksum."""
    card, iban = _card(draw), _iban(draw)
    fields = {
        "n": draw.randrange(100_000), "m": draw.randrange(100, 200), "b": draw.randrange(256), "c": draw.randrange(256),
        "d": draw.randrange(1, 255), "s": draw.randrange(100, 600), "t": draw.randrange(1, 99),
        "u": draw.randrange(1, 9999), "card": card, "iban": iban,
        "card_spaced": " ".join(card[i : i + 4] for i in range(0, 16, 4)),
        "iban_spaced": " ".join(iban[i : i + 4] for i in range(0, len(iban), 4)),
    }  # fmt: skip
    return draw.choice(PLANTED[entity]).format(**fields)


def _card(draw: random.Random) -> str:
    digits = [4, *(draw.randrange(10) for _ in range(14))]
    total = sum(d if i % 2 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits))
    return "".join(map(str, [*digits, -total % 10]))


def _iban(draw: random.Random) -> str:
    account = "".join(str(draw.randrange(10)) for _ in range(18))
    return f"DE{98 - int(f'{account}131400') % 97:02d}{account}"


def _batched(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def context(root: str, prepare: Prepare, step: str = "prepare") -> Context:
    """A context over the rows that ``make`` wrote, with ingest's record in place."""
    recipe, conf, _ = load()
    shelf = _shelf(root)
    record = Record(step="ingest", recipe="bench", run_id="bench", fingerprint="", started_at=now(),
                    paths={"rows": "runs/bench/ingest/rows"})  # fmt: skip
    shelf.write_record(record)
    changed = recipe.model_copy(update={"name": "bench", "prepare": prepare})
    settings = conf.model_copy(update={"home": Path(root) / "home"})
    return Context(changed, Path(root), "bench", step, {}, shelf, settings)


def _shelf(root: str) -> RecipeStore:
    from upath import UPath

    return RecipeStore(UPath(root) / "bench", "bench", Path(root) / "locks")


def keep(given: Context, outcome: Outcome) -> None:
    """Write the record of ``prepare``, so that ``validate`` can follow."""
    record = Record(step="prepare", recipe="bench", run_id="bench", fingerprint="", started_at=now(),
                    figures=outcome.figures, paths=outcome.paths)  # fmt: skip
    given.shelf.write_record(record)
