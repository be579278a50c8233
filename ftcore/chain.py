"""The ledger as a hash chain: each line has a number and the hash of the line before it, and is signed.

::

    STORE/RECIPE/ledger/KIND--RUN.json          a line, with its number ``n`` and the hash ``before`` it
    STORE/RECIPE/ledger/chain/00000042.json     the same line under its number, with the platform's signature
    STORE/RECIPE/ledger/chain/head.json         the newest number and its hash, so that a writer need not look for it

A number is taken by writing its file where none is yet, so two writers cannot have the same one. The line follows, then
the head. Whoever finds a number without its line writes the line: nothing is lost by a crash between them. Lines that
were written before there was a chain are listed with their hashes by number 0.

The newest number is also kept where whoever changes the store does not reach: in ``FTCORE_HOME``, and on the registered
model. A chain that ends before it was cut off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore import keys
from ftcore.errors import DamagedFileError, FtcoreError
from ftcore.files import as_json, create_bytes, damaged, log, mapping, names_in, read_many, write_bytes
from ftcore.keys import Keyring
from ftcore.records import canonical, sha256

if TYPE_CHECKING:
    from upath import UPath

FOLDER, HEAD, SIGNATURE = "chain", "head.json", ".sig.json"
ADOPTED = "ledger--adopted.json"
"""The line that lists the lines from before there was a chain."""
KNOWN: dict[tuple[str, str, bytes], dict[str, Any]] = {}
"""Lines that were proven, by store, name and bytes, in the life of a process."""


@dataclass(frozen=True)
class Slot:
    """A number of the chain, with its line."""

    recipe: str
    name: str
    """File name of the line."""
    line: dict[str, Any]
    key: str = ""
    """Public key that signed it, in hex."""
    signature: str = ""

    @property
    def n(self) -> int:
        """Its number."""
        return int(self.line["n"])

    @cached_property
    def hash(self) -> str:
        """SHA-256 of what is signed."""
        return sha256(canonical({"recipe": self.recipe, "name": self.name, "line": self.line}))

    @property
    def data(self) -> bytes:
        """The bytes of its file."""
        parts = {"recipe": self.recipe, "name": self.name, "line": self.line}
        return as_json(parts | {"key": self.key, "signature": self.signature})

    @property
    def head(self) -> dict[str, Any]:
        """What is kept of it elsewhere, to tell whether the chain was cut off."""
        return {"n": self.n, "hash": self.hash, "key": self.key, "signature": self.signature}

    def sign(self, ring: Keyring) -> Slot:
        """The same, signed."""
        key, signature = ring.sign(message(self.recipe, self.n, self.hash))
        return Slot(self.recipe, self.name, self.line, key, signature)

    def fault(self, trusted: frozenset[str]) -> str:
        """What is wrong with its signature, as a half sentence; empty where it holds."""
        if not keys.signed(self.key, self.signature, message(self.recipe, self.n, self.hash)):
            return "is not signed by the platform, or was changed"
        if self.key not in trusted:
            return f"is signed by the key {self.key[:16]}, which is not trusted here"
        return ""


def message(recipe: str, n: int, digest: str) -> bytes:
    """What is signed for a number."""
    return f"ftcore.ledger/1\n{recipe}\n{n}\n{digest}".encode()


def read(data: bytes, recipe: str) -> Slot | None:
    """A number's file; None where it is not written as the platform writes it, to the last byte."""
    try:
        slot = Slot(**mapping(data))
        n, before = slot.line["n"], slot.line["before"]
    except (TypeError, KeyError):
        return None
    fits = slot.recipe == recipe and type(n) is int and n >= 0 and isinstance(before, str)
    return slot if fits and slot.data == data else None


