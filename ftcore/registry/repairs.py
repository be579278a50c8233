"""How a break of the ledger is put right where what is signed tells how: no backup is needed, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from ftcore.errors import DamagedFileError
from ftcore.registry import intents
from ftcore.registry.intents import HEAD_TAG
from ftcore.store import ledger
from ftcore.store.files import as_json, mapping, names_in, read_many, set_aside, write_bytes
from ftcore.store.ledger import HEADS, Audit, Break
from ftcore.store.slots import Slot, number, position, read
from ftcore.tracking import registered

if TYPE_CHECKING:
    from ftcore.store.store import RecipeStore
    from ftcore.tracking.client import Tracking


@dataclass(frozen=True)
class Repair:
    """What puts a break right."""

    hint: str
    """What it does, and what a person does then; without ``do``, what a person does first."""
    do: Callable[[], object] | None = None
    """Puts it right; None where only a person can tell whose it is."""


@dataclass(frozen=True)
class Repairs:
    """The repairs of a ledger as it is now; look again after each of them."""

    shelf: RecipeStore
    tracking: Tracking

    @cached_property
    def strangers(self) -> Mapping[int, str]:
        """Numbers that somebody signed with a key that is not trusted here, with the key: the platform's, or not."""
        settled = {*self._audit.chained, *(one.n for one in self._audit.breaks if one.acknowledged)}
        found = {}
        for name, data in self._numbers.items():
            slot = read(data, self.shelf.name)
            whole = slot is not None and position(name) == slot.n and not slot.fault(frozenset({slot.key}))
            if slot and whole and slot.n not in settled:
                found[slot.n] = slot.key
        return found

    def trust(self, key: str) -> str:
        """What to do about lines that a key signed which is not trusted here."""
        return (
            f"ftcore keys trust {key}, where it is the platform's: compare it with ftcore keys ls on a machine that "
            f"signs; else ftcore ledger {self.shelf.name} --acknowledge --reason '…' goes on without what it signed"
        )

    def of(self, one: Break) -> Repair | None:
        """The repair of a break; None where only a backup has what was there."""
        if one.line == HEADS:
            return self._of_head()
        if one.n is not None:
            return self._of_number(one, one.n)
        there = one.line.endswith(".json") and (self.shelf.chain.folder / one.line).exists()
        return self._of_file(one.line) if there else None

    def _of_head(self) -> Repair | None:
        """Of what is kept elsewhere of the newest line."""
        if _is_known_here(self.shelf, _newest(self.shelf)):
            hint = "write it again, since this machine knows it; find out who took it away"
            return Repair(hint, partial(intents.witness, self.shelf, self.tracking))
        return Repair(self.trust(min(self.strangers.values()))) if self.strangers else None

    def _of_number(self, one: Break, n: int) -> Repair | None:
        """Of a line with a number."""
        chain = self.shelf.chain
        if chain.has(n, one.line):
            return Repair("write the signed line again, and find out who changed it", partial(chain.restore, n))
        if n in self._genuine:
            return self._rebuilt(self._genuine[n])
        if n in self.strangers:
            return Repair(self.trust(self.strangers[n]))
        newest = _newest(self.shelf)
        path = chain.slots / number(n)
        if newest is None or n <= newest or not path.exists() or any(slot.n == n for slot in self._unchained.values()):
            return None
        hint = "set it aside as .unrecognized, since no line of the platform's has this number; find out who wrote it"
        return Repair(hint, partial(set_aside, path, "unrecognized"))

    def _of_file(self, name: str) -> Repair:
        """Of a file that is not in the chain: genuine, perhaps genuine, or somebody else's."""
        slot = self._unchained.get(name)
        if slot and self._genuine.get(slot.n) is slot:
            return self._rebuilt(slot)
        if self.strangers:
            return Repair(self.trust(min(self.strangers.values())))
        n = self._may_be(name)
        if n is not None:
            hint = f"restore chain/{number(n)} from a backup: this may be its line, and is left where it is"
            return Repair(f"{hint}; what no backup has: ftcore ledger {self.shelf.name} --acknowledge --reason '…'")
        aside = partial(set_aside, self.shelf.chain.folder / name, "unrecognized")
        return Repair("set it aside as .unrecognized, and find out who wrote it", aside)

    def _rebuilt(self, slot: Slot) -> Repair:
        """Write the number's file of a genuine line again."""
        ring, newest = self.shelf.chain.ring, self._audit.newest
        if newest and newest["hash"] == slot.hash:  # its signature is kept with its hash
            slot = replace(slot, key=newest["key"], signature=newest["signature"])
        elif not ring.private.exists():
            return Repair(ring.bring)
        hint = (
            f"write chain/{number(slot.n)} again from the line, which what is signed proves; find out who took it away"
        )
        return Repair(hint, partial(_rebuild, self.shelf, slot))

    def _may_be(self, name: str) -> int | None:
        """The missing number whose line a file may be; None where there is none."""
        slot, proofs = self._unchained.get(name), self._proofs
        if slot is None or slot.n in self._audit.chained or slot.n in proofs:
            is_old = slot is None and "n" not in mapping(self._files.get(name)) and self._is_missing(0)
            return 0 if is_old else None  # number 0 lists the lines from before there was a chain
        return slot.n if self._is_missing(slot.n) else None

    def _is_missing(self, n: int) -> bool:
        """Whether there was a line of this number for sure, and it does not hold now."""
        chained, newest = self._audit.chained, self._audit.newest
        if n in chained or newest is None or n > int(newest["n"]):
            return False
        return n > 0 or 1 not in chained or chained[1].line["before"] != ""

    @cached_property
    def _genuine(self) -> dict[int, Slot]:
        """Lines that lost their number, and that what follows them proves; each proves the one before it."""
        proofs, found = dict(self._proofs), dict[int, Slot]()
        for slot in sorted(self._unchained.values(), key=lambda slot: -slot.n):
            if slot.n not in self._audit.chained and slot.n not in self.strangers and proofs.get(slot.n) == slot.hash:
                found[slot.n] = slot
                proofs[slot.n - 1] = slot.line["before"]
        return found

    @cached_property
    def _proofs(self) -> dict[int, str]:
        """Hashes of numbers, by what is signed: the line after them, or a head."""
        found = {
            int(slot.line["follows"] if slot.lost else n - 1): str(slot.line["before"])
            for n, slot in self._audit.chained.items()
        }
        newest = self._audit.newest
        return found | ({int(newest["n"]): str(newest["hash"])} if newest else {})

    @cached_property
    def _unchained(self) -> dict[str, Slot]:
        """Files of lines that say a number and are in none, as the platform would have written them."""
        found = {name: mapping(data) for name, data in self._files.items()}
        return {
            name: Slot(self.shelf.name, name, line)
            for name, line in found.items()
            if type(line.get("n")) is int and isinstance(line.get("before"), str) and as_json(line) == self._files[name]
        }

    @cached_property
    def _audit(self) -> Audit:
        head = registered.model(self.tracking).tags.get(f"ftcore.{HEAD_TAG}")
        return ledger.audit(self.shelf, head)

    @cached_property
    def _numbers(self) -> dict[str, bytes]:
        """Files of numbers, by name."""
        slots = self.shelf.chain.slots
        return read_many(slots, [name for name in names_in(slots) if position(name) is not None])

    @cached_property
    def _files(self) -> dict[str, bytes]:
        """Files in the ledger that are the line of no number, by name."""
        folder, chained = self.shelf.chain.folder, {slot.name for slot in self._audit.chained.values()}
        return read_many(folder, [name for name in names_in(folder) if name not in chained])


def _rebuild(shelf: RecipeStore, slot: Slot) -> None:
    """Write a number's file anew; what was there instead is set aside."""
    chain = shelf.chain
    path = chain.slots / number(slot.n)
    if chain.has(slot.n, slot.name):
        return
    data = (slot if slot.signature else slot.sign(chain.ring)).data
    if path.exists():
        set_aside(path, "unrecognized")
    write_bytes(path, data)


def _newest(shelf: RecipeStore) -> int | None:
    """Number of the newest line; None where the chain was cut off."""
    try:
        last = shelf.chain.newest()
    except DamagedFileError:
        return None
    return last.n if last else None


def _is_known_here(shelf: RecipeStore, newest: int | None) -> bool:
    """Whether the newest line is the one that this machine keeps."""
    kept, last = shelf.chain.kept(), shelf.chain.newest() if newest is not None else None
    return bool(kept and last and kept["n"] == last.n and kept["hash"] == last.hash)
