"""Where the rows of a draft belong: with their group, else where their text has been, else where it is drawn to."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ftcore.data import history, split, split_keys
from ftcore.data import spool as _spool
from ftcore.errors import DataRejectedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ftcore.context import Context
    from ftcore.data.cleaning.exact import Index
    from ftcore.data.history import Texts
    from ftcore.data.spool import CleanedRows
    from ftcore.recipe.sections import Prepare

log = logging.getLogger(__name__)

SAME, SAME_ROW, NEW = range(3)
"""Ranks of rows: published with this very text, published with another text, and not published."""
IMPORTANCE = (2, 1, 0)
"""By split as in ``snapshot.SPLITS``: of two texts alike, the test split keeps its own."""


@dataclass
class Sides:
    """Split keys of all rows by their position, and what the snapshot before says about them."""

    key: NDArray[np.uint64]
    side: NDArray[np.int8]
    """Positions in ``snapshot.SPLITS``."""
    rank: NDArray[np.int8]
    """``SAME``, ``SAME_ROW`` or ``NEW``: of rows that say the same the lowest stays."""
    group: NDArray[np.uint64]
    """0 where a row has none."""
    text: NDArray[np.uint64]
    prompt: NDArray[np.uint64]
    past: Texts | None
    shares: Prepare
    known: NDArray[np.bool_]
    """Rows that were published at any time: they keep their key."""

    def settle(self, kept: NDArray[np.int64], seen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give each kept row that is free the split key of its text or prompt, and find rows that would leak.

        A row that was published keeps its key, and a new row with a group has its group's: a group is in one split,
        whatever its texts. All others go where the rows with their prompt are, else where their text or prompt was
        before, else where the first seen of them was drawn to. Where rows that cannot follow leave a prompt on two
        sides, those that were published stay, then those of the test split, then of the validation split.

        Args:
            kept: positions, in the order of their row ids.
            seen: when each of all rows was observed.

        Returns:
            Positions of the kept rows whose prompt stays on another side, and for each a row of that side.
        """
        import numpy as np

        free = ~self.known[kept] & (self.rank[kept] == NEW) & (self.group[kept] == 0)
        place_of = self.rank[kept].astype(np.int64) + 2 * free  # published ones, grouped ones, remembered ones, others
        if self.past is not None and free.any():
            loose = np.flatnonzero(free)
            for mine, theirs in ((self.prompt, self.past.prompt), (self.text, self.past.text)):
                found, place = _lookup(mine[kept[loose]], theirs)
                self._put(kept[loose[found]], self.past.key[place[found]])
                place_of[loose[found]] = NEW + 1
        weight = np.where(free, 0, np.array(IMPORTANCE)[self.side[kept]])
        ranked = np.lexsort((np.arange(len(kept)), seen[kept], weight, place_of, self.prompt[kept]))
        order, free = kept[ranked], free[ranked]
        if not len(order):
            return order, order
        first = np.flatnonzero(np.r_[True, self.prompt[order][1:] != self.prompt[order][:-1]])
        leader = np.repeat(order[first], np.diff(np.r_[first, len(order)]))
        follows = free & (self.key[order] != self.key[leader])
        self._put(order[follows], self.key[leader[follows]])
        leaks = self.side[order] != self.side[leader]
        return order[leaks], leader[leaks]

    def straddling_groups(self, kept: NDArray[np.int64]) -> int:
        """How many groups have kept rows in more than one split."""
        import numpy as np

        there = kept[self.group[kept] != 0]
        both = np.unique(np.stack([self.group[there], self.side[there].astype(np.uint64)]), axis=1)
        _, splits = np.unique(both[0], return_counts=True)
        return int((splits > 1).sum())

    def _put(self, places: NDArray[np.int64], keys: NDArray[np.uint64]) -> None:
        self.key[places] = keys
        self.side[places] = split.assign_splits(keys, self.shares)


def of(context: Context, spool: CleanedRows, index: Index) -> Sides:
    """Sides as the rows were drawn, beside what the snapshot before holds."""
    import numpy as np

    identity, keys = _identity(context), split.load(context.shelf)
    past = None
    if identity is not None:
        said = partial(_spool.said, task=context.recipe.task)
        try:
            past = history.texts(context.shelf, keys, identity, said)
        except (DataRejectedError, OSError) as error:
            log.warning(history.UNREADABLE, error)
    text = np.ascontiguousarray(index.key[:, 0])
    written = any(one.prompt is not None for one in spool.cleaned)
    prompt = spool.column("prompt") if written else text
    rank = np.full(len(text), NEW, np.int8)
    ids = split_keys.row_numbers(index.row_id)
    known, _ = split_keys.load(context.shelf, keys).among(ids)
    if past is not None and len(text):
        found, place = _lookup(ids, past.row)
        rank[found] = np.where(past.text[place[found]] == text[found], SAME, SAME_ROW)
    key, side, group = (spool.column(name) for name in ("key", "side", "group"))
    return Sides(key, side, rank, group, text, prompt, past, context.recipe.prepare, known)


def _identity(context: Context) -> str | None:
    """The snapshot that ``ingest`` looked at, so that both steps see the same history; None where there is none."""
    figures: dict[str, Any] = context.earlier("ingest").figures
    return figures["history"] if "history" in figures else history.current(context.shelf)


def _lookup(mine: NDArray[np.uint64], theirs: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which values are among others, and at which position the first of those stands."""
    import numpy as np

    if not len(theirs):
        return np.zeros(len(mine), bool), np.zeros(len(mine), np.int64)
    order = np.argsort(theirs, kind="stable")
    place = order[np.minimum(np.searchsorted(theirs, mine, sorter=order), len(order) - 1)]
    return theirs[place] == mine, place
