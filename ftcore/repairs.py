"""How a break of the ledger is put right where what is signed tells how: no backup is needed, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ftcore import intents
from ftcore.errors import DamagedFileError
from ftcore.files import read_bytes, set_aside
from ftcore.ledger import HEADS, Break
from ftcore.slots import FOLDER, number, read

if TYPE_CHECKING:
    from upath import UPath

    from ftcore.store import Shelf
    from ftcore.tracking import Tracking


@dataclass(frozen=True)
class Repair:
    """What puts a break right."""

    hint: str
    """What it does, and what a person does then."""
    do: Callable[[], object]


def of(shelf: Shelf, tracking: Tracking, one: Break) -> Repair | None:
    """The repair of a break; None where only a backup has what was there."""
    chain, path = shelf.chain, shelf.chain.folder / one.line
    if one.n is not None and chain.has(one.n, one.line):
        again = partial(chain.restore, one.n)
        return Repair("write the signed line again, and find out who changed it", again)
    if one.n is None and one.line.endswith(".json") and path.exists():
        return Repair("set it aside as .foreign, and find out who wrote it", partial(set_aside, path, "foreign"))
    newest = _newest(shelf)
    behind = _unsigned(shelf, one.n) if one.n is not None and newest is not None and one.n > newest else None
    if behind is not None:
        hint = "set it aside as .foreign, since no line of the platform's has this number; find out who wrote it"
        return Repair(hint, partial(set_aside, behind, "foreign"))
    if one.line == HEADS and _is_known_here(shelf, newest):
        hint = "write it again, since this machine knows it; find out who took it away"
        return Repair(hint, partial(intents.witness, shelf, tracking))
    return None


def _newest(shelf: Shelf) -> int | None:
    """Number of the newest line; None where the chain was cut off."""
    try:
        last = shelf.chain.newest()
    except DamagedFileError:
        return None
    return last.n if last else None


def _unsigned(shelf: Shelf, n: int) -> UPath | None:
    """The file of a number, where nobody signed what it holds."""
    path = shelf.root / "ledger" / FOLDER / number(n)
    if not path.exists():
        return None
    slot = read(read_bytes(path) or b"", shelf.name)
    signed = slot is not None and slot.n == n and not slot.fault(frozenset({slot.key}))
    return None if signed else path


def _is_known_here(shelf: Shelf, newest: int | None) -> bool:
    """Whether the newest line is the one that this machine keeps."""
    kept, last = shelf.chain.kept(), shelf.chain.newest() if newest is not None else None
    return bool(kept and last and kept["n"] == last.n and kept["hash"] == last.hash)
