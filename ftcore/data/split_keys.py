"""Split keys of all rows that were ever published: ``STORE/RECIPE/state/split_keys.parquet``, 24 bytes a row.

A snapshot holds the rows of one version. A row that misses one, as it was faulty or absent, comes back with the key
that it had. The file holds hashes alone; one that is damaged or missing is made anew from the snapshots that are there.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot
from ftcore.errors import DataRejectedError
from ftcore.recipe.canonical import sha256
from ftcore.recipe.sections import Prepare
from ftcore.store import hashes
from ftcore.store.store import read_table, write_bytes, write_table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from upath import UPath

    from ftcore.data.split import Raw, SplitKeys
    from ftcore.store.store import RecipeStore

log = logging.getLogger(__name__)

FILE = "split_keys.parquet"
READ = "said.parquet"
"""In the folder of ``ingest``: what the rows that it read say, to be kept once they are published."""
HALF = 32


@dataclass(frozen=True)
class Keys:
    """Split keys of rows, each row once, in the order of ``row``."""

    row: NDArray[np.uint64]
    """First 64 bits of each row id."""
    key: NDArray[np.uint64]
    said: NDArray[np.uint64]
    """32 bits of the raw text and 32 of the raw group, those 0 where there is none; all 0 where nobody knows."""

    def with_(self, other: Keys) -> Keys:
        """These rows and others; of a row in both the other key counts, and what it says where that is known."""
        import numpy as np

        row = np.concatenate([self.row, other.row])
        order = np.argsort(row, kind="stable")
        ranked, key, said = (
            row[order],
            np.concatenate([self.key, other.key])[order],
            np.concatenate([self.said, other.said])[order],
        )
        last = np.r_[ranked[1:] != ranked[:-1], np.ones(len(ranked[:1]), bool)]
        again = np.r_[np.zeros(len(ranked[:1]), bool), ranked[1:] == ranked[:-1]] & (said == 0)
        before = np.flatnonzero(again)
        said[before] = said[before - 1]
        return Keys(ranked[last], key[last], said[last])

    def among(self, rows: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which rows are there, and their positions."""
        import numpy as np

        if not len(self.row):
            return np.zeros(len(rows), bool), np.zeros(len(rows), np.int64)
        place = np.minimum(np.searchsorted(self.row, rows), len(self.row) - 1)
        return self.row[place] == rows, place


def said(rows: pa.Table, raw: Raw) -> NDArray[np.uint64]:
    """What raw rows say, as ``Keys`` keep it; unknown of rows that bring a split key, as they were cleaned before."""
    import numpy as np

    half = np.uint64(HALF)
    both = ((raw.text >> half | np.uint64(1)) << half) | (raw.group >> half) | (raw.group != 0)
    return np.where(rows["split_key"].is_null().to_numpy(), both, np.uint64(0))


def other_row(was: int, now: int) -> bool:
    """Whether a row of one id is another than before: neither its text nor its group is what it was."""
    mask = (1 << HALF) - 1
    return bool(was and now) and was >> HALF != now >> HALF and was & mask != now & mask


def load(shelf: RecipeStore, keys: SplitKeys, besides: str | None = None) -> Keys:
    """Keys of all rows that were published; where the file is damaged, of those that snapshots hold.

    Args:
        shelf: the recipe's part of the store.
        keys: the recipe's split keys.
        besides: a snapshot whose keys are known.
    """
    import pyarrow.parquet as pq

    path = shelf.root / "state" / FILE
    if path.exists():
        try:
            with path.open("rb") as file:
                table = pq.read_table(file, page_checksum_verification=True)
            return Keys(*(table[name].to_numpy() for name in ("row", "key", "said")))
        except (OSError, ValueError, KeyError) as error:
            log.warning("%s is damaged: split keys are taken from the snapshots that are there (%s)", path, error)
    return reduce(Keys.with_, _snapshots(shelf, keys, besides), of([]))


def of(numbers: Iterable[tuple[NDArray[np.uint64], NDArray[np.uint64]]]) -> Keys:
    """Keys of rows by the numbers of their ids and of their split keys, see ``_history``."""
    import numpy as np

    empty = np.empty(0, np.uint64)
    row, key = (np.concatenate([empty, *column]) for column in zip((empty, empty), *numbers, strict=True))
    return Keys(empty, empty, empty).with_(Keys(row, key, np.zeros(len(row), np.uint64)))


def write_read(folder: UPath, rows: list[NDArray[np.uint64]], say: list[NDArray[np.uint64]]) -> None:
    """Write what the rows say that ``ingest`` read."""
    import numpy as np
    import pyarrow as pa

    empty = np.empty(0, np.uint64)
    columns = {"row": np.concatenate([empty, *rows]), "said": np.concatenate([empty, *say])}
    write_table(folder / READ, pa.table(columns))


