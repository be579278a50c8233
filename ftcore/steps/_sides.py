"""Where the texts of a draft belong: on the side on which they have been, else where their first row was drawn to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ftcore import snapshot, split
from ftcore.context import log
from ftcore.errors import DataRejectedError
from ftcore.steps import _history, _spool

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ftcore.cleaning.exact import Index
    from ftcore.context import Context
    from ftcore.sections import Prepare
    from ftcore.steps._history import Texts
    from ftcore.steps._spool import Spool

SAME, SAME_ROW, NEW = range(3)
"""Ranks of rows: published with this very text, published with another text, and not published."""


@dataclass
class Sides:
    """Split keys of all rows by their position, and what the snapshot before says about them."""

    key: NDArray[np.uint64]
    side: NDArray[np.int8]
    """Positions in ``snapshot.SPLITS``."""
    rank: NDArray[np.int8]
    """``SAME``, ``SAME_ROW`` or ``NEW``: of rows that say the same the lowest stays."""
    text: NDArray[np.uint64]
    prompt: NDArray[np.uint64]
    past: Texts | None
    shares: Prepare

    def settle(self, kept: NDArray[np.int64], seen: NDArray[np.int64]) -> None:
        """Give each kept row that is new the split key of its text or prompt, where that has one already.

        Rows that were published keep theirs. Of new rows with one prompt the first seen decides for all.

        Args:
            kept: positions, in the order of their row ids.
            seen: when each of all rows was observed.
        """
        import numpy as np

        new = kept[self.rank[kept] == NEW]
        if self.past is not None and len(new):
            for mine, theirs in ((self.prompt, self.past.prompt), (self.text, self.past.text)):
                found, place = _lookup(mine[new], theirs)
                self._put(new[found], self.past.key[place[found]])
            new = new[~found & ~_lookup(self.prompt[new], self.past.prompt)[0]]
        if self.prompt is self.text or not len(new):
            return  # one row a prompt is kept, and nothing more to settle
        order = kept[np.lexsort((np.arange(len(kept)), seen[kept], self.rank[kept], self.prompt[kept]))]
        first = np.flatnonzero(np.r_[True, self.prompt[order][1:] != self.prompt[order][:-1]])
        leader = np.repeat(order[first], np.diff(np.r_[first, len(order)]))
        follows = np.isin(order, new) & (self.key[order] != self.key[leader])
        self._put(order[follows], self.key[leader[follows]])

    def _put(self, places: NDArray[np.int64], keys: NDArray[np.uint64]) -> None:
        self.key[places] = keys
        self.side[places] = [snapshot.SPLITS.index(snapshot.side(f"{key:016x}", self.shares)) for key in keys.tolist()]


def of(context: Context, spool: Spool, index: Index) -> Sides:
    """Sides as the rows were drawn, beside what the snapshot before holds."""
    import numpy as np

    identity = _identity(context)
    past = None
    if identity is not None:
        said = partial(_spool.said, task=context.recipe.task)
        try:
            past = _history.texts(context.shelf, split.load(context.shelf), identity, said)
        except (DataRejectedError, OSError) as error:
            log.warning(_history.UNREADABLE, error)
    text = np.ascontiguousarray(index.key[:, 0])
    written = any(one.prompt is not None for one in spool.cleaned)
    prompt = spool.column("prompt") if written else text
    rank = np.full(len(text), NEW, np.int8)
    if past is not None and len(text):
        ids = _history.row_numbers(index.row_id.tolist())
        found, place = _lookup(ids, past.row)
        rank[found] = np.where(past.text[place[found]] == text[found], SAME, SAME_ROW)
    return Sides(spool.column("key"), spool.column("side"), rank, text, prompt, past, context.recipe.prepare)


def _identity(context: Context) -> str | None:
    """The snapshot that ``ingest`` looked at, so that both steps see the same history; None where there is none."""
    figures: dict[str, Any] = context.earlier("ingest").figures
    return figures["history"] if "history" in figures else _history.current(context.shelf)


def _lookup(mine: NDArray[np.uint64], theirs: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which values are among others, and at which position the first of those stands."""
    import numpy as np

    if not len(theirs):
        return np.zeros(len(mine), bool), np.zeros(len(mine), np.int64)
    order = np.argsort(theirs, kind="stable")
    place = order[np.minimum(np.searchsorted(theirs, mine, sorter=order), len(order) - 1)]
    return theirs[place] == mine, place
