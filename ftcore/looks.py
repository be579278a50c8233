"""Which rows earlier verdicts judged on, so that the error rate of promotion holds over the life of a champion.

::

    STORE/RECIPE/looks/champion-N.parquet    by group of rows, how many verdicts against version N judged on it

One file a champion, as large as the groups that were ever judged on: what a look costs does not grow with the number of
looks. A group is known by a hash of its split key, or of its row id where it has none. A run counts once, however often
its gate is run; what it found is kept in its own folder.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from ftcore.store import read_table, write_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pyarrow as pa
    from upath import UPath

    from ftcore.store import Shelf

LOCK = "looks"
RUNS = b"ftcore.runs"
"""Metadata of the file: the runs that were counted, as JSON."""


def take(shelf: Shelf, champion: int, run: tuple[str, UPath], keys: Sequence[str], timeout_s: float) -> np.ndarray:
    """Count a run's look at some rows, once, and give how many there were before it.

    Args:
        shelf: the recipe's part of the store.
        champion: version that the candidate is compared with.
        run: id of the run, and its gate's own folder.
        keys: of each row what names its group, or itself, ``[rows]``.
        timeout_s: seconds to wait for another process that counts.

    Returns:
        Earlier verdicts against this champion that judged on each row's group, ``[rows]``.

    Raises:
        BusyError: another process counts, and does not come to an end.
    """
    import numpy as np

    run_id, folder = run
    own = folder / "looks.parquet"
    hashes = np.array([int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) for key in keys], np.uint64)
    with shelf.lock(LOCK, timeout_s):
        if own.exists() and (before := _own(own, hashes)) is not None:
            return before
        before = _count(shelf.root / "looks" / f"champion-{champion}.parquet", run_id, hashes)
        write_table(own, _table(hashes, before))
    return before


def _own(path: UPath, hashes: np.ndarray) -> np.ndarray | None:
    """What the run's first look at these rows found; None where the rows are others by now."""
    import numpy as np

    table = read_table(path)
    same = np.array_equal(table["key"].to_numpy(), hashes)
    return table["looks"].to_numpy().astype(int) if same else None


def _count(path: UPath, run_id: str, hashes: np.ndarray) -> np.ndarray:
    """Looks before this one ``[rows]``; this one is counted on the way, unless it was before a crash."""
    import numpy as np

    table = read_table(path) if path.exists() else _table(hashes[:0], hashes[:0])
    runs = json.loads((table.schema.metadata or {}).get(RUNS, b"[]"))
    known, counts = (table[name].to_numpy() for name in ("key", "looks"))
    every, places = np.unique(np.concatenate([known, hashes]), return_inverse=True)
    looks = np.zeros(len(every), int)
    looks[places[: len(known)]] = counts
    mine = places[len(known) :]
    before: np.ndarray = looks[mine]
    if run_id in runs:
        return before - 1
    looks[np.unique(mine)] += 1
    write_table(path, _table(every, looks).replace_schema_metadata({RUNS: json.dumps([*runs, run_id])}))
    return before


def _table(keys: np.ndarray, looks: np.ndarray) -> pa.Table:
    import pyarrow as pa

    return pa.table({"key": pa.array(keys, pa.uint64()), "looks": pa.array(looks, pa.int32())})
