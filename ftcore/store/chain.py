"""The ledger as a hash chain: each line has a number and the hash of the line before it, and is signed.

::

    STORE/RECIPE/ledger/KIND--RUN.json          a line, with its number ``n`` and the hash ``before`` it
    STORE/RECIPE/ledger/chain/00000042.json     the same line under its number, with the platform's signature
    STORE/RECIPE/ledger/chain/head.json         the newest number and its hash, so that a writer need not look for it

A number is taken by writing its file where none is yet, so two writers cannot have the same one. The line follows, then
the head. Whoever finds a number without its line writes the line: nothing is lost by a crash between them. Lines that
were written before there was a chain are listed with their hashes by number 0.

The newest number is also kept where whoever changes the store does not reach: in ``FTCORE_HOME``, and on the registered
model. A chain that ends before it was cut off. Nothing is added to it then, but a line of the kind ``acknowledge``: it
lists the numbers that are lost, takes the first number behind them, and names by ``follows`` and ``before`` the newest
line that anybody knows of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.errors import DamagedFileError, FtcoreError
from ftcore.recipe.canonical import sha256
from ftcore.store.files import as_json, content, damaged, log, names_in, read_many, write_bytes
from ftcore.store.keys import Keyring
from ftcore.store.slots import FOLDER, HEAD, Slot, number, order, position, read, signed_head

if TYPE_CHECKING:
    from upath import UPath

SIGNATURE = ".sig.json"
NOTHING_ADDED = ": nothing is added"
KNOWN: dict[tuple[str, str, bytes], dict[str, Any]] = {}
"""Lines that were proven, by store, name and bytes, in the life of a process."""
SIGNED: dict[tuple[str, int, bytes], Slot] = {}
"""Numbers that were proven, by store, number and bytes, in the life of a process."""


@dataclass(frozen=True)
class Chain:
    """The chain of one recipe's ledger."""

    folder: UPath
    """Folder of the ledger."""
    recipe: str
    ring: Keyring
    witness: Path
    """File in ``FTCORE_HOME`` that keeps the newest number."""

    @property
    def slots(self) -> UPath:
        """Folder of the numbers."""
        return self.folder / FOLDER

    def following(self, n: int, data: bytes, before: Slot | None, trusted: frozenset[str]) -> Slot:
        """The slot that follows, with its line and the head written."""
        slot = read(data, self.recipe)
        if slot is None or slot.n != n or slot.line["before"] != (before.hash if before else ""):
            what, slot = f"{FOLDER}/{number(n)} does not follow the line before it", self._behind(n)
        elif fault := slot.fault(trusted):
            what, slot = f"{FOLDER}/{number(n)} {fault}", self._behind(n)
        if slot is None:
            raise self.broken(what)
        self.write_out(slot)
        return slot

    def write_out(self, slot: Slot) -> None:
        """Write the line of a number where it has none, and that it is the newest."""
        if read_many(self.folder, [slot.name]).get(slot.name) is None:
            write_bytes(self.folder / slot.name, as_json(slot.line))
        write_bytes(self.slots / HEAD, as_json(slot.head))
        first = self._kept(self.witness).get("first") or self._first()
        write_bytes(self.witness, as_json(slot.head | {"first": first}))

    def _behind(self, n: int) -> Slot | None:
        """The line that goes on after a number that is lost; None where nobody acknowledged that."""
        later = (one for name in names_in(self.slots) if (one := position(name)) is not None and one > n)
        trusted = self.ring.trusted()
        found = (slot for one in later if (slot := self.slot(one)) and not slot.fault(trusted))
        return next((slot for slot in found if slot.goes_on_after(n)), None)

    def adopted(self) -> Mapping[str, Any]:
        """Records from before records were signed, by place with their hashes, as the chain's number 0 lists them."""
        data = read_many(self.slots, [number(0)]).get(number(0), b"")
        known = str(self.folder), "records", data
        if data and known not in KNOWN:
            slot = read(data, self.recipe)
            if slot is None or slot.n or slot.fault(self.ring.trusted()):
                return {}
            KNOWN[known] = slot.line.get("records", {})
        return KNOWN.get(known, {})

    def newest(self) -> Slot | None:
        """The newest line by the head, and by what follows it; None where there is no chain.

        Raises:
            DamagedFileError: the chain was cut off, or its newest number is not the platform's.
        """
        heads = [head for head in (self.kept(), self._head()) if head]
        for head in sorted(heads, key=lambda head: head["n"], reverse=True):
            slot = self.slot(head["n"]) or self._behind(head["n"])
            if slot is None:
                anew = f"; where the ledger was emptied on purpose, delete {self.witness}" if self._is_empty() else ""
                raise self.gone(int(head["n"]), anew)
            if slot.n == head["n"] and slot.hash != head["hash"]:
                raise self.broken(f"{FOLDER}/{number(int(head['n']))} is another line than it was")
            return slot
        names = [name for name in names_in(self.slots) if name != HEAD]
        if not names:
            return None
        ns = [n for name in names if (n := position(name)) is not None]
        slot = next((slot for n in reversed(ns) if (slot := self.signed(n))), None) or (
            self.slot(ns[-1]) if ns else None
        )
        if slot is None:
            raise self.broken(f"{FOLDER}/{names[-1]} is no line of the platform's")
        return slot

    def has(self, n: int, name: str) -> bool:
        """Whether a number is the platform's, and of the line of this name."""
        slot = self.slot(n)
        return slot is not None and slot.name == name and not slot.fault(self.ring.trusted())

    def signed(self, n: int) -> Slot | None:
        """The line of a number; None where the platform did not sign what is there.

        A machine that has no key at all takes the signer's word.
        """
        data = read_many(self.slots, [number(n)]).get(number(n), b"")
        known = str(self.folder), n, data
        if data and known not in SIGNED:
            slot, trusted = read(data, self.recipe), self.ring.trusted()
            if slot is None or slot.n != n or slot.fault(trusted or frozenset({slot.key})):
                return None
            if not trusted:
                return slot
            SIGNED[known] = slot
        return SIGNED.get(known)

    def is_passed(self, n: int) -> bool:
        """Whether a number is lost, and a later line goes on all the same."""
        return self._behind(n) is not None

    def remember(self, slot: Slot) -> None:
        """Keep the newest line that this machine has seen, so that the ledger cannot end before it later.

        A machine that may not write here does without.
        """
        kept = self.kept()
        if slot.key in self.ring.trusted() and (kept is None or kept["n"] < slot.n):
            with suppress(OSError):
                write_bytes(self.witness, as_json(slot.head))

    def restore(self, n: int) -> None:
        """Write a line's file again as it was signed."""
        slot = self.slot(n)
        if slot and self.has(n, slot.name):
            write_bytes(self.folder / slot.name, as_json(slot.line))

    def kept(self) -> dict[str, Any] | None:
        """The head as this machine keeps it; None where it never wrote a line.

        A store that was moved is known by its chain's first line.
        """
        head = self._kept(self.witness)
        if not head and (first := self._first()):
            there = (self._kept(path) for path in self.witness.parent.glob(f"{self.recipe}-*.json"))
            head = max((one for one in there if one.get("first") == first), key=lambda one: one["n"], default={})
        return {name: head[name] for name in ("n", "hash", "key", "signature")} if head else None

    def _kept(self, path: Path) -> dict[str, Any]:
        """A head that this machine keeps; empty where the file holds none of this recipe."""
        try:
            return signed_head(content(path), self.recipe) or {}
        except OSError:
            return {}

    def _first(self) -> str:
        """What tells this chain from another one: the hash of its first line; empty where that is not there."""
        slot = self.slot(0) or self.slot(1)
        return slot.hash if slot else ""

    def _head(self) -> dict[str, Any] | None:
        head = signed_head(read_many(self.slots, [HEAD]).get(HEAD), self.recipe)
        return head if head and head["key"] in (self.ring.trusted() or {head["key"]}) else None

    def slot(self, n: int) -> Slot | None:
        """What stands under a number, whoever signed it; None where that is no line of this chain."""
        data = read_many(self.slots, [number(n)]).get(number(n))
        slot = None if data is None else read(data, self.recipe)
        return slot if slot and slot.n == n else None

    def signers(self, last: Slot | None) -> frozenset[str]:
        """The keys that may sign; the newest line must be signed by one of them, and this machine must have its own.

        Raises:
            FtcoreError: this machine has not the platform's key.
        """
        trusted = self.ring.trusted()
        if last and last.fault(frozenset({last.key})):
            raise self.broken(f"{FOLDER}/{number(last.n)} is not signed by the platform, or was changed")
        if last and last.key not in trusted:
            raise FtcoreError(
                f"the ledger of {self.recipe} is signed by the key {last.key[:16]}, and this machine has not that key",
                hint=f"{self.ring.bring} after ftcore keys trust {last.key}",
            )
        self.ring.make()
        return trusted | self.ring.trusted()

    def proven(self, lines: dict[str, bytes]) -> dict[str, dict[str, Any]]:
        """The lines that are the platform's, by name, as they were written; others are left out.

        A machine that has no key at all takes the signer's word; whoever checks the chain does not.

        Args:
            lines: bytes of the lines' files, by name.

        Raises:
            DamagedFileError: a file holds no JSON object.
        """
        root = str(self.folder)
        found = {name: KNOWN[root, name, data] for name, data in lines.items() if (root, name, data) in KNOWN}
        asked = {name: self._parsed(name, data) for name, data in lines.items() if name not in found}
        if not asked:
            return found
        numbers = {name: line["n"] if type(line.get("n")) is int else 0 for name, line in asked.items()}
        slots = {n: read(data, self.recipe) for n, data in self._read(numbers.values())}
        if not slots and not names_in(self.slots):  # an old store, which nobody has written to since
            return found | ({} if self.kept() or self.is_refused() else asked)
        trusted = self.ring.trusted()
        for name, line in asked.items():
            slot = slots.get(numbers[name])
            known = slot is not None and not slot.fault(trusted or frozenset({slot.key}))
            if slot and known and slot.name == name:
                found[name] = KNOWN[root, name, lines[name]] = slot.line
            elif slot and known and slot.line.get("lines", {}).get(name) == sha256(lines[name]):
                found[name] = KNOWN[root, name, lines[name]] = line
            else:
                check = f"ftcore ledger {self.recipe} --check"
                log.warning("%s is not in the ledger's chain and does not count: %s", name, check)
        return found

    def is_refused(self) -> bool:
        """Whether lines without a chain count for nothing here, which is logged: this machine has a key."""
        if not self.ring.trusted():
            return False
        error = self.unsigned(len(names_in(self.folder)))
        log.warning("unsigned lines are ignored: %s; %s", error.args[0].removesuffix(NOTHING_ADDED), error.hint)
        return True

    def unsigned(self, count: int) -> FtcoreError:
        """The error of lines that nobody signed, where this machine has a key."""
        lines = f"{count:,} {'line' if count == 1 else 'lines'} of the ledger of {self.recipe}"
        adopts = f"ftcore ledger {self.recipe} --adopt --reason '…' adopts them"
        return FtcoreError(
            f"{lines} {'is' if count == 1 else 'are'} not signed{NOTHING_ADDED}",
            hint=f"where they are older than ftcore's keys, {adopts}; else restore the ledger from a backup",
        )

    def _read(self, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        names = {number(n): n for n in sorted(set(numbers))}
        for name, data in read_many(self.slots, names).items():
            yield names[name], data

    def lines(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Lines of the platform's, in the chain's order; those from before it come first, by their time.

        Raises:
            DamagedFileError: a file holds no JSON object.
        """
        read_now = read_many(self.folder, names)
        found = self.proven(read_now)
        yield from sorted(found.values(), key=order)

    def _parsed(self, name: str, data: bytes) -> dict[str, Any]:
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise damaged(self.folder / name, f"is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise damaged(self.folder / name, "is no line of a ledger")
        return found

    def _is_empty(self) -> bool:
        return not names_in(self.folder) and not names_in(self.slots)

    def gone(self, n: int, more: str = "") -> DamagedFileError:
        """The error of a number that is not there: it names the first that is lost, whichever was looked for."""
        there = set(names_in(self.slots))
        first = next((one for one in range(1, n) if number(one) not in there and not self.is_passed(one)), n)
        return self.broken(f"{FOLDER}/{number(first)} is gone", more)

    def broken(self, what: str, more: str = "") -> DamagedFileError:
        """The error of a chain that does not hold."""
        check = f"ftcore ledger {self.recipe} --check names every break"
        hint = f"{check}; what no backup has can be acknowledged: ftcore ledger {self.recipe} --acknowledge{more}"
        return DamagedFileError(f"the ledger of {self.recipe} is broken: {what}", hint=hint)
