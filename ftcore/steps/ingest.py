"""ingest: read every source of the recipe, as a stream, into parts of raw rows."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ftcore import parts, snapshot, watermarks
from ftcore._find import find
from ftcore.context import Context, Outcome, log
from ftcore.errors import DataRejectedError, RecipeError, TransientError
from ftcore.sources._mapping import sampled
from ftcore.store import digest

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.sections import Part

NEEDS = ("pyarrow.parquet",)


def run(context: Context) -> Outcome:
    """Write ``parts/`` with all sources' rows, in the recipe's order of sources.

    A source with a watermark gives the rows that its last published snapshot holds and those that came since. The
    watermark itself only goes into the record: ``validate`` commits it with the snapshot.

    Raises:
        DataRejectedError: the sources have no row at all, or one cannot be read.
        RecipeError: two incremental sources have one name.
        TransientError: a server went away, or the disk is full.
    """
    _one_name_each(context)
    # A record from before must not vouch for parts that are being replaced.
    (context.folder / "record.json").unlink(missing_ok=True)
    folder = context.folder / "parts"
    counts: dict[str, int] = {}
    marks: dict[str, Any] = {}
    try:
        writer = parts.Writer(folder, snapshot.schema())
        for number, source in enumerate(context.recipe.sources):
            name, before = f"{number}:{source.kind}", writer.rows
            for table in _rows(source, context, marks):
                writer.add(table)
            counts[name] = writer.rows - before
            log.info("read %s rows from %s", f"{counts[name]:,}", name)
        writer.close()
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise TransientError(f"no room is left for the rows in {folder}", hint="make room, then run again") from error
    if not writer.rows:
        raise DataRejectedError(f"the sources of {context.recipe.name} hold no row", [f"{n}: 0 rows" for n in counts])
    return Outcome(
        reason=f"read {writer.rows:,} rows from {len(counts)} sources",
        figures={"rows": writer.rows, "by_source": counts, "watermarks": marks},
        inputs={"rows": digest(writer.hashes)},
        paths={"rows": context.written(folder)},
    )


def _rows(source: Part, context: Context, marks: dict[str, Any]) -> Iterator[pa.Table]:
    """Rows of one source; of an incremental one what is new first, then what the last snapshot holds beside it."""
    module: Any = find("sources", source.kind)
    if not _incremental(source):
        yield from module.read(source, context)
        return
    name, config = module.source_name(source), digest(source.model_dump(mode="json"))
    mark = watermarks.load(context.shelf, name, config) if context.params.get("reread") != "always" else None
    if mark and not (snapshot.folder(context.shelf, mark[1]) / "manifest.json").exists():
        log.warning("snapshot %s is gone: %s is read from the beginning", mark[1], name)
        mark = None
    cursor = watermarks.Cursor(since=mark[0] if mark else None, reached=mark[0] if mark else None)
    fresh = module.read_since(source, context, cursor)
    # The cap holds for old and new rows together, so it is applied to both once more.
    yield from sampled(source, _grown(context, name, fresh, mark[1])) if mark else fresh  # type: ignore[arg-type]
    if cursor.reached is not None:
        marks[name] = watermarks.figure(cursor.reached, config)


def _grown(context: Context, source: str, fresh: Iterator[pa.Table], base: str) -> Iterator[pa.Table]:
    """New rows, then the rows of ``source`` in snapshot ``base`` that were not read anew."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    keys: list[Any] = []
    for table in fresh:
        keys.append(_keys(table))
        yield table
    known = np.unique(np.concatenate(keys)) if keys else np.array([], dtype=np.uint64)
    carried = 0
    for table in snapshot.batches(context.shelf, base, columns=list(snapshot.COLUMNS)):
        mine = table.filter(pc.equal(table["source"], source))
        old = mine.filter(pa.array(~np.isin(_keys(mine), known), pa.bool_()))
        carried += old.num_rows
        yield old
    log.info("carried over %s rows of %s from snapshot %s", f"{carried:,}", source, base)


def _keys(table: pa.Table) -> Any:
    """The first 64 bits of each row id: 8 bytes a row is all that the comparison holds."""
    import numpy as np

    return np.fromiter((int(row[:16], 16) for row in table["row_id"].to_pylist()), np.uint64, table.num_rows)


def _incremental(source: Part) -> bool:
    return bool(getattr(source, "watermark", None))


def _one_name_each(context: Context) -> None:
    names: dict[str, int] = {}
    faults = []
    for number, source in enumerate(context.recipe.sources):
        if _incremental(source):
            name = find("sources", source.kind).source_name(source)
            if names.setdefault(name, number) != number:
                faults.append((f"sources[{number}].name", f"sources[{names[name]}] is called {name} already"))
    if faults:
        raise RecipeError(str(context.recipe_path), faults, hint="give each a name of its own")
