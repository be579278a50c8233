"""Whether the ledgers still hold: checked in a thread of its own, so that no page waits long for it.

A check reads and verifies every line, and on the page of a recipe or a version compares registry and records with it.
Its result is kept for a while; a page shows the newest there is, with its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from ftcore.errors import FtcoreError, TransientError
from ftcore.registry import integrity
from ftcore.store import ledger
from ftcore.store.records import now
from ftcore.tracking.client import Tracking

if TYPE_CHECKING:
    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore

FRESH_S, SWEEP_S = 60.0, 3600.0
"""How long a result counts as new, in seconds: on a recipe's own pages, and on a page of all ledgers."""
AT_ONCE = 2
"""Ledgers that one visit to a page of all ledgers has checked: each costs the server as long as its lines are many."""
WAIT_S = 1.0
"""How long a page waits for a check, in seconds."""


@dataclass(frozen=True)
class Proof:
    """What a check of one ledger found."""

    recipe: str
    breaks: tuple[ledger.Break, ...] = ()
    """What does not hold, the first line first, but for what was acknowledged."""
    acknowledged: tuple[ledger.Break, ...] = ()
    """What does not hold, and somebody goes on all the same."""
    at: datetime | None = None
    """When it was checked, UTC; None where that is still under way."""
    trouble: str = ""
    """Why it could not be checked."""
    compared: bool = False
    """Whether registry and records were compared with it, too."""

    @property
    def first(self) -> ledger.Break | None:
        """The first broken link."""
        return self.breaks[0] if self.breaks else None

    @property
    def holds(self) -> bool:
        """Whether every line was found as it was written, but for what was acknowledged."""
        return self.at is not None and not self.breaks and not self.trouble


@dataclass
class _Kept:
    proof: Proof
    checked: float
    """By the monotonic clock."""
    under_way: Future[Proof] | None = None


NEVER = -1e9
_POOL = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ftcore-ledger")
_KEPT: dict[str, _Kept] = {}
_LOCK = Lock()


def of(shelf: RecipeStore, head: str | None = None, *, wait_s: float = WAIT_S) -> Proof:
    """The newest proof of one recipe's ledger.

    Args:
        shelf: of the recipe.
        head: the newest line as the registered model keeps it.
        wait_s: how long to wait for one that is under way, in seconds.
    """
    started = _start(shelf, partial(_chain, shelf, head), FRESH_S)
    wait([started] if started else [], timeout=wait_s)
    return _KEPT[shelf.root.as_uri()].proof


def of_versions(settings: Settings, shelf: RecipeStore, head: str | None, only: Collection[int]) -> Proof:
    """The newest proof of a recipe's ledger, and of what registry and records say of some versions.

    All versions of a recipe are for ``ftcore doctor``: each costs as long as a page may take.

    Args:
        settings: where MLflow is.
        shelf: of the recipe.
        head: the newest line as the registered model keeps it, where MLflow goes away meanwhile.
        only: numbers of the versions.
    """
    about = ",".join(str(number) for number in sorted(only))
    started = _start(shelf, partial(_versions, settings, shelf, head, only), FRESH_S, about)
    wait([started] if started else [], timeout=WAIT_S)
    return _KEPT[f"{shelf.root.as_uri()}#{about}" if about else shelf.root.as_uri()].proof


def of_all(shelves: Iterable[RecipeStore], *, wait_s: float = WAIT_S) -> Mapping[str, Proof]:
    """The newest proof of each of several ledgers, by recipe; of those that were never checked or long ago some are."""
    named = {shelf.name: shelf for shelf in shelves}
    known = {name: _KEPT.get(shelf.root.as_uri()) for name, shelf in named.items()}
    oldest = sorted(named, key=lambda name: kept.checked if (kept := known[name]) else NEVER)[:AT_ONCE]
    futures = [one for name in oldest if (one := _start(named[name], partial(_chain, named[name], None), SWEEP_S))]
    wait(futures, timeout=wait_s)
    found = {name: _KEPT.get(shelf.root.as_uri()) for name, shelf in named.items()}
    return {name: kept.proof if kept else Proof(name) for name, kept in found.items()}


def _start(shelf: RecipeStore, look: Callable[[], Proof], fresh_s: float, about: str = "") -> Future[Proof] | None:
    """Look anew where the newest proof is old; ``about`` tells apart what is compared beside the chain."""
    key = f"{shelf.root.as_uri()}#{about}" if about else shelf.root.as_uri()
    with _LOCK:
        kept = _KEPT.setdefault(key, _Kept(Proof(shelf.name), NEVER))
        if kept.under_way is None and time.monotonic() - kept.checked > fresh_s:
            kept.under_way = _POOL.submit(_check, shelf, look, kept)
        return kept.under_way


def _check(shelf: RecipeStore, look: Callable[[], Proof], kept: _Kept) -> Proof:
    try:
        found = look()
    except (FtcoreError, OSError, ValueError) as error:
        found = Proof(shelf.name, at=now(), trouble=str(error.args[0] if error.args else error))
    with _LOCK:
        kept.proof, kept.checked, kept.under_way = found, time.monotonic(), None
    return found


def _chain(shelf: RecipeStore, head: str | None) -> Proof:
    return _proof(shelf, ledger.check(shelf, head))


def _versions(settings: Settings, shelf: RecipeStore, head: str | None, only: Collection[int]) -> Proof:
    try:
        return _proof(shelf, integrity.check(shelf, Tracking(settings, shelf.name), only), compared=True)
    except TransientError:  # the page tells that MLflow is away
        return _chain(shelf, head)


def _proof(shelf: RecipeStore, breaks: Iterable[ledger.Break], *, compared: bool = False) -> Proof:
    found = list(breaks)
    known = tuple(one for one in found if one.acknowledged)
    return Proof(shelf.name, tuple(ledger.unacknowledged(found)), known, now(), compared=compared)
