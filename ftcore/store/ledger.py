"""What the ledger's lines mean to the ring: which request to retrain is open, and how far monitoring has looked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from ftcore.recipe.canonical import canonical, sha256
from ftcore.store.files import as_json, mapping, names_in, read_many
from ftcore.store.slots import ACKNOWLEDGE, FOLDER, HEAD, Slot, number, order, position, read, signed_head
from ftcore.store.store import LEDGER, RecipeStore

UNREADABLE, UNSIGNED = "unreadable", "not signed"
NOT_OURS = "this line is not in the ledger's chain, or was changed after it was signed"


HEADS = "head"
"""Name of a break of what is kept elsewhere of the newest line: the next line puts it right."""


@dataclass(frozen=True)
class Acknowledgement:
    """Who goes on although something does not hold."""

    by: str
    at: str
    reason: str
    n: int
    """Number of the ledger's line that says so."""

    def __str__(self) -> str:
        """One phrase."""
        return f"acknowledged on {self.at[:16].replace('T', ' ')} UTC by {self.by}: {self.reason}"


@dataclass(frozen=True)
class Break:
    """A place where the ledger, or what it says, does not hold."""

    n: int | None
    """Number of the line; None where it has none."""
    line: str
    """File name of the line, or of what is compared with it."""
    what: str
    """One sentence."""
    there: str
    """What is there instead of what the ledger says: with something else there it is another break."""
    acknowledged: Acknowledgement | None = None
    """Who goes on all the same; None where nobody said so."""

    def __str__(self) -> str:
        """The sentence, with the line's number, and who acknowledged it."""
        told = self.what if self.n is None else f"line {self.n}: {self.what}"
        return f"{told} ({self.acknowledged})" if self.acknowledged else told

    @property
    def digest(self) -> str:
        """Hash of the place and of what is there; not of the words, which change."""
        return sha256(canonical([self.n, self.line, self.there]))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        known = asdict(self.acknowledged) if self.acknowledged else None
        return {"n": self.n, "line": self.line, "what": self.what, "acknowledged": known}


@dataclass(frozen=True)
class Audit:
    """What was found of a ledger."""

    breaks: list[Break]
    """What does not hold, the first line first."""
    lines: list[dict[str, Any]]
    """The lines that are signed, in order, whatever became of their files."""
    chained: dict[int, Slot]
    """The same by their numbers in the chain."""
    newest: Mapping[str, Any] | None
    """Head of the newest line that is known anywhere, also where it is lost."""

    def acknowledged(self, breaks: Iterable[Break]) -> list[Break]:
        """The breaks, each with who acknowledged it."""
        return acknowledged(breaks, self.chained)


def acknowledged(breaks: Iterable[Break], chained: Mapping[int, Slot]) -> list[Break]:
    """The breaks, each with who acknowledged it in a line that is signed."""
    known = {
        str(one.get("digest")): Acknowledgement(
            str(slot.line.get("by")), str(slot.line["at"]), str(slot.line.get("why")), slot.n
        )
        for slot in chained.values()
        if slot.line.get("kind") == ACKNOWLEDGE
        for one in slot.line.get("breaks") or ()
    }
    return [replace(one, acknowledged=known.get(one.digest)) for one in breaks]


def unacknowledged(breaks: Iterable[Break]) -> list[Break]:
    """The breaks that nobody acknowledged."""
    return [one for one in breaks if not one.acknowledged]


def open_request(shelf: RecipeStore, run_id: str) -> str | None:
    """Run id of the newest request to retrain that no plan, other than this run's own, has answered."""
    requests = [line["run_id"] for line in shelf.ledger("decide") if line["decision"] == "retrain"]
    answered = {line.get("answers") for line in shelf.ledger("plan") if line["run_id"] != run_id}
    still_open = [asked for asked in requests if asked not in answered]
    return str(still_open[-1]) if still_open else None


def looked_until(shelf: RecipeStore, run_id: str) -> datetime | None:
    """Time of the last prediction that a decision, other than this run's own, was made on; None before the first."""
    lines = [line for line in shelf.ledger("decide") if line["run_id"] != run_id]
    return max((datetime.fromisoformat(line["until"]) for line in lines), default=None)


_READ: dict[tuple[str, str], dict[str, Any]] = {}
"""Lines that were proven, by store and name: each is read once in the life of a process."""
_SORTED: dict[str, tuple[list[str], list[dict[str, Any]]]] = {}
"""By store the names of the lines that were there, and the lines in their order: most visits find no new one."""


