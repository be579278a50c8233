"""Reading along the ledger's chain: what its numbers say, whatever became of the files of their lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ftcore.files import names_in
from ftcore.slots import Slot, position

if TYPE_CHECKING:
    from ftcore.chain import Chain


def newest(chain: Chain) -> Slot | None:
    """The newest line that is the platform's; None where there is no chain.

    Raises:
        DamagedFileError: the chain was cut off, or its newest number is not the platform's.
    """
    last = chain.newest()
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
