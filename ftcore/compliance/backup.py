"""One archive of everything that a company cannot make again: store, MLflow's database, artefacts, and keys if wanted.

::

    backup.json              format, version of ftcore, time, recipes, and the places that the database names
    store/RECIPE/…           runs, snapshots, logs, ledger: all but caches
    mlflow/mlflow.db         a copy by SQLite's own backup
    artifacts/RECIPE/…       what MLflow keeps for the runs
    data_docs/…  keys/…      pages of validations; public keys, and private ones where asked for
    keys/heads/…             the newest line of each ledger, by which an older one that is put in its place is told
    manifest.json            SHA-256 and size of every file before it, signed with the platform's key; the last member,
                             so that a cut archive has none

It may be made while a ring runs. What refers to something is read before what it refers to: records, then the ledger,
then the rest, and the database last, all under the lock that changes of the registry take. So the archive is like the
store of a machine that lost power at that moment, which every step is made to go on from. Large files never change
once somebody refers to them, and follow without a lock.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from ftcore.errors import FtcoreError, TransientError
from ftcore.progress import progress
from ftcore.recipe.canonical import canonical, sha256
from ftcore.recipe.model import NAME
from ftcore.registry.promotion import LOCK
from ftcore.store import keys
from ftcore.store.files import as_json, local, mapping, names_in, read_many
from ftcore.store.records import now, versions
from ftcore.store.slots import FOLDER, HEAD, number, read
from ftcore.store.store import LEDGER, head_name, shelf
from ftcore.tracking.places import artifact_root

if TYPE_CHECKING:
    from upath import UPath

    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore

FORMAT = 1
HEADER, MANIFEST, DATABASE = "backup.json", "manifest.json", "mlflow/mlflow.db"
SMALL_BYTES = 1_000_000
"""Files below this size are read at once, under the lock; larger ones follow."""
POINTERS = ("record.json", "record.sig.json", "current.json", "recipe.json")
"""Files that refer to others: they are read first."""
CHUNK = 1 << 20
TRIES = 3


class Source(Protocol):
    """A file that can be read: a path on a disk or in an object store."""

    def open(self, mode: str) -> IO[bytes]:
        """Open it."""
        ...


@dataclass
class _Archive:
    """A TAR that is being written, and the hashes of what is in it."""

    tar: tarfile.TarFile
    advance: Callable[..., None]
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def data(self, name: str, data: bytes) -> None:
        """Add bytes as a file, once."""
        if name not in self.known:
            self._add(name, io.BytesIO(data), len(data))

    def file(self, name: str, path: Any) -> bool:
        """Add a file as it is now, once; False where it is gone."""
        if name in self.known:
            return True
        try:
            with path.open("rb") as source:
                size = source.seek(0, io.SEEK_END)
                source.seek(0)
                self._add(name, source, size)
        except FileNotFoundError:
            return False
        return True

    def _add(self, name: str, source: IO[bytes], size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        reader = _Hashed(source, self.advance)
        try:
            self.tar.addfile(member, reader)  # type: ignore[arg-type]
        except OSError as error:
            if "unexpected end of data" in str(error):
                raise TransientError(
                    f"{name} became shorter while it was read", hint="make the backup again"
                ) from error
            raise
        self.known[name] = {"sha256": reader.sha.hexdigest(), "size_bytes": size}


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, source: IO[bytes], advance: Callable[..., None]) -> None:
        self.source, self.advance, self.sha = source, advance, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self.source.read(size)
        self.sha.update(data)
        self.advance(len(data))
        return data


def make(settings: Settings, target: Path, *, private_keys: bool = False) -> dict[str, Any]:
    """Write a backup of this home into one file, whole or not at all.

    Args:
        settings: tell where everything is.
        target: a file that is not there yet.
        private_keys: whether the keys that sign go with it; whoever has the file can then sign as this platform.

    Returns:
        ``file``, ``files``, ``size_bytes``, ``recipes``, and ``signed_by``, the key; empty where it is not here.

    Raises:
        FtcoreError: the file is there, or MLflow's database or artefacts are not on this machine.
        BusyError: a change of the registry did not end within the lock's time.
        TransientError: files were deleted again and again while they were read.
    """
    _check_new(target)
    database, root = database_of(settings), artifact_root(settings)
    if root is None:
        raise FtcoreError("the artefacts are not on this machine", hint="back up MLflow's server by its own tools")
    ring = keys.ring(settings)
    if not (ring.is_elsewhere or ring.named):
        ring.make()
    draft = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        for attempt in range(1, TRIES + 1):
            try:
                known, recipes = _write(settings, draft, database, root, private_keys)
                break
            except _GoneError as error:
                if attempt == TRIES:
                    raise TransientError(f"{error} was deleted while it was read", hint="try it again later") from error
        _check_new(target)  # another backup of this name may have been faster
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    size = sum(int(one["size_bytes"]) for one in known.values())
    about = {"file": str(target), "files": len(known), "size_bytes": size, "recipes": recipes}
    return about | {"signed_by": ring.own()}


def _check_new(target: Path) -> None:
    if target.exists():
        raise FtcoreError(f"{target} is there already", hint="a backup is never written over: name another file")


class _GoneError(Exception):
    """A file that others refer to was deleted between two looks."""


def _write(
    settings: Settings, draft: Path, database: Path, root: Path, private_keys: bool
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    shelves = [shelf(settings, name) for name in _recipes(settings)]
    total = sum(size for _, _, size in _others(settings, shelves, root))
    total += database.stat().st_size if database.is_file() else 0
    with draft.open("wb") as file, progress("backup, bytes", total) as advance:
        draft.chmod(0o600)
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar, ExitStack() as held:
            archive = _Archive(tar, advance)
            names = [one.name for one in shelves]
            places = {"store": settings.store_root, "artifacts": str(root), "home": str(settings.home.resolve())}
            about = {"format": FORMAT, "ftcore": versions().get("ftcore", ""), "made_at": now().isoformat()}
            archive.data(HEADER, as_json({**about, "recipes": names, "places": places}))
            for one in shelves:
                held.enter_context(one.lock(LOCK, settings.lock_timeout_s))
            for one in shelves:
                _decisions(archive, one)
            if database.is_file():
                _copy_database(archive, database)
            held.close()
            for name, path, _ in _others(settings, shelves, root):
                if not archive.file(name, path) and _is_referred_to(name):
                    raise _GoneError(name)
            _keys(archive, settings, private_keys)
            archive.data(MANIFEST, as_json({"files": archive.known, **_signature(settings, archive.known)}))
        file.flush()
    return archive.known, names


def _signature(settings: Settings, files: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Who wrote a backup; nothing where the platform's private key is not here."""
    ring = keys.ring(settings)
    if not ring.private.exists():
        return {}
    key, signature = ring.sign(message(files))
    return {"key": key, "signature": signature}