def lines(shelf: RecipeStore) -> list[dict[str, Any]]:
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
    shelf: RecipeStore, head: str | Mapping[str, Any] | None = None, trusted: frozenset[str] | None = None
) -> list[Break]:
    """Check the ledger's chain from its first line to its last; nothing is changed, and no cache is believed.

    Args:
        shelf: the recipe's part of the store.
        head: the newest line as the registered model keeps it, JSON or the value; None where there is none.
        trusted: public keys that may have signed, in hex; this machine's by default.

    Returns:
        What is missing, changed, unsigned or foreign, the first line first; nothing where the chain holds. What was
        acknowledged is among it. A store that nobody has written to since ledgers are chains has none, and holds.
    """
    return audit(shelf, head, trusted).breaks


def audit(
    shelf: RecipeStore, head: str | Mapping[str, Any] | None = None, trusted: frozenset[str] | None = None
) -> Audit:
    """What ``check`` finds, and what it was found by."""
    folder = shelf.root / LEDGER
    names = names_in(folder)
    slots = [name for name in names_in(shelf.chain.slots) if name != HEAD]
    files = read_many(folder, names)
    numbers = dict.fromkeys(slots, b"") | read_many(shelf.chain.slots, slots)  # a folder may be in a number's place
    keys = shelf.chain.ring.trusted() if trusted is None else trusted
    head = mapping(head) if isinstance(head, str) else head
    heads = {"the registered model": head, "this machine": shelf.chain.kept()}
    known = [
        one for text in heads.values() if (one := signed_head(json.dumps(text), shelf.name)) and one["key"] in keys
    ]
    unsigned = bool(names and keys and not slots and not known)
    chained, begun = dict[int, Slot](), bool(slots or known or unsigned)
    found = list(walk(shelf.name, numbers, keys, chained, max((one["n"] for one in known), default=0)))
    if unsigned:
        told = f"{len(files):,} line{' is' if len(files) == 1 else 's are'} not signed; "
        told += f"where they are older than ftcore's keys, ftcore ledger {shelf.name} --adopt --reason '…' adopts them"
        found.append(Break(None, FOLDER, told, canonical(sorted((name, sha256(data)) for name, data in files.items()))))
    found += _files(chained, {} if unsigned else files, begun=begun)
    for where, kept in heads.items():
        found += _cut_off(shelf.name, where, kept, chained, keys, numbers)
    known += [chained[max(chained)].head] if chained else []
    old = {} if begun else {name: sha256(data) for name, data in files.items()}
    old = chained[0].line.get("lines", {}) if 0 in chained else old
    older = [_line(name, files[name]) for name, digest in old.items() if sha256(files.get(name, b"")) == digest]
    lines = [*sorted(older, key=order), *(slot.line for slot in chained.values())]
    found = acknowledged(sorted(found, key=lambda one: (one.n is None, one.n or 0)), chained)
    newest = max(known, key=lambda one: int(one["n"]), default=None)
    return Audit(found, lines if chained or not begun else [], chained, newest)


def walk(
    recipe: str, numbers: dict[str, bytes], trusted: frozenset[str], chained: dict[int, Slot], newest: int = 0
) -> Iterator[Break]:
    """What is wrong with the numbers and their links; ``chained`` takes those that are signed.

    Args:
        recipe: name of the recipe.
        numbers: the files of the numbers, by name.
        trusted: keys that may have signed the first lines.
        chained: takes the lines that are signed, by number.
        newest: a number that was written for sure; what lies behind it and behind the last line is in no gap.
    """
    keys = set(trusted)
    known = {n: name for name in numbers if (n := position(name)) is not None}
    for name in sorted(set(numbers) - set(known.values())):
        place = f"{FOLDER}/{name}"
        yield Break(None, place, f"{place} is no line of the platform's", sha256(numbers[name]))
    before: Slot | None = None
    gap, wanted = False, 0 if _was_adopted(known, numbers, recipe) else 1
    late: list[Break] = []
    for n in sorted(known):
        data, place = numbers[known[n]], f"{FOLDER}/{number(n)}"
        slot = read(data, recipe)
        if n > wanted:
            late.append(missing(wanted, n - 1))
            gap = True
        wanted = n + 1
        fault = slot.fault(frozenset(keys)) if slot and slot.n == n else ""
        if slot is None or slot.n != n or fault:
            what, name = (fault, slot.name) if slot and fault else ("was changed, or is none of the platform's", place)
            if n <= newest:
                yield from late
                late = []
            yield Break(n, name, f"{name} {what}", sha256(data))
            gap = True  # what follows a broken line can still be signed; the break is told once
            continue
        yield from late
        late = []
        if not _follows(slot, before, chained, gap=gap):
            yield Break(n, slot.name, f"{slot.name} does not follow the line before it", slot.hash)
        chained[n] = before = slot
        gap = False
        if (slot.line["kind"], slot.line["decision"]) == ("keys", "rotated"):
            keys.add(str(slot.line.get("public_key")))


