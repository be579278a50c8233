"""Snapshots: immutable dataset versions, named by the hash of their content.

A snapshot is a folder with one Parquet file per split, the quarantine, and ``manifest.json``, which is written last.
Its id is a hash over the rows sorted by row id, so the same rows give the same id on any machine and in any order.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ftcore.errors import DataRejectedError
from ftcore.records import canonical, now, sha256
from ftcore.store import Shelf, hash_file, read_json, read_table, write_json, write_table

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath

    from ftcore.recipe import Prepare

SPLITS = ("train", "validation", "test")
COLUMNS = ("row_id", "text", "label", "source", "group", "observed_at")
HASHED = ("row_id", "text", "label", "source", "group", "split")


def schema(*, split: bool = False) -> pa.Schema:
    """Arrow schema of rows: ``row_id, text, label, source, group, observed_at`` and, once drawn, ``split``."""
    import pyarrow as pa

    fields = [pa.field(name, pa.string()) for name in COLUMNS[:-1]] + [
        pa.field("observed_at", pa.timestamp("ms", "UTC"))
    ]
    return pa.schema([*fields, pa.field("split", pa.string())] if split else fields)


def row_id(source: str, key: str) -> str:
    """Stable identity of an example: a hash of its source and of its key there, or of its text where it has no key."""
    return sha256(f"{source}\x00{key}")[:20]


def text_key(text: str) -> str:
    """What two texts share that differ only in case, width or spacing."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def side(group: str | None, text: str, shares: Prepare) -> str:
    """The split that a row belongs to, for ever: drawn from its group, or from its text where it has none.

    Returns:
        ``train``, ``validation`` or ``test``, with the recipe's shares. The draw depends on nothing else, so a row
        can never move.
    """
    drawn = int(hashlib.sha256(f"split\x00{group or text_key(text)}".encode()).hexdigest()[:13], 16) / 16**13
    if drawn < shares.test:
        return "test"
    return "validation" if drawn < shares.test + shares.validation else "train"


def content_id(rows: pa.Table) -> str:
    """Snapshot id: the first 16 hex digits of the SHA-256 over all rows, sorted by row id."""
    total = hashlib.sha256()
    ordered = rows.select(list(HASHED)).sort_by("row_id")
    for batch in ordered.to_batches(max_chunksize=10_000):
        for row in zip(*(batch.column(name).to_pylist() for name in HASHED), strict=True):
            total.update(canonical(row).encode() + b"\n")
    return total.hexdigest()[:16]


def publish(shelf: Shelf, rows: pa.Table, quarantine: pa.Table, manifest: dict[str, Any]) -> str:
    """Write a snapshot, unless these very rows are one already, and make it the current one.

    Returns:
        The snapshot's id.
    """
    import pyarrow.compute as pc

    identity = content_id(rows)
    folder = shelf.root / "snapshots" / identity
    if not (folder / "manifest.json").exists():
        files = {}
        for split in SPLITS:
            write_table(folder / f"{split}.parquet", rows.filter(pc.equal(rows["split"], split)).sort_by("row_id"))
        write_table(folder / "quarantine.parquet", quarantine)
        for name in (*SPLITS, "quarantine"):
            files[f"{name}.parquet"] = hash_file(folder / f"{name}.parquet")
        manifest = {"snapshot": identity, "created_at": now().isoformat(), **manifest, "files": files}
        write_json(folder / "manifest.json", manifest)
    write_json(shelf.root / "snapshots" / "current.json", {"snapshot": identity, "at": now().isoformat()})
    return identity


def current(shelf: Shelf) -> str | None:
    """Id of the current snapshot; None before the first."""
    pointer = read_json(shelf.root / "snapshots" / "current.json")
    return str(pointer["snapshot"]) if pointer else None


def manifest(shelf: Shelf, identity: str) -> dict[str, Any]:
    """Manifest of a snapshot.

    Raises:
        DataRejectedError: there is no such snapshot.
    """
    found = read_json(folder(shelf, identity) / "manifest.json")
    if found is None:
        raise DataRejectedError(f"{shelf.name} has no snapshot {identity!r}", hint=f"ftcore run {shelf.name} makes one")
    return dict(found)


def folder(shelf: Shelf, identity: str) -> UPath:
    """Folder of a snapshot."""
    if not identity.isalnum():
        raise DataRejectedError(f"{identity!r} is not a snapshot id")
    return shelf.root / "snapshots" / identity


def read(shelf: Shelf, identity: str, splits: Iterable[str] = SPLITS) -> pa.Table:
    """Rows of some splits of a snapshot, checked against the hashes in its manifest.

    Raises:
        DataRejectedError: no such snapshot, or a file was changed since it was published.
    """
    import pyarrow as pa

    files = manifest(shelf, identity)["files"]
    tables = []
    for split in splits:
        path = folder(shelf, identity) / f"{split}.parquet"
        if hash_file(path) != files[path.name]:
            raise DataRejectedError(
                f"snapshot {identity} of {shelf.name} was changed: {path.name} does not match its hash"
            )
        tables.append(read_table(path))
    return pa.concat_tables(tables)
