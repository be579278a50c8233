"""Reading along the ledger's chain: what its numbers say, whatever became of the files of their lines."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ftcore.recipe.canonical import sha256
from ftcore.store.chain import Chain
from ftcore.store.files import names_in, read_many
from ftcore.store.slots import ACKNOWLEDGE, FOLDER, Slot, number, position, signed_head


def newest(chain: Chain) -> Slot | None:
    """The newest line that is the platform's; None where there is no chain.

    Raises:
        DamagedFileError: the chain was cut off, or its newest number is not the platform's.
    """
    last = chain.newest()
    if last is not None and chain.signed(last.n) is None:
        raise chain.broken(f"{FOLDER}/{number(last.n)} is not signed by a key that is trusted here, or was changed")
    while last is not None and (following := chain.signed(last.n + 1)) and following.line["before"] == last.hash:
        last = following
    return last


def behind(chain: Chain, n: int) -> Iterator[Slot]:
    """The lines behind a number, in order; a number that is lost is passed over.

    Raises:
        DamagedFileError: the chain was cut off, or its newest number is not the platform's.
    """
    last = newest(chain)
    for one in range(n + 1, last.n + 1 if last else 0):
        if (slot := chain.signed(one)) is not None:
            yield slot


def crowning(chain: Chain) -> Iterator[Slot]:
    """The lines that say who is champion, the newest first. Each line names the last one, so that few are read.

    Raises:
        DamagedFileError: the chain was cut off, or such a line is lost and nobody acknowledged that.
    """
    slot = newest(chain)
    while slot is not None and slot.n > 0:
        if slot.crowns:
            yield slot
        slot = _last_crowning(chain, slot)


def _last_crowning(chain: Chain, slot: Slot) -> Slot | None:
    """The newest crowning line before a line; where that is not named, or lost, the line that tells more of it."""
    n = int(slot.line.get("crowned", slot.n - 1))
    while n > 0 and (found := chain.signed(n)) is None:
        if not chain.is_passed(n):
            raise chain.broken(f"{FOLDER}/{number(n)} is gone, or is none of the platform's")
        n -= 1
    return found if n > 0 else None


def check_older(chain: Chain, kinds: Collection[str]) -> None:
    """Check that the lines of some kinds that are older than the chain are there as they were adopted.

    Raises:
        DamagedFileError: one is gone or was changed, and nobody acknowledged that.
    """
    adopted = chain.signed(0)
    older = adopted.line.get("lines", {}) if adopted else {}
    wanted = [name for name in older if name.partition("--")[0] in kinds]
    there = read_many(chain.folder, wanted)
    lost = [name for name in wanted if name not in there or sha256(there[name]) != older[name]]
    if lost:
        marked = (name for name in names_in(chain.folder) if name.startswith(f"{ACKNOWLEDGE}--"))
        known = {one.get("line") for line in chain.lines(marked) for one in line.get("breaks") or ()}
        if open_ := [name for name in lost if name not in known]:
            raise chain.broken(f"{open_[0]}, older than the chain, is gone or was changed")


def crowned(chain: Chain, last: Slot | None) -> int:
    """Number of the newest crowning line up to a line; 0 where there is none since there are numbers."""
    while last is not None and last.n > 0 and not last.crowns:
        last = _last_crowning(chain, last)
    return last.n if last else 0


def compare(chain: Chain, head: Mapping[str, Any]) -> None:
    """Compare the chain with its newest line as it is kept elsewhere, and keep here what is newest.

    Args:
        chain: of a recipe's ledger.
        head: the newest line as the registered model keeps it; anything else is no witness.

    Raises:
        DamagedFileError: the chain was cut off, or has another line there.
    """
    last, known = newest(chain), signed_head(json.dumps(head), chain.recipe)
    trusted = chain.ring.trusted()
    if known and (not trusted or known["key"] in trusted) and (last is None or last.hash != known["hash"]):
        there = chain.signed(known["n"])
        if last is None or known["n"] > last.n or (there is not None and there.hash != known["hash"]):
            raise chain.broken(f"it ends before line {known['n']}, of which the registered model knows, or has another")
    if last is not None:
        chain.remember(last)


def named(chain: Chain, name: str) -> Slot | None:
    """The line of a name whose file is not there; None where no number has the name.

    Numbers are read only where the folder has fewer lines than the chain has numbers: a file was taken away then, or a
    writer died before it wrote it.
    """
    numbers = [n for one in names_in(chain.slots) if (n := position(one)) is not None]
    older = chain.signed(0) if numbers[:1] == [0] else None
    if len(names_in(chain.folder)) >= len(numbers) + len(older.line.get("lines", ()) if older else ()):
        return None
    return next((slot for n in reversed(numbers) if (slot := chain.signed(n)) and slot.name == name), None)