def missing(first: int, last: int, what: str = "") -> Break:
    """Some numbers of the chain that are not there."""
    place = f"{FOLDER}/{number(first)}"
    told = f"{place} to {number(last)} are missing" if last > first else f"{place} is missing"
    return Break(first, place, what or told, f"missing to {last}")


def _was_adopted(known: Mapping[int, str], numbers: Mapping[str, bytes], recipe: str) -> bool:
    """Whether the chain begins with number 0, which may be gone."""
    first = read(numbers[known[1]], recipe) if 1 in known else None
    return 0 in known or (first is not None and first.line["before"] != "")


def _follows(slot: Slot, before: Slot | None, chained: Mapping[int, Slot], *, gap: bool) -> bool:
    """Whether a line follows the one before it, or the one that it goes on after."""
    if slot.lost:
        other = chained.get(slot.line.get("follows", -1))
        return other is None or other.hash == slot.line["before"]
    return gap or slot.line["before"] == (before.hash if before else "")


def _files(chained: dict[int, Slot], files: dict[str, bytes], *, begun: bool) -> Iterator[Break]:
    """Lines whose files are gone or changed, and files that are no lines; ``begun`` where there is a chain."""
    left, named = dict(files), dict[str, int]()
    for n, slot in chained.items():
        if (first := named.setdefault(slot.name, n)) != n:
            place = f"{FOLDER}/{number(n)}"
            yield Break(n, place, f"{place} has the name of line {first}, {slot.name}", slot.hash)
            continue
        data = left.pop(slot.name, None)
        if data is None:
            yield Break(n, slot.name, f"{slot.name} is missing", "")
        elif data != as_json(slot.line):
            yield Break(n, slot.name, f"{slot.name} was changed{_which(slot.line, data)}", sha256(data))
        for name, digest in slot.line.get("lines", {}).items() if n == 0 else ():
            old = left.pop(name, None)
            if old is None or sha256(old) != digest:
                what = f"{name} {'is missing' if old is None else 'was changed'}; it is older than the chain"
                yield Break(n, name, what, sha256(old) if old is not None else "")
    if begun:
        for name in sorted(left):
            yield Break(None, name, f"{name} is not part of the chain", sha256(left[name]))


def _which(line: Mapping[str, Any], data: bytes) -> str:
    """The figures of a line that its file has otherwise."""
    there = mapping(data)
    if not there:
        return ": it is no JSON object"
    names = sorted(key for key in {*line, *there} if repr(line.get(key)) != repr(there.get(key)))
    return f" ({', '.join(names)})" if names else ""


def _cut_off(
    recipe: str,
    where: str,
    head: Mapping[str, Any] | None,
    chained: dict[int, Slot],
    trusted: frozenset[str],
    numbers: Mapping[str, bytes],
) -> Iterator[Break]:
    """Whether the chain goes on to the newest line that is known elsewhere."""
    if head is None:
        return
    known = signed_head(json.dumps(head), recipe)
    if known is None or not (known["key"] in trusted or any(slot.head == head for slot in chained.values())):
        what = f"the newest line as {where} keeps it is not signed by the platform"
        yield Break(None, HEADS, what, canonical(head))
        return
    n, digest = known["n"], known["hash"]
    if n > max(chained, default=-1):
        there = (one for name in numbers if (one := position(name)) is not None and one < n)
        first = max([*chained, *there, 0]) + 1
        told = f"the ledger was cut off: {where} knows of line {n}"
        yield missing(first, n, told) if number(n) not in numbers else Break(n, HEADS, told, digest)
    elif n in chained and chained[n].hash != digest:
        yield Break(n, HEADS, f"{chained[n].name} is another line than {where} knows", digest)
