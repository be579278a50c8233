"""Writing to the ledger's chain: a line under the next number, or one that goes on behind numbers that are lost."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ftcore.errors import FtcoreError
from ftcore.store import adoption, trail
from ftcore.store.chain import Chain
from ftcore.store.files import as_json, create_bytes, read_many, write_bytes
from ftcore.store.slots import Slot, number


def append(chain: Chain, name: str, line: dict[str, Any]) -> dict[str, Any]:
    """Write a line under a name, once: where the chain has the name already its line is returned.

    Raises:
        DamagedFileError: the chain does not hold where the line would be added.
        FtcoreError: this machine has not the platform's key, or the ledger cannot be written.
    """
    with _writing(chain):
        return _append(chain, name, json.loads(json.dumps(line, default=str)))


def begin(chain: Chain) -> None:
    """Make the platform's key where there is none, and adopt what is older than it."""
    if not chain.ring.trusted() and chain.newest() is None:
        adoption.begin(chain)
    chain.ring.make()


def resume(
    chain: Chain, name: str, line: Mapping[str, Any], sound: Mapping[int, Slot], known: Mapping[str, Any]
) -> bool:
    """Write a line that begins a new segment of a chain in which numbers are lost, and lists them.

    Args:
        chain: of a recipe's ledger.
        name: file name of the line.
        line: what it says.
        sound: the lines that hold, by number.
        known: the newest head that is known anywhere, signed by a key that is trusted here.

    Returns:
        False where somebody else wrote a line meanwhile: look again then.

    Raises:
        FtcoreError: this machine has not the platform's key, or the ledger cannot be written.
    """
    with _writing(chain):
        return _resume(chain, name, json.loads(json.dumps(line, default=str)), sound, known)


@contextmanager
def _writing(chain: Chain) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # the disk is full: the command says so
            raise
        hint = "make it writable; nothing was written by half, so run it again"
        raise FtcoreError(f"the ledger {chain.folder} cannot be written: {error.strerror}", hint=hint) from error


def _append(chain: Chain, name: str, line: dict[str, Any]) -> dict[str, Any]:
    last = chain.newest()
    there = read_many(chain.folder, [name]).get(name)
    if there is not None and (known := chain.proven({name: there})):
        return known[name]
    if there is not None and last is not None:
        aside = f"; ftcore doctor {chain.recipe} --fix sets it aside"
        raise chain.broken(f"{name} is not in the chain, and was not written by the platform", aside)
    if last is not None and (old := trail.named(chain, name)):  # its file was taken away
        write_bytes(chain.folder / name, as_json(old.line))
        return old.line
    if last is None:
        last = adoption.begin(chain)
    trusted = chain.signers(last)
    if last and last.lost:  # whoever wrote it may have been killed right after
        chain.write_out(last)
    while True:
        n = 1 if last is None else last.n + 1
        data = read_many(chain.slots, [number(n)]).get(number(n))
        if data is None:
            made = {**line, "n": n, "before": last.hash if last else "", "crowned": trail.crowned(chain, last)}
            data = Slot(chain.recipe, name, made).sign(chain.ring).data
            create_bytes(chain.slots / number(n), data)
            data = read_many(chain.slots, [number(n)]).get(number(n), b"")  # somebody else may have been first
        last = chain.following(n, data, last, trusted)
        if last.name == name:
            return last.line


def _resume(chain: Chain, name: str, line: dict[str, Any], sound: Mapping[int, Slot], known: Mapping[str, Any]) -> bool:
    trusted, n = chain.signers(sound[max(sound)] if sound else None), int(known["n"]) + 1
    while (chain.slots / number(n)).exists():
        there = chain.slot(n)
        if there and not there.fault(trusted):
            return False
        n += 1
    lost = _ranges(one for one in range(0 if 0 in sound else 1, n) if one not in sound)
    more = {"lost": lost, "follows": known["n"], "n": n, "before": known["hash"]}
    more["crowned"] = max((one for one, slot in sound.items() if slot.crowns), default=0)
    made = Slot(chain.recipe, name, line | more).sign(chain.ring)
    if not create_bytes(chain.slots / number(n), made.data):
        return False
    chain.write_out(made)
    return True


def _ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as the first and last of each run."""
    found: list[list[int]] = []
    for n in numbers:
        if found and found[-1][1] == n - 1:
            found[-1][1] = n
        else:
            found.append([n, n])
    return found