def message(files: dict[str, dict[str, Any]]) -> bytes:
    """What is signed of a backup: its files with their hashes."""
    return f"ftcore.backup/1\n{sha256(canonical(files))}".encode()


def signer(data: bytes) -> str:
    """The key that signed a backup's manifest, in hex; empty where nobody did.

    Raises:
        ValueError: the signature does not hold.
    """
    files, found = read_manifest(data), mapping(data)
    key = found.get("key", "")
    if key and not keys.signed(str(key), str(found.get("signature")), message(files)):
        raise ValueError(f"the signature of {MANIFEST} does not hold")
    return str(key)


def _decisions(archive: _Archive, one: RecipeStore) -> None:
    """What refers to other things, then what is small: see the module's text for the order."""
    start = f"store/{one.name}"
    small = [(name, path) for name, path, size in _files(one.root, start) if size < SMALL_BYTES]
    first = {name for name, _ in small if name.rpartition("/")[2] in POINTERS}
    ledger = f"{start}/{LEDGER}/"
    for name, path in small:
        if name in first:
            archive.file(name, path)
    _ledger(archive, one, ledger)
    for name, path in small:
        if not name.startswith(ledger):
            archive.file(name, path)


def _ledger(archive: _Archive, one: RecipeStore, start: str) -> None:
    """The ledger up to its newest number at one moment: numbers, their lines, and a head that fits."""
    kept = one.chain.kept()  # before the numbers, so that each that it knows of must be there
    names = [name for name in names_in(one.chain.slots) if name != HEAD]
    slots = read_many(one.chain.slots, names)
    lines = set(names_in(one.root / LEDGER)) if not slots else set[str]()
    last = None
    for name in sorted(slots):
        archive.data(f"{start}{FOLDER}/{name}", slots[name])
        slot = read(slots[name], one.name)
        if slot:
            lines |= {slot.name, *slot.line.get("lines", {})}
            last = slot if name == number(slot.n) else last
    there = read_many(one.root / LEDGER, sorted(lines))
    if last:  # its line may be about to be written
        there.setdefault(last.name, as_json(last.line))
    for name, data in there.items():
        archive.data(f"{start}{name}", data)
    if last:
        archive.data(f"{start}{FOLDER}/{HEAD}", as_json(last.head))
    if last or kept:
        head = last.head if last and not (kept and kept["n"] >= last.n) else kept
        archive.data(f"keys/heads/{head_name(one.name)}", as_json(head))