def commit(shelf: RecipeStore, keys: SplitKeys, ingest: UPath, published: Iterable[pa.Table], identity: str) -> None:
    """Keep the keys of rows that were published; called again it writes the same.

    Args:
        shelf: the recipe's part of the store.
        keys: the recipe's split keys.
        ingest: folder of the step that read the rows.
        published: all rows of the snapshot.
        identity: of the snapshot.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    new = of((row_numbers(one["row_id"]), key_numbers(one["split_key"])) for one in published)
    if (ingest / READ).exists():
        table = read_table(ingest / READ)
        row, say = (table[name].to_numpy() for name in ("row", "said"))
        read = Keys(np.empty(0, np.uint64), *[np.empty(0, np.uint64)] * 2).with_(Keys(row, say, say))
        there, place = read.among(new.row)
        new = Keys(new.row, new.key, np.where(there, read.said[place] if len(read.row) else 0, 0).astype(np.uint64))
    whole = load(shelf, keys, besides=identity).with_(new)
    sink = io.BytesIO()
    columns = {"row": whole.row, "key": whole.key, "said": whole.said}
    pq.write_table(pa.table(columns), sink, compression="zstd", write_page_checksum=True)
    write_bytes(shelf.root / "state" / FILE, sink.getvalue())


def _snapshots(shelf: RecipeStore, keys: SplitKeys, besides: str | None) -> Iterator[Keys]:
    """Keys of each snapshot that can be read, the oldest first; those of a period decide about no other."""
    folder = shelf.root / "snapshots"
    names = [one.name for one in folder.iterdir() if (one / "manifest.json").exists()] if folder.exists() else []
    dated = []
    for name in (one for one in names if one != besides):
        try:
            manifest = snapshot.manifest(shelf, name)
            if "period" not in manifest:
                dated.append((str(manifest.get("created_at")), name))
        except (OSError, ValueError) as error:
            log.warning("no split keys are taken from snapshot %s: %s", name, error)
    for _, name in sorted(dated):
        try:
            yield keys_of_snapshot(shelf, keys, name)
        except (DataRejectedError, OSError, ValueError) as error:
            log.warning("no split keys are taken from snapshot %s: %s", name, error)


def row_numbers(row_ids: Sequence[str] | pa.ChunkedArray | NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """The first 64 bits of each row id."""
    import numpy as np

    found = hashes.numbers(row_ids)
    if found is not None:
        return found
    ids = row_ids.to_pylist() if hasattr(row_ids, "to_pylist") else list(row_ids)
    return np.fromiter(map(_row_number, ids), np.uint64, len(ids))


def _row_number(row_id: str | bytes | None) -> int:
    try:
        return int(row_id[:16], 16)  # type: ignore[index]
    except (TypeError, ValueError):  # an id of the source's own making, or none
        return int(sha256(row_id or b"")[:16], 16)


def key_numbers(keys: Sequence[str] | pa.ChunkedArray) -> NDArray[np.uint64]:
    """Split keys as numbers, which are their 64 bits."""
    import numpy as np

    found = hashes.numbers(keys)
    if found is not None:
        return found
    every = keys.to_pylist() if hasattr(keys, "to_pylist") else keys
    return np.fromiter((int(key, 16) for key in every), np.uint64, len(every))


def keys_of_snapshot(shelf: RecipeStore, keys: SplitKeys, identity: str) -> Keys:
    """Split keys of a snapshot's rows."""
    manifest = snapshot.manifest(shelf, identity, proven=True)
    return of(
        (row_numbers(table["row_id"]), key_numbers_of(table, keys, manifest))
        for table in snapshot.batches(shelf, identity, columns=["row_id", "group", "split_key", "split"])
    )


def key_numbers_of(table: pa.Table, keys: SplitKeys, manifest: Mapping[str, Any]) -> NDArray[np.uint64]:
    """Numbers of the split keys of a snapshot's rows; those of an earlier version get keys that fit their split."""
    found = hashes.numbers(table["split_key"])
    if found is not None:
        return found
    shares = _shares(manifest)
    columns = zip(*(table[name].to_pylist() for name in ("split_key", "split", "group", "row_id")), strict=True)
    return key_numbers([key or keys.within(name or "train", group or row, shares) for key, name, group, row in columns])


def _shares(manifest: Mapping[str, Any]) -> Prepare:
    """Shares with which a snapshot was drawn."""
    settings = (manifest.get("settings") or {}).get("prepare") or {}
    return Prepare(**{name: settings[name] for name in ("validation", "test") if name in settings})
