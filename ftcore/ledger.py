"""What the ledger's lines mean to the ring: which request to retrain is open, and how far monitoring has looked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ftcore.chain import FOLDER, HEAD, Slot, number, order, position, read, signed_head
from ftcore.files import as_json, mapping, names_in, read_many
from ftcore.records import sha256
from ftcore.store import LEDGER, Shelf

UNREADABLE, UNSIGNED = "unreadable", "not signed"
NOT_OURS = "this line is not in the ledger's chain, or was changed after it was signed"


@dataclass(frozen=True)
class Break:
    """A place where the ledger, or what it says, does not hold."""

    n: int | None
    """Number of the line; None where it has none."""
    line: str
    """File name of the line, or of what is compared with it."""
    what: str
    """One sentence."""

    def __str__(self) -> str:
        """The sentence, with the line's number."""
        return self.what if self.n is None else f"line {self.n}: {self.what}"


def open_request(shelf: Shelf, run_id: str) -> str | None:
    """Run id of the newest request to retrain that no plan, other than this run's own, has answered."""
    requests = [line["run_id"] for line in shelf.ledger("decide") if line["decision"] == "retrain"]
    answered = {line.get("answers") for line in shelf.ledger("plan") if line["run_id"] != run_id}
    still_open = [asked for asked in requests if asked not in answered]
    return str(still_open[-1]) if still_open else None


def looked_until(shelf: Shelf, run_id: str) -> datetime | None:
    """Time of the last prediction that a decision, other than this run's own, was made on; None before the first."""
    lines = [line for line in shelf.ledger("decide") if line["run_id"] != run_id]
    return max((datetime.fromisoformat(line["until"]) for line in lines), default=None)


_READ: dict[tuple[str, str], dict[str, Any]] = {}
"""Lines that were proven, by store and name: each is read once in the life of a process."""
_SORTED: dict[str, tuple[list[str], list[dict[str, Any]]]] = {}
"""By store the names of the lines that were there, and the lines in their order: most visits find no new one."""


def lines(shelf: Shelf) -> list[dict[str, Any]]:
    """Every decision of a recipe, the newest first; for a process that asks again and again, such as a page.

    What is no JSON is a line that says so, with the decision ``unreadable``; what is not in the chain, or is no longer
    as it was signed, one with the decision ``not signed``. Which link is broken, ``check`` tells.
    """
    folder, root = shelf.root / LEDGER, shelf.root.as_uri()
    names = names_in(folder)
    if root in _SORTED and _SORTED[root][0] == names:
        return list(_SORTED[root][1])
    missing = [name for name in names if (root, name) not in _READ]
    read, doubted = read_many(folder, missing) if missing else {}, dict[str, dict[str, Any]]()
    whole = {name: line for name, data in read.items() if (line := _line(name, data))["decision"] != UNREADABLE}
    proven = shelf.chain.proven({name: read[name] for name in whole})
    for name, data in read.items():
        ours = proven.get(name)
        if ours is not None and ("n" not in ours or data == as_json(ours)):
            _READ[root, name] = whole[name]
        else:  # looked at again next time: it may have been put right by then
            unsigned = {"decision": UNSIGNED, "reason": NOT_OURS} if name in whole else {}
            doubted[name] = _line(name, b"") | unsigned
    shown = {name: _READ[root, name] for name in names if (root, name) in _READ} | doubted
    found = sorted(shown.values(), key=order, reverse=True)
    if len(found) == len(names) and not doubted:
        _SORTED[root] = (names, found)
    return list(found)


def _line(name: str, data: bytes) -> dict[str, Any]:
    kind, _, run_id = name.removesuffix(".json").partition("--")
    blank = {"at": "", "kind": kind, "run_id": run_id, "decision": UNREADABLE, "reason": "this line is not JSON"}
    found = mapping(data)
    return blank | {"reason": "", "decision": ""} | found if found else blank


def check(
    shelf: Shelf, head: str | Mapping[str, Any] | None = None, trusted: frozenset[str] | None = None
) -> list[Break]:
    """Check the ledger's chain from its first line to its last; nothing is changed, and no cache is believed.

    Args:
        shelf: the recipe's part of the store.
        head: the newest line as the registered model keeps it, JSON or the value; None where there is none.
        trusted: public keys that may have signed, in hex; this machine's by default.

    Returns:
        What is missing, changed, unsigned or foreign, the first line first; nothing where the chain holds. A store that
        nobody has written to since ledgers are chains has none, and holds.
    """
    return audit(shelf, head, trusted)[0]


