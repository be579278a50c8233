"""ingest: read every source of the recipe into one table of raw rows."""

from __future__ import annotations

from ftcore._find import find
from ftcore.context import Context, Outcome, log
from ftcore.errors import DataRejectedError
from ftcore.store import hash_file, write_table

NEEDS = ("pyarrow.parquet",)


def run(context: Context) -> Outcome:
    """Write ``rows.parquet`` with all sources' rows, in the recipe's order of sources.

    Raises:
        DataRejectedError: the sources have no row at all, or one cannot be read.
    """
    import pyarrow as pa

    tables, counts = [], {}
    for number, source in enumerate(context.recipe.sources):
        read = list(find("sources", source.kind).read(source, context))
        name = f"{number}:{source.kind}"
        counts[name] = sum(table.num_rows for table in read)
        log.info("read %s rows from %s", f"{counts[name]:,}", name)
        tables += read
    if not sum(counts.values()):
        raise DataRejectedError(f"the sources of {context.recipe.name} hold no row", [f"{n}: 0 rows" for n in counts])
    rows = pa.concat_tables(tables)
    path = context.folder / "rows.parquet"
    write_table(path, rows)
    return Outcome(
        reason=f"read {rows.num_rows:,} rows from {len(counts)} sources",
        figures={"rows": rows.num_rows, "by_source": counts},
        inputs={"rows": hash_file(path)},
        paths={"rows": context.written(path)},
    )
