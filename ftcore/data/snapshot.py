"""Snapshots: immutable dataset versions, named by the hash of their content.

A snapshot is a folder with the Parquet parts of each split (``train/part-00000.parquet``), the quarantine, and
``manifest.json`` with the hash of each file, which is written last, beside its own hash and the platform's signature.
The id is a hash over the rows' hashes, sorted, so the same rows give the same id on any machine and in any order.
Published again, they keep a quarantine and a manifest of each publication: see ``ftcore.publications``.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ftcore.data import publications
from ftcore.data.publications import SEAL
from ftcore.errors import DataRejectedError
from ftcore.recipe.canonical import sha256
from ftcore.store import hashes, layout, parts
from ftcore.store.files import content, read_bytes
from ftcore.store.records import now
from ftcore.store.store import RecipeStore, as_json, as_parquet, damaged, read_json, write_bytes, write_json

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from upath import UPath

    Extras = Mapping[str, bytes | Callable[[dict[str, Any]], bytes]]

SPLITS = ("train", "validation", "test")
COLUMNS = (
    "row_id",
    "text",
    "context",
    "label",
    "rejected",
    "source",
    "group",
    "split_key",
    "source_id",
    "origin",
    "observed_at",
)
TEXTS = ("text", "context", "label", "rejected")
"""What of a row people wrote; ``label`` is one of a fixed set of names where the task is to choose one."""
WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0*")
LARGE_FLOAT = re.compile(r"[+-]?\d(\.\d+)?e\+\d{2,3}")
HASHED = ("row_id", *TEXTS, "source", "group", "split")


def schema(*, split: bool = False) -> pa.Schema:
    """Arrow schema of rows: ``COLUMNS`` and, once drawn, ``split``.

    ``text`` is what the model is given, ``context`` what belongs to it (a passage, a second sentence, a system prompt),
    ``label`` what it should answer: a label, a number or a text; ``rejected`` an answer that people liked less.
    ``split_key`` is what the row's split is drawn from, taken once when the row first came in; ``source_id`` the
    source's own id and ``origin`` file and line, by which people find a row where it came from. None of the three is
    part of its content.
    """
    import pyarrow as pa

    fields = [pa.field(name, pa.string()) for name in COLUMNS[:-1]] + [
        pa.field("observed_at", pa.timestamp("ms", "UTC"))
    ]
    return pa.schema([*fields, pa.field("split", pa.string())] if split else fields)


def row_id(source: str, key: str) -> str:
    """Stable identity of an example: a hash of its source and of its key there, or of its text where it has no key."""
    return sha256(f"{source}\x00{key}")[:20]


def source_key(key: str) -> str:
    """A source's own key as identities are made of it: ``12``, ``12.0`` and ``" 12 "`` are one.

    Blanks around it go, and the fraction of a whole number that a table kept as a float. Nothing else: keys may differ
    in case or in leading zeros.
    """
    key = key.strip()
    if "." in key or "e+" in key:
        if found := WHOLE_FLOAT.fullmatch(key):
            return found[1]
        if LARGE_FLOAT.fullmatch(key) and (number := Decimal(key)) == number.to_integral_value():
            return f"{number:.0f}"
    return key


def text_key(text: str) -> str:
    """What two texts share that differ only in case, width or spacing."""
    if text.isascii():  # the same, ten times as fast
        if text.isprintable() and "  " not in text:  # and five times as fast as that
            return text.strip(" ").lower()
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def content_id(rows: pa.Table | Iterable[pa.Table]) -> str:
    """Snapshot id: the first 16 hex digits of a SHA-256 over the sorted SHA-256 of every row.

    Args:
        rows: all at once or table by table, in any order; 32 bytes a row are held.
    """
    tables: Any = [rows] if hasattr(rows, "num_rows") else rows
    return content_of(map(row_digests, tables))


def content_of(digests: Iterable[NDArray[np.bytes_]]) -> str:
    """Snapshot id of rows by their ``row_digests``."""
    import numpy as np

    # As numpy strings hashes sort bytewise; that they may end in NUL does no harm, `tobytes` keeps all 32.
    return sha256(np.sort(np.concatenate([np.empty(0, "S32"), *digests])).tobytes())[:16]


def row_digests(rows: pa.Table) -> NDArray[np.bytes_]:
    """SHA-256 of each row, 32 bytes; when a row was observed is no part of it."""
    import numpy as np

    digests = b"".join([hashlib.sha256(row).digest() for row in hashes.as_json([rows[name] for name in HASHED])])
    return np.frombuffer(digests, dtype="S32")


def publish(
    shelf: RecipeStore,
    rows: Callable[[], Iterable[pa.Table]],
    quarantine: pa.Table,
    manifest: dict[str, Any],
    extras: Extras | None = None,
    *,
    becomes_current: bool = True,
    identity: str | None = None,
) -> str:
    """Write a snapshot and make it the current one; where these very rows are one already, add a publication to it.

    Args:
        shelf: the recipe's part of the store.
        rows: gives the rows table by table, each time it is called; they should come sorted by row id.
        quarantine: the rows left out, with ``reason``.
        manifest: what else is known about the rows.
        extras: further files by name, such as the validation's result: their bytes, or what makes them of the manifest
            so far, which has the id and the hashes of the files before.
        becomes_current: False leaves the current one as it is, as for the snapshot of a period.
        identity: the snapshot's id where it is known, see ``content_id``; None makes it of the rows.

    Returns:
        The snapshot's id. A run that publishes the same once more changes nothing.
    """
    identity = identity or content_id(rows())
    place, left_out = shelf.root / "snapshots" / identity, as_parquet(quarantine)
    first = publications.vouched(shelf, place / "manifest.json")
    name = publications.named(place, first, manifest, sha256(left_out)) if first else ""
    if first is None or publications.vouched(shelf, publications.folder(place, name) / "manifest.json") is None:
        files = {one: value for one, value in first["files"].items() if publications.rows(one)} if first else {}
        files |= {} if first else _write_splits(place, rows())
        at = now().isoformat()
        document = {"snapshot": identity, "created_at": first["created_at"] if first else at}
        document |= {**({"publication": name, "published_at": at} if first else {}), **manifest, "files": files}
        extras = {"quarantine.parquet": left_out, **(extras or {})}
        _write_beside(shelf, publications.folder(place, name), document, extras)
    if becomes_current:
        pointer = {"snapshot": identity, "publication": name, "at": now().isoformat()}
        write_json(shelf.root / "snapshots" / "current.json", pointer)
    return identity


def _write_beside(shelf: RecipeStore, folder: UPath, document: dict[str, Any], extras: Extras) -> None:
    """Write the files of a publication, then its seal and its signature, then its manifest."""
    for name, given in extras.items():
        content = given(document) if callable(given) else given
        write_bytes(folder / name, content)
        document["files"][name] = sha256(content)
    data = as_json(document)
    write_bytes(folder / SEAL, sha256(data).encode())
    shelf.sign(folder / "manifest.json", data)
    write_bytes(folder / "manifest.json", data)


def _write_splits(folder: UPath, rows: Iterable[pa.Table]) -> dict[str, str]:
    """Write each split's parts; returns their hashes by name."""
    import pyarrow.compute as pc

    writers = {split: parts.Writer(folder / split, schema(split=True)) for split in SPLITS}
    for table in rows:
        for split, writer in writers.items():
            writer.add(table.filter(pc.equal(table["split"], split)))
    for writer in writers.values():
        writer.close()
    return {f"{split}/{name}": value for split, writer in writers.items() for name, value in writer.hashes.items()}


