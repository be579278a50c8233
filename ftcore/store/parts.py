"""Tables too big to hold: a folder of Parquet files, ``part-00000.parquet`` and on, each of at most 50,000 rows."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ftcore.recipe.canonical import sha256
from ftcore.store.store import digest as digest_of
from ftcore.store.store import read_table, write_bytes

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath

ROWS = 50_000
"""Most rows of a part: about 20 MB of sentences in memory."""
UNIQUE = ("row_id", "text", "split_key", "source_id", "origin")
"""Columns in which hardly a value comes twice: a dictionary of them would take time and room."""
SIZE_BYTES = 64_000_000
"""A part is also written once so much text waits: rows may be long."""


def files(path: UPath) -> list[UPath]:
    """The parts in a folder, in order; a single Parquet file is its own only part."""
    if path.name.endswith(".parquet"):
        return [path]
    return sorted((p for p in path.iterdir() if p.name.startswith("part-")), key=lambda p: p.name)


def read(path: UPath, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """One part after the other, each cut to at most ``ROWS`` rows; an empty part gives one empty table."""
    for file in files(path):
        table = read_table(file, columns)
        for start in range(0, max(table.num_rows, 1), ROWS):
            yield table.slice(start, ROWS)


def count(path: UPath) -> int:
    """Rows of all parts, by their footers."""
    import pyarrow.parquet as pq

    found = 0
    for file in files(path):
        with file.open("rb") as opened:
            found += pq.read_metadata(opened).num_rows
    return found


def digest(path: UPath) -> str:
    """Hash over the parts' names and bytes: what ``digest_of`` gives for the hashes of the writer that wrote them."""
    return digest_of({file.name: sha256(file.read_bytes()) for file in files(path)})


def remove(folder: UPath) -> None:
    """Delete every part below a folder; those that are gone already are no fault."""
    for file in list(folder.rglob("part-*.parquet")) if folder.exists() else []:
        file.unlink(missing_ok=True)


class Writer:
    """Writes rows as they come into parts of ``ROWS`` rows; ``hashes`` fills as the parts are written."""

    def __init__(self, folder: UPath, schema: pa.Schema) -> None:
        """Empty the folder of an interrupted attempt's parts."""
        self.folder, self.schema = folder, schema
        self.hashes: dict[str, str] = {}
        self.rows = 0
        self._waiting: list[pa.Table] = []
        self._size_bytes = 0
        if folder.exists():
            for file in [f for f in folder.iterdir() if "part-" in f.name]:  # half-written ones too
                file.unlink()

    def add(self, table: pa.Table) -> None:
        """Take rows; a part is written as soon as it is full."""
        self._waiting.append(table.cast(self.schema))
        self.rows += table.num_rows
        self._size_bytes += table.nbytes
        while sum(waiting.num_rows for waiting in self._waiting) >= ROWS or self._size_bytes >= SIZE_BYTES:
            self._write(ROWS)

    def close(self) -> None:
        """Write what is left; an empty table still has one part, so that its columns can be read."""
        if self._waiting or not self.hashes:
            self._write(ROWS)

    def _write(self, count: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = pa.concat_tables([self.schema.empty_table(), *self._waiting])
        sink = io.BytesIO()
        encoded = [one for one in self.schema.names if one not in UNIQUE]
        part = rows.slice(0, count).combine_chunks()
        pq.write_table(part, sink, compression="zstd", compression_level=1, use_dictionary=encoded)
        name = f"part-{len(self.hashes):05d}.parquet"
        write_bytes(self.folder / name, sink.getvalue())
        self.hashes[name] = sha256(sink.getvalue())
        left = rows.slice(count)
        self._waiting = [left] if left.num_rows else []
        self._size_bytes = left.nbytes