def _copy_database(archive: _Archive, database: Path) -> None:
    with tempfile.TemporaryDirectory(dir=database.parent, prefix=".backup-") as folder:
        copy = Path(folder) / "mlflow.db"
        with (
            closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=60)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        archive.file(DATABASE, copy)


def _others(settings: Settings, shelves: list[RecipeStore], root: Path) -> Iterator[tuple[str, Any, int]]:
    """Every file but ledgers, keys and the database, each with its name in the archive and its size."""
    for one in shelves:
        yield from (
            found
            for found in _files(one.root, f"store/{one.name}")
            if not found[0].startswith(f"store/{one.name}/{LEDGER}/")
        )
    yield from _files(root, "artifacts")
    yield from _files(settings.home.resolve() / "data_docs", "data_docs")


def _files(folder: UPath | Path, start: str) -> Iterator[tuple[str, Any, int]]:
    """Files below a folder without caches, drafts and links, by name."""
    base = folder.as_posix() if local(folder) is None else str(local(folder))
    there: Any = local(folder)
    found: list[Any] = sorted((there or folder).rglob("*"), key=str) if (there or folder).exists() else []
    for path in found:
        inner = str(path.as_posix()).removeprefix(base).strip("/")
        hidden = any(part.startswith(".") for part in inner.split("/")) and start != "artifacts"
        if hidden or (inner.startswith("cache/") and start.startswith("store/")) or path.is_symlink():
            continue
        try:
            if path.is_file():
                yield f"{start}/{inner}", path, int(path.stat().st_size)
        except FileNotFoundError:  # deleted since it was listed
            continue


def _keys(archive: _Archive, settings: Settings, private: bool) -> None:
    folder = settings.home.resolve() / "keys"
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.is_file() and (private or path.suffix == ".pub"):
            archive.file(f"keys/{path.name}", path)


def _is_referred_to(name: str) -> bool:
    """Whether others count on a file: not on rows that a later step takes away, or that are deleted by age."""
    return name.startswith("artifacts/") or "/snapshots/" in name


def _recipes(settings: Settings) -> list[str]:
    from upath import UPath

    root = UPath(settings.store_root)
    return sorted(path.name for path in root.iterdir() if NAME.match(path.name)) if root.exists() else []


def database_of(settings: Settings) -> Path:
    """File of MLflow's database.

    Raises:
        FtcoreError: it is not a file of this machine.
    """
    uri = settings.mlflow_uri
    if not uri.startswith("sqlite:///"):
        hint = "back up MLflow's database by its own tools, and run this with FTCORE_TRACKING_URI=sqlite:///…"
        raise FtcoreError(f"MLflow's database is not a file of this machine: {uri}", hint=hint)
    return Path(unquote(uri.removeprefix("sqlite:///").partition("?")[0])).resolve()


def read_manifest(data: bytes) -> dict[str, dict[str, Any]]:
    """Files of a backup with their hashes, as its last member holds them.

    Raises:
        ValueError: it is none.
    """
    try:
        files = json.loads(data)["files"]
        return {
            str(name): {"sha256": str(one["sha256"]), "size_bytes": int(one["size_bytes"])}
            for name, one in files.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{MANIFEST} is no list of files") from error