def audit(
    shelf: Shelf, head: str | Mapping[str, Any] | None = None, trusted: frozenset[str] | None = None
) -> tuple[list[Break], list[dict[str, Any]]]:
    """What ``check`` finds, and the lines that are signed, in order, whatever became of their files."""
    folder = shelf.root / LEDGER
    names = names_in(folder)
    slots = [name for name in names_in(shelf.chain.slots) if name != HEAD]
    files, numbers = read_many(folder, names), read_many(shelf.chain.slots, slots)
    keys = shelf.chain.ring.trusted() if trusted is None else trusted
    chained = dict[int, Slot]()
    found = [*walk(shelf.name, numbers, keys, chained), *_files(chained, files)]
    head = mapping(head) if isinstance(head, str) else head
    heads = {"the registered model": head, "this machine": shelf.chain.kept()}
    for where, kept in heads.items():
        found += _cut_off(shelf.name, where, kept, chained, keys)
    old = chained[0].line.get("lines", {}) if 0 in chained else {name: sha256(data) for name, data in files.items()}
    older = [_line(name, files[name]) for name, digest in old.items() if sha256(files.get(name, b"")) == digest]
    lines = [*sorted(older, key=order), *(slot.line for slot in chained.values())]
    return sorted(found, key=lambda one: (one.n is None, one.n or 0)), lines if chained or not slots else []


def walk(recipe: str, numbers: dict[str, bytes], trusted: frozenset[str], chained: dict[int, Slot]) -> Iterator[Break]:
    """What is wrong with the numbers and their links; ``chained`` takes those that are signed."""
    keys = set(trusted)
    known = {n: name for name in numbers if (n := position(name)) is not None}
    for name in sorted(set(numbers) - set(known.values())):
        yield Break(None, f"{FOLDER}/{name}", f"{FOLDER}/{name} is no line of the platform's")
    before: Slot | None = None
    gap = False
    wanted = 0 if 0 in known else 1
    for n in sorted(known):
        slot, place = read(numbers[known[n]], recipe), f"{FOLDER}/{number(n)}"
        if n > wanted:
            missing = f"{FOLDER}/{number(wanted)}" + (f" to {number(n - 1)} are" if n > wanted + 1 else " is")
            yield Break(wanted, f"{FOLDER}/{number(wanted)}", f"{missing} missing")
            gap = True
        wanted = n + 1
        if slot is None or slot.n != n:
            yield Break(n, place, f"{place} was changed, or is none of the platform's")
        elif fault := slot.fault(frozenset(keys)):
            yield Break(n, slot.name, f"{slot.name} {fault}")
        elif not gap and slot.line["before"] != (before.hash if before else ""):
            yield Break(n, slot.name, f"{slot.name} does not follow the line before it")
        else:
            chained[n] = before = slot
            gap = False
            if (slot.line["kind"], slot.line["decision"]) == ("keys", "rotated"):
                keys.add(str(slot.line.get("public_key")))
            continue
        gap = True  # what follows a broken line can still be signed; the break is told once


def _files(chained: dict[int, Slot], files: dict[str, bytes]) -> Iterator[Break]:
    """Lines whose files are gone or changed, and files that are no lines."""
    left = dict(files)
    for n, slot in chained.items():
        data = left.pop(slot.name, None)
        if data is None:
            yield Break(n, slot.name, f"{slot.name} is missing")
        elif data != as_json(slot.line):
            yield Break(n, slot.name, f"{slot.name} was changed{_which(slot.line, data)}")
        for name, digest in slot.line.get("lines", {}).items() if n == 0 else ():
            old = left.pop(name, None)
            if old is None or sha256(old) != digest:
                yield Break(
                    n, name, f"{name} {'is missing' if old is None else 'was changed'}; it is older than the chain"
                )
    if chained:
        yield from (Break(None, name, f"{name} is foreign: it is not in the chain") for name in sorted(left))


def _which(line: Mapping[str, Any], data: bytes) -> str:
    """The figures of a line that its file has otherwise."""
    there = mapping(data)
    if not there:
        return ": it is no JSON object"
    names = sorted(key for key in {*line, *there} if repr(line.get(key)) != repr(there.get(key)))
    return f" ({', '.join(names)})" if names else ""


def _cut_off(
    recipe: str, where: str, head: Mapping[str, Any] | None, chained: dict[int, Slot], trusted: frozenset[str]
) -> Iterator[Break]:
    """Whether the chain goes on to the newest line that is known elsewhere."""
    if head is None:
        return
    known = signed_head(json.dumps(head), recipe)
    if known is None or not (known["key"] in trusted or any(slot.head == head for slot in chained.values())):
        yield Break(None, "head", f"the newest line as {where} keeps it is not signed by the platform")
        return
    n, digest = known["n"], known["hash"]
    if n > max(chained, default=-1):
        yield Break(max(chained, default=0) + 1, "head", f"the ledger was cut off: {where} knows of line {n}")
    elif n in chained and chained[n].hash != digest:
        yield Break(n, chained[n].name, f"{chained[n].name} is another line than {where} knows")