def current(shelf: RecipeStore) -> str | None:
    """Id of the current snapshot; None before the first."""
    return str(pointer["snapshot"]) if (pointer := _pointer(shelf)) else None


def _pointer(shelf: RecipeStore) -> dict[str, Any]:
    """What ``current.json`` says; empty before the first snapshot."""
    path = shelf.root / "snapshots" / "current.json"
    pointer = read_json(path)
    if pointer is None:
        return {}
    if not isinstance(pointer, dict) or not isinstance(pointer.get("snapshot"), str):
        raise damaged(path, "names no snapshot")
    return pointer


def manifest(shelf: RecipeStore, identity: str, *, proven: bool = False) -> dict[str, Any]:
    """Manifest of a snapshot: of its current publication, or of its newest where it is not the current snapshot.

    Raises:
        DataRejectedError: there is no such snapshot, or its current publication is gone; where it has to be ``proven``,
            also if somebody else than the platform wrote it.
    """
    place = folder(shelf, identity)
    if not (place / "manifest.json").exists():
        raise DataRejectedError(f"{shelf.name} has no snapshot {identity!r}", hint=f"ftcore run {shelf.name} makes one")
    pointer = _pointer(shelf)
    name = pointer.get("publication") if pointer.get("snapshot") == identity else None
    name = publications.complete(place)[-1] if name is None else str(name)
    path = publications.folder(place, name) / "manifest.json"
    found = publications.proven(shelf, path) if proven else read_json(path)
    if found is None:
        raise DataRejectedError(
            f"publication {name} of snapshot {identity} of {shelf.name} is gone",
            hint=f"restore it from a backup, or ftcore run {shelf.name} --only data publishes anew",
        )
    return layout.renamed(found)


def folder(shelf: RecipeStore, identity: str) -> UPath:
    """Folder of a snapshot."""
    if not identity.isalnum():
        raise DataRejectedError(f"{identity!r} is not a snapshot id")
    return shelf.root / "snapshots" / identity


def source_names(shelf: RecipeStore) -> dict[str, str]:
    """What the current snapshot's sources and those before them read, by name; empty where that is not known."""
    identity = current(shelf)
    if not identity or not (folder(shelf, identity) / "manifest.json").exists():
        return {}
    return dict(manifest(shelf, identity).get("source_names") or {})


