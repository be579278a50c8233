"""Changes of the ledger by somebody who knows how it is built: lines of another key, numbers moved, keys replaced."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ftcore.store import keys
from ftcore.store.files import as_json
from ftcore.store.slots import HEAD, Slot, number, read

if TYPE_CHECKING:
    from tests.bench._tampering import Ring
    from tests.bench._tampering_files import Made


def change(ring: Ring, draw: random.Random) -> Made:
    """Change the chain."""
    slots = [path for path in sorted((ring.store / "ledger" / "chain").glob("*.json")) if path.name != HEAD]
    read_now = [slot for path in slots if (slot := read(path.read_bytes(), ring.registrar.recipe.name))]
    return draw.choice(KINDS)(ring, draw, read_now)


def _path(ring: Ring, slot: Slot) -> Path:
    return ring.store / "ledger" / "chain" / number(slot.n)


def _named(*slots: Slot) -> tuple[str, ...]:
    return tuple(word for slot in slots for word in (f"line {slot.n}:", slot.name, number(slot.n)))


def _write(ring: Ring, slot: Slot) -> None:
    _path(ring, slot).write_bytes(slot.data)
    (ring.store / "ledger" / slot.name).write_bytes(as_json(slot.line))


def _stranger(ring: Ring) -> keys.Keyring:
    """A key that nobody here trusts."""
    folder = ring.folder / "stranger"
    folder.mkdir(exist_ok=True)
    stranger = keys.Keyring(folder)
    stranger.make()
    return stranger


def _foreign(ring: Ring, _: random.Random, slots: list[Slot]) -> Made:
    """A line more, whole and linked, signed by a stranger, with the head."""
    last, name = slots[-1], "reject--eve.json"
    line = {
        "at": "2026-01-01T00:00:00+00:00",
        "kind": "reject",
        "run_id": "eve",
        "decision": "rejected",
        "reason": "no",
    }
    line |= {"by": "eve", "version": ring.number, "n": last.n + 1, "before": last.hash}
    slot = Slot(last.recipe, name, line).sign(_stranger(ring))
    _write(ring, slot)
    (ring.store / "ledger" / "chain" / HEAD).write_bytes(as_json(slot.head))
    return "a line of a foreign key", _named(slot)


def _signed_anew(ring: Ring, draw: random.Random, slots: list[Slot]) -> Made:
    """A line with another reason, signed by a stranger."""
    slot = draw.choice(slots)
    line = {**slot.line, "reason": "as eve says"}
    _write(ring, Slot(slot.recipe, slot.name, line).sign(_stranger(ring)))
    return f"line {slot.n} signed anew", _named(slot)


def _cut_off(ring: Ring, draw: random.Random, slots: list[Slot]) -> Made:
    """The last lines, with a head that fits."""
    keep = draw.randrange(1, len(slots))
    for slot in slots[keep:]:
        _path(ring, slot).unlink()
        (ring.store / "ledger" / slot.name).unlink(missing_ok=True)
    (ring.store / "ledger" / "chain" / HEAD).write_bytes(as_json(slots[keep - 1].head))
    return f"cut after line {slots[keep - 1].n}", _named(slots[keep])


def _swapped(ring: Ring, draw: random.Random, slots: list[Slot]) -> Made:
    """Two numbers."""
    one, other = draw.sample(slots, 2)
    _path(ring, one).write_bytes(other.data)
    _path(ring, other).write_bytes(one.data)
    return f"lines {one.n} and {other.n} swapped", _named(one, other)


def _taken_out(ring: Ring, draw: random.Random, slots: list[Slot]) -> Made:
    """A line with its number."""
    slot = draw.choice(slots)
    _path(ring, slot).unlink()
    (ring.store / "ledger" / slot.name).unlink(missing_ok=True)
    return f"line {slot.n} taken out", _named(slot)


def _of_another(ring: Ring, draw: random.Random, slots: list[Slot]) -> Made:
    """The line of another recipe, signed by the platform."""
    slot = draw.choice(slots)
    ours = ring.registrar.shelf.chain.ring
    if not ours.private.exists():
        return None
    other = Slot("another", slot.name, {**slot.line, "reason": "of another recipe"}).sign(ours)
    _path(ring, slot).write_bytes(other.data)
    return f"line {slot.n} of another recipe", _named(slot)


def _key_replaced(ring: Ring, draw: random.Random, slots: list[Slot]) -> Made:
    """The platform's public key, or both, by a stranger's."""
    stranger = _stranger(ring)
    names = draw.choice([("platform.pem.pub",), ("platform.pem.pub", "platform.pem")])
    for name in names:
        if (ring.keys / name).exists():
            (ring.keys / name).write_bytes((stranger.folder / name).read_bytes())
    return f"{' and '.join(names)} replaced", ("key", *_named(slots[0]))


def _witness(ring: Ring, draw: random.Random, slots: list[Slot]) -> Made:
    """The newest line as this machine keeps it: another, of a stranger, or an older one."""
    path = ring.registrar.shelf.chain.witness
    if not path.exists():
        return None
    how = draw.choice(["older", "of a stranger", "no JSON"])
    slot = draw.choice(slots[:-1]) if how == "older" else slots[-1].sign(_stranger(ring))
    path.write_text("{" if how == "no JSON" else json.dumps(slot.head), encoding="utf-8")
    return f"the machine's head {how}", ("newest line", "head")


def _newer_head(ring: Ring, _: random.Random, slots: list[Slot]) -> Made:
    """A head of a line that there is not, by a stranger."""
    last = slots[-1]
    slot = Slot(last.recipe, "x", {**last.line, "n": last.n + 7}).sign(_stranger(ring))
    (ring.store / "ledger" / "chain" / HEAD).write_bytes(as_json(slot.head))
    return "the store's head of a stranger", ("head", "newest line")


Kind = Callable[["Ring", random.Random, list[Slot]], "Made"]
KINDS: tuple[Kind, ...] = (
    _foreign, _signed_anew, _cut_off, _swapped, _taken_out, _of_another, _key_replaced, _witness, _newer_head,
)  # fmt: skip
