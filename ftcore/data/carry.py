"""Rows of an incremental source that are not read anew: they come from the snapshot that holds them.

Beside them stand the rows that it left out, ``STORE/RECIPE/state/left_out/RUN_ID.parquet``: those in quarantine, and
those that another row repeats. They are carried on, too, so that a row that was left out is looked at each time: its
reason may be gone, such as the row that it repeated or contradicted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot
from ftcore.data.split_keys import row_numbers
from ftcore.store.store import read_table, write_table

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath

    from ftcore.context import Context
    from ftcore.data.watermarks import Cursor, Mark
    from ftcore.recipe.model import Recipe
    from ftcore.store.store import RecipeStore

log = logging.getLogger(__name__)

REPEATED = "repeated.parquet"
"""Rows of incremental sources that ``prepare`` dropped as exact or near duplicates, as they were cleaned."""


def grown(
    shelf: RecipeStore,
    source: str,
    fresh: Iterator[pa.Table],
    mark: Mark,
    cursor: Cursor,
    there: Iterable[list[str]] | None = None,
) -> Iterator[pa.Table]:
    """New rows, then the rows of a source that a snapshot holds and that were not read anew.

    Args:
        shelf: the recipe's part of the store.
        source: name that its rows carry.
        fresh: what was read.
        mark: names the snapshot, and the rows that were left out of it.
        cursor: knows, once all is read, which rows the source says are gone.
        there: ids of all rows that the source has now; None where it was not asked.
    """
    import numpy as np
    import pyarrow as pa

    keys: list[Any] = [np.empty(0, np.uint64)]
    for table in fresh:
        keys.append(row_numbers(table["row_id"]))
        yield table
    keys.append(row_numbers(sorted(cursor.deleted)))
    known = np.unique(np.concatenate(keys))
    held = None
    if there is not None:
        held = np.unique(np.concatenate([np.empty(0, np.uint64), *map(row_numbers, there)]))
    carried = gone = 0
    for table in _held(shelf, mark, source):
        ids = row_numbers(table["row_id"])
        old = ~np.isin(ids, known)
        if held is not None:
            gone += int((old & ~np.isin(ids, held)).sum())
            old &= np.isin(ids, held)
        carried += int(old.sum())
        yield table.filter(pa.array(old, pa.bool_()))
    log.info("carried over %s rows of %s from snapshot %s", f"{carried:,}", source, mark.snapshot)
    if gone := gone + len(cursor.deleted):
        log.info("%s rows of %s are gone at the source", f"{gone:,}", source)


def keep(context: Context, quarantine: pa.Table, repeated: UPath) -> str:
    """Write the rows of incremental sources that are left out of a snapshot; returns where, relative to the store.

    Called again for the same run it writes the same. Nothing is written where no source is incremental.
    """
    import pyarrow as pa

    names = incremental(context.recipe)
    if not names:
        return ""
    tables = [of(quarantine.select(list(snapshot.COLUMNS)), names)]
    if repeated.exists():
        tables.append(read_table(repeated))
    path = context.shelf.root / "state" / "left_out" / f"{context.run_id}.parquet"
    write_table(path, pa.concat_tables(tables))
    return context.written(path)


def incremental(recipe: Recipe) -> list[str]:
    """Names of the recipe's incremental sources, as their rows carry them."""
    return [str(one.source_name()) for one in recipe.sources if one.incremental]


def of(rows: pa.Table, names: list[str]) -> pa.Table:
    """The rows of some sources."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return rows.filter(pc.is_in(rows["source"], pa.array(names, pa.string())))


def _held(shelf: RecipeStore, mark: Mark, source: str) -> Iterator[pa.Table]:
    """Rows of a source that a snapshot keeps, and then those that were left out of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = list(snapshot.COLUMNS)
    for table in snapshot.batches(shelf, mark.snapshot, columns=columns):
        yield of(table, [source])
    path = shelf.root / mark.left_out if mark.left_out else None
    if path is not None and not path.exists():
        log.warning("%s is gone: rows of %s that were left out are not looked at anew", path, source)
    elif path is not None:
        yield of(read_table(path), [source])
    else:  # published by an earlier version
        content = pa.BufferReader(snapshot.file(shelf, mark.snapshot, "quarantine.parquet"))
        yield of(snapshot.read_part(pq.ParquetFile(content), columns), [source])