def path(shelf: RecipeStore, identity: str, name: str) -> UPath:
    """Where a file of a snapshot lies: its rows, or what belongs to the publication that ``manifest`` is of."""
    place = folder(shelf, identity)
    if publications.rows(name):
        return place / name
    return publications.folder(place, manifest(shelf, identity).get("publication", "")) / name


def read(
    shelf: RecipeStore, identity: str, splits: Iterable[str] = SPLITS, columns: Sequence[str] | None = None
) -> pa.Table:
    """Rows of some splits of a snapshot, checked against the hashes in its manifest.

    Raises:
        DataRejectedError: no such snapshot, or a file was changed since it was published.
    """
    import pyarrow as pa

    return pa.concat_tables(batches(shelf, identity, splits, columns))


def batches(
    shelf: RecipeStore, identity: str, splits: Iterable[str] = SPLITS, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The same, part by part: at most 50,000 rows in memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    splits = tuple(splits)
    found = manifest(shelf, identity, proven=bool({*splits} - {*SPLITS}))
    if {*splits} <= {*SPLITS}:  # all publications share the rows of the first one
        found = publications.proven(shelf, folder(shelf, identity) / "manifest.json") or found
    files = found["files"]
    for split in splits:
        for name in sorted(name for name in files if name == f"{split}.parquet" or name.startswith(f"{split}/part-")):
            data = content(path(shelf, identity, name))
            if sha256(data) != files[name]:
                raise DataRejectedError(
                    f"snapshot {identity} of {shelf.name} was changed: {name} does not match its hash",
                    hint=f"restore {name} from a backup, or prepare the data again",
                )
            yield read_part(pq.ParquetFile(pa.BufferReader(data)), columns)


def read_part(file: Any, columns: Sequence[str] | None) -> pa.Table:
    """Columns of a part; what a snapshot of an earlier version does not have is null."""
    import pyarrow as pa

    there = file.schema_arrow.names
    wanted = list(columns) if columns else [*there, *(name for name in COLUMNS if name not in there)]
    table = file.read(columns=[name for name in wanted if name in there])
    for name in wanted:
        if name not in there:
            table = table.append_column(name, pa.nulls(table.num_rows, schema(split=True).field(name).type))
    return table.select(wanted)


def file(shelf: RecipeStore, identity: str, name: str) -> bytes:
    """A file of a snapshot, checked against its hash in the manifest.

    Raises:
        DataRejectedError: no such snapshot or file, or it was changed since it was published.
    """
    known, data = manifest(shelf, identity, proven=True)["files"], read_bytes(path(shelf, identity, name))
    if name not in known or data is None or sha256(data) != known[name]:
        raise DataRejectedError(
            f"snapshot {identity} of {shelf.name} was changed: {name} is gone or does not match its hash",
            hint=f"restore {name} from a backup, or prepare the data again",
        )
    return data


def verify(shelf: RecipeStore, identity: str) -> list[str]:
    """Hash every file of a snapshot again, those of all its publications, and its rows.

    Returns:
        What is wrong, a sentence each; nothing where every byte is as it was published.

    Raises:
        DataRejectedError: there is no such snapshot.
    """
    place = folder(shelf, identity)
    if not (place / "manifest.json").exists():
        manifest(shelf, identity)
    faults = list(publications.faults(shelf, place))
    if not faults and content_id(batches(shelf, identity)) != identity:
        faults.append("the rows do not give the snapshot's id")
    return faults


def label_shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Each label's share of the rows, 0 to 1."""
    total = sum(counts.values())
    return {str(label): count / total for label, count in counts.items()} if total else {}


def ls(shelf: RecipeStore) -> list[dict[str, Any]]:
    """Manifests of all snapshots, the newest first, each with ``current``."""
    place, now_current = shelf.root / "snapshots", current(shelf)
    folders = place.iterdir() if place.exists() else ()
    there = [one.name for one in folders if one.is_dir() and (one / "manifest.json").exists()]
    manifests = [{**manifest(shelf, one), "current": one == now_current} for one in there]
    return sorted(manifests, key=lambda one: (one["created_at"], one["snapshot"]), reverse=True)


def prune(
    shelf: RecipeStore, keep: int, used: Iterable[str] = (), *, before: datetime | None = None, dry_run: bool = False
) -> list[str]:
    """Delete old snapshots.

    Args:
        shelf: the recipe's part of the store.
        keep: how many of the newest stay.
        used: ids that stay whatever their age, such as those that a model version was trained on. The current one
            stays too.
        before: those that were made later stay, too.
        dry_run: only say which would go.

    Returns:
        The deleted ids, oldest first.
    """
    stay = set(used)
    old = [one for one in ls(shelf)[max(keep, 0) :] if not one["current"] and one["snapshot"] not in stay]
    gone = [one["snapshot"] for one in old if before is None or datetime.fromisoformat(one["created_at"]) < before]
    for identity in [] if dry_run else reversed(gone):
        place = folder(shelf, identity)
        (place / "manifest.json").unlink()  # without it nobody sees the rest, should this be interrupted
        place.fs.rm(place.path, recursive=True)
    return gone[::-1]