def number(n: int) -> str:
    """File name of a number."""
    return f"{n:08d}.json"


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

    def append(self, name: str, line: dict[str, Any]) -> dict[str, Any]:
        """Write a line under a name, once: where the chain has the name already its line is returned.

        Raises:
            DamagedFileError: the chain does not hold where the line would be added.
            FtcoreError: this machine has not the platform's key, or the ledger cannot be written.
        """
        try:
            return self._append(name, json.loads(json.dumps(line, default=str)))
        except OSError as error:
            if error.errno in (28, 122):  # the disk is full: the command says so
                raise
            hint = "make it writable; nothing was written by half, so run it again"
            raise FtcoreError(f"the ledger {self.folder} cannot be written: {error.strerror}", hint=hint) from error

    def _append(self, name: str, line: dict[str, Any]) -> dict[str, Any]:
        last = self.newest()
        there = read_many(self.folder, [name]).get(name)
        if there is not None and (known := self.proven({name: there})):
            return known[name]
        if there is not None and last is not None:
            raise self._broken(f"{name} is not in the chain, and was not written by the platform")
        if last is None:
            self.ring.make()
            last = self._adopt()
        trusted = self._trusted(last)
        while True:
            n = 1 if last is None else last.n + 1
            data = read_many(self.slots, [number(n)]).get(number(n))
            if data is None:
                made = {**line, "n": n, "before": last.hash if last else ""}
                data = Slot(self.recipe, name, made).sign(self.ring).data
                create_bytes(self.slots / number(n), data)
                data = read_many(self.slots, [number(n)]).get(number(n), b"")  # somebody else may have been first
            last = self._next(n, data, last, trusted)
            if last.name == name:
                return last.line

    def _next(self, n: int, data: bytes, before: Slot | None, trusted: frozenset[str]) -> Slot:
        """The slot that follows, with its line and the head written."""
        slot = read(data, self.recipe)
        if slot is None or slot.n != n or slot.line["before"] != (before.hash if before else ""):
            raise self._broken(f"{FOLDER}/{number(n)} does not follow the line before it")
        if fault := slot.fault(trusted):
            raise self._broken(f"{FOLDER}/{number(n)} {fault}")
        if read_many(self.folder, [slot.name]).get(slot.name) is None:
            write_bytes(self.folder / slot.name, as_json(slot.line))
        write_bytes(self.slots / HEAD, as_json(slot.head))
        write_bytes(self.witness, as_json(slot.head))
        return slot

    def _adopt(self) -> Slot | None:
        """List the lines and records from before there was a chain; None where there are none."""
        old = read_many(self.folder, names_in(self.folder))
        records = self._unsigned()
        if not (old or records) or number(1) in names_in(self.slots):  # another process was first
            return self._slot(0)
        line: dict[str, Any] = {"n": 0, "at": "", "kind": "ledger", "run_id": "adopted", "decision": "adopted"}
        told = f"{len(old):,} lines and {len(records):,} records from before the ledger was a chain"
        line |= {"reason": told, "before": "", "records": records}
        line["lines"] = {name: sha256(data) for name, data in sorted(old.items())}
        create_bytes(self.slots / number(0), Slot(self.recipe, ADOPTED, line).sign(self.ring).data)
        slot = self._slot(0)
        assert slot is not None
        return self._next(0, slot.data, None, self.ring.trusted())

    def _unsigned(self) -> dict[str, str]:
        """Records from before records were signed, by place, with their hashes; none where any record is signed."""
        root = self.folder.parent
        if next(root.glob(f"runs/**/record{SIGNATURE}"), None) is not None:
            return {}
        found = sorted(root.glob("runs/**/record.json"), key=str)
        return {path.as_posix().removeprefix(root.as_posix()).lstrip("/"): sha256(path.read_bytes()) for path in found}

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
            slot = self._slot(head["n"])
            if slot is None:
                anew = f"; where the ledger was emptied on purpose, delete {self.witness}" if self._is_empty() else ""
                raise self._broken(f"{FOLDER}/{number(int(head['n']))} is gone", anew)
            if slot.hash != head["hash"]:
                raise self._broken(f"{FOLDER}/{number(int(head['n']))} is another line than it was")
            return slot
        names = [name for name in names_in(self.slots) if name != HEAD]
        if not names:
            return None
        n = position(names[-1])
        slot = None if n is None else self._slot(n)
        if slot is None:
            raise self._broken(f"{FOLDER}/{names[-1]} is no line of the platform's")
        return slot

    def has(self, n: int, name: str) -> bool:
        """Whether a number is the platform's, and of the line of this name."""
        slot = self._slot(n)
        return slot is not None and slot.name == name and not slot.fault(self.ring.trusted())

    def restore(self, n: int) -> None:
        """Write a line's file again as it was signed."""
        slot = self._slot(n)
        if slot and self.has(n, slot.name):
            write_bytes(self.folder / slot.name, as_json(slot.line))

    def kept(self) -> dict[str, Any] | None:
        """The head as this machine keeps it; None where it never wrote a line."""
        try:
            return signed_head(self.witness.read_bytes(), self.recipe)
        except OSError:
            return None

    def _head(self) -> dict[str, Any] | None:
        head = signed_head(read_many(self.slots, [HEAD]).get(HEAD), self.recipe)
        return head if head and head["key"] in (self.ring.trusted() or {head["key"]}) else None

    def _slot(self, n: int) -> Slot | None:
        data = read_many(self.slots, [number(n)]).get(number(n))
        slot = None if data is None else read(data, self.recipe)
        return slot if slot and slot.n == n else None

    def _trusted(self, last: Slot | None) -> frozenset[str]:
        """The keys that may sign; the newest line must be signed by one of them, and this machine must have its own.

        Raises:
            FtcoreError: this machine has not the platform's key.
        """
        trusted = self.ring.trusted()
        if last and last.fault(frozenset({last.key})):
            raise self._broken(f"{FOLDER}/{number(last.n)} is not signed by the platform, or was changed")
        if last and last.key not in trusted:
            hint = f"copy it to {self.ring.private}, or name it in FTCORE_SIGNING_KEY; a key that was lost is followed "
            raise FtcoreError(
                f"the ledger of {self.recipe} is signed by the key {last.key[:16]}, and this machine has not that key",
                hint=f"{hint}by a new one after ftcore keys trust {last.key}",
            )
        if not self.ring.private.exists():
            self.ring.make()
            return self.ring.trusted()
        return trusted

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
        if not slots and not names_in(self.slots):
            return found | ({} if self.kept() else asked)  # an old store, which nobody has written to since
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

    def _broken(self, what: str, more: str = "") -> DamagedFileError:
        hint = f"ftcore ledger {self.recipe} --check names every break{more}"
        return DamagedFileError(f"the ledger of {self.recipe} is broken: {what}", hint=hint)


def position(name: str) -> int | None:
    """The number that a file name stands for; None for any other name."""
    return int(name[:8]) if re.fullmatch(r"[0-9]{8}\.json", name) else None


def order(line: Mapping[str, Any]) -> tuple[int, str, str]:
    """Where a line stands: by its number, whatever the clock was; those without one first, by their time."""
    n = line.get("n")
    return n if type(n) is int else -1, str(line.get("at")), str(line.get("kind"))


def signed_head(text: bytes | str | None, recipe: str) -> dict[str, Any] | None:
    """A head that somebody signed; None for anything else."""
    head = mapping(text)
    n, parts = head.get("n"), [head.get(name) for name in ("hash", "key", "signature")]
    if type(n) is not int or not all(isinstance(part, str) for part in parts):
        return None
    return head if keys.signed(head["key"], head["signature"], message(recipe, n, head["hash"])) else None
