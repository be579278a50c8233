"""The store: a folder or an object store that holds snapshots, runs, the prediction log and the ledger.

::

    STORE/RECIPE/runs/RUN_ID/recipe.json         the recipe that the run goes by, as it was when the run began
    STORE/RECIPE/runs/RUN_ID/STEP/record.json    what a step found, beside what it wrote
    STORE/RECIPE/runs/RUN_ID/STEP/record.sig.json the platform's signature of the record
    STORE/RECIPE/runs/RUN_ID/STEP/shards/KEY/    the same of each worker that did a shard of the step
    STORE/RECIPE/snapshots/ID/manifest.json      an immutable dataset version
    STORE/RECIPE/snapshots/ID/manifest.sig.json  the platform's signature of the manifest
    STORE/RECIPE/snapshots/ID/publications/NAME/ what a later run left out and counted that published the same rows
    STORE/RECIPE/snapshots/current.json          which one is current, and by which publication
    STORE/RECIPE/predictions/date=…/NAME.parquet the prediction log
    STORE/RECIPE/feedback/date=…/NAME.parquet    true labels that came back
    STORE/RECIPE/ledger/KIND--RUN_ID.json        decisions, one a file, never changed
    STORE/RECIPE/ledger/chain/NUMBER.json        the same in order, each with the hash of the one before, signed
    STORE/RECIPE/intents/KIND--RUN_ID.json       a change of the registry that has begun and has no ledger line yet
    STORE/RECIPE/state/left_out/RUN_ID.parquet   rows of incremental sources that were read and are in no snapshot
    STORE/RECIPE/state/layout.json               the version of all this, see ``layout``
    STORE/RECIPE/state/split.json                the secret behind the split keys of its rows, written once
    STORE/RECIPE/state/split_keys.parquet        split keys of all rows that were ever published, as hashes
    STORE/RECIPE/erasures/NAME.json              what a file was before and after a forgotten subject's rows left it
    STORE/RECIPE/cache/NAME.parquet              rows that can be made again; emptied when somebody is forgotten

Every file appears whole or not at all: on a local disk by writing beside it and renaming, on an object store because
a put is atomic.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.errors import BusyError, FtcoreError, without_passwords
from ftcore.recipe.canonical import canonical, sha256
from ftcore.store import appending, layout
from ftcore.store.chain import SIGNATURE, Chain
from ftcore.store.files import (
    as_json,
    content,
    create_bytes,
    damaged,
    local,
    mapping,
    names_in,
    read_json,
    write_bytes,
    write_json,
)
from ftcore.store.keys import Keyring, signed
from ftcore.store.records import Record, now

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath

    from ftcore.settings import Settings

__all__ = [
    "RUN_ID", "RecipeStore", "as_json", "as_parquet", "create_bytes", "damaged", "digest", "hash_file", "hash_folder",
    "local", "log", "read_json", "read_table", "run_name", "shelf", "upload", "write_bytes", "write_json",
    "write_table",
]  # fmt: skip
log = logging.getLogger(__name__)
LEDGER = "ledger"
RUN_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}\Z")


def run_name(verb: str, run_id: str) -> str:
    """A run's name in the store: the verb of its DAG and the scheduler's run id, made fit for a path.

    Where characters had to go, a hash of the whole keeps different runs apart.
    """
    name = f"{verb}-{run_id}"
    if RUN_ID.match(name):
        return name
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', name)[:110]}-{sha256(name)[:8]}"


def write_table(path: UPath | Path, table: pa.Table) -> None:
    """Write a table as Parquet, whole or not at all."""
    write_bytes(path, as_parquet(table))


def as_parquet(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def read_table(path: UPath | Path, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file."""
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        return pq.read_table(file, columns=columns)


def hash_file(path: UPath | Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    return sha256(content(path))


def hash_folder(path: Path) -> str:
    """SHA-256 over the names and hashes of a local folder's files."""
    return digest({file.relative_to(path).as_posix(): hash_file(file) for file in path.rglob("*") if file.is_file()})


def size_of(folder: Path) -> str:
    """Number of files in a folder and their bytes, as ``FILES/BYTES``."""
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    return f"{len(sizes)}/{sum(sizes)}"


def upload(source: Path, target: UPath) -> None:
    """Copy a local folder's files into the store, each whole or not at all."""
    for file in sorted(source.rglob("*")):
        if file.is_file():
            write_bytes(target / file.relative_to(source).as_posix(), file.read_bytes())


@dataclass(frozen=True)
class RecipeStore:
    """One recipe's part of the store."""

    root: UPath
    """Folder of the recipe."""
    name: str
    """Name of the recipe."""
    locks: Path
    """Local folder of the lock files."""
    signing_key: Path | None = None
    """File of the key that signs the ledger; None means the platform's own."""

    @cached_property
    def chain(self) -> Chain:
        """The ledger as the chain that it is."""
        keys = self.locks.parent / "keys"
        witness = keys / "heads" / head_name(self.name, self._place)
        former = keys / "heads" / head_name(self.name, self.root.as_uri())  # of an earlier ftcore
        if former != witness and former.exists() and not witness.exists():
            with suppress(OSError):
                former.rename(witness)
        return Chain(self.root / LEDGER, self.name, Keyring(keys, self.signing_key, self.root.parent), witness)

    @property
    def _place(self) -> str:
        """Where the store is, seen from the home: the same where both were moved."""
        here, home = local(self.root), self.locks.parent.resolve()
        if here is None or not here.resolve().is_relative_to(home):
            return self.root.as_uri()
        return here.resolve().relative_to(home).as_posix()

    def folder(self, run_id: str, step: str, shard: str = "") -> UPath:
        """Folder in which a step of a run, or one shard of it, writes.

        Raises:
            FtcoreError: the run id or the shard's key could leave the folder.
        """
        for what, name in (("run id", run_id), ("shard", shard or "none")):
            if not RUN_ID.match(name):
                raise FtcoreError(f"bad {what} {name!r}", hint="use letters, digits, '.', '_' and '-', 120 at most")
        whole = self.root / "runs" / run_id / step
        return whole / "shards" / shard if shard else whole

    @property
    def layout(self) -> object:
        """Version of what lies here, as it is written; None where nothing is, or where it was not numbered yet."""
        try:
            return mapping(content(self.root / "state" / layout.FILE)).get("layout")
        except FileNotFoundError:
            return None

    def write_layout(self) -> None:
        """Say that what lies here is of today's version."""
        write_json(self.root / "state" / layout.FILE, {"layout": layout.VERSION, "at": now().isoformat()})

    def record(self, run_id: str, step: str, shard: str = "") -> Record | None:
        """The record of a finished step or shard, or None where it has not finished."""
        document = read_json(self.folder(run_id, step, shard) / "record.json")
        return None if document is None else Record.model_validate(document)

    def write_record(self, record: Record) -> None:
        """Write a record: the last thing a step does."""
        folder = self.folder(record.run_id, record.step, record.params.get("shard", ""))
        data = as_json(record.model_dump(mode="json"))
        self.sign(folder / "record.json", data)
        write_bytes(folder / "record.json", data)

    def is_signed(self, run_id: str, step: str, shard: str = "") -> bool:
        """Whether the record of a step is as the platform wrote it, and no file that somebody else put there."""
        return self.is_ours(self.folder(run_id, step, shard) / "record.json")

    def sign(self, path: UPath, data: bytes) -> None:
        """Sign what a file is about to hold, for the place where it lies."""
        appending.begin(self.chain)
        key, signature = self.chain.ring.sign(self._seal(path, data))
        write_json(path.with_suffix(SIGNATURE), {"key": key, "signature": signature})

    def is_ours(self, path: UPath) -> bool:
        """Whether a file is as it was signed by the platform, and for this place, or is known to be older than that."""
        try:
            seal, data = read_json(path.with_suffix(SIGNATURE)), content(path)
            if seal is None:
                return self.chain.adopted().get(self.relative(path)) == sha256(data)
            known = seal["key"] in self.chain.ring.trusted()
            return known and signed(seal["key"], seal["signature"], self._seal(path, data))
        except (OSError, ValueError, TypeError, KeyError):
            return False

    def _seal(self, path: UPath, data: bytes) -> bytes:
        """What is signed for a file: where it lies, and its hash."""
        return f"ftcore.file/1\n{self.name}\n{self.relative(path)}\n{sha256(data)}".encode()

    def relative(self, path: UPath) -> str:
        """A path as records keep it: relative to the recipe's folder."""
        return path.as_posix().removeprefix(self.root.as_posix()).lstrip("/")

    def add_to_ledger(
        self, kind: str, run_id: str, decision: str, reason: str, *, key: str = "", **figures: object
    ) -> dict[str, Any]:
        """Append a decision, once: asked again for the same run it keeps and returns the line that is there.

        Args:
            kind: the step or command that decided.
            run_id: run that the decision belongs to.
            decision: one or two words.
            reason: one sentence.
            key: tells several decisions of one kind and run apart.
            figures: what else the line says.

        Raises:
            DamagedFileError: the chain does not hold where the line would be added.
            FtcoreError: the name could leave the ledger, this machine has not the platform's key, or the ledger cannot
                be written.
        """
        name = f"{kind}--{run_id}{f'--{key}' if key else ''}.json"
        if "/" in name or "\\" in name:  # a run's id may come from a tag that anybody can write
            raise FtcoreError(f"bad name of a ledger line {name!r:.200}", hint="use letters, digits, '.', '_' and '-'")
        line = {"at": now().isoformat(), "kind": kind, "run_id": run_id, "decision": decision, "reason": reason}
        return appending.append(self.chain, name, line | figures)

    def line(self, kind: str, run_id: str) -> dict[str, Any] | None:
        """The ledger's line of a kind and a run, as the platform wrote it; None where there is none."""
        return next(self.chain.lines([f"{kind}--{run_id}.json"]), None)

    def ledger(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Decisions in the order in which they were written; of one kind, or all. What others wrote is left out.

        Raises:
            DamagedFileError: a file of the ledger holds no line.
        """
        start = f"{kind}--" if kind else ""
        names = (name for name in names_in(self.root / LEDGER) if name.startswith(start))
        return list(self.chain.lines(names))

    def append(self, log: str, table: pa.Table, day: str, name: str) -> bool:
        """Add rows to a log (``predictions`` or ``feedback``) as one file; False where that file is already there."""
        path = self.root / log / f"date={day}" / f"{name}.parquet"
        if path.exists():
            return False
        write_table(path, table)
        return True

    def log_files(self, log: str, since: datetime | None = None) -> Iterator[UPath]:
        """Files of a log, from the day of ``since`` on, in order."""
        folder = self.root / log
        if folder.exists():
            first = f"date={since:%Y-%m-%d}" if since else ""
            for day in sorted((d for d in folder.iterdir() if d.name >= first), key=lambda d: d.name):
                yield from sorted((f for f in day.iterdir() if f.name.endswith(".parquet")), key=lambda f: f.name)

    def read_log(self, log: str, since: datetime | None = None) -> pa.Table | None:
        """Rows of a log later than ``since`` by their column ``at``; None where there are none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        tables = [read_table(file) for file in self.log_files(log, since)]
        if not tables:
            return None
        table = pa.concat_tables(tables, promote_options="default")
        if since is not None:
            table = table.filter(pc.greater(table["at"], pa.scalar(since, type=table["at"].type)))
        return table if table.num_rows else None

    def cached(self, name: str, key: str) -> pa.Table | None:
        """Rows that were kept under a name with this very key; None where there are none."""
        import pyarrow as pa

        path = self.root / "cache" / f"{name}.parquet"
        try:
            table = read_table(path)
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError) as error:
            log.warning("%s cannot be read, and its rows are made again: %s", path, error)
            return None
        same = (table.schema.metadata or {}).get(b"key") == key.encode()
        return table.replace_schema_metadata() if same else None

    def keep_cached(self, name: str, key: str, table: pa.Table) -> None:
        """Keep rows that can be made again, in place of those that were kept under the name before."""
        write_table(self.root / "cache" / f"{name}.parquet", table.replace_schema_metadata({"key": key}))

    def clear_cache(self) -> int:
        """Delete all rows that can be made again; returns how many files there were."""
        folder = self.root / "cache"
        files = [file for file in folder.iterdir() if file.name.endswith(".parquet")] if folder.exists() else []
        for file in files:
            file.unlink(missing_ok=True)
        return len(files)

    def lock(self, what: str, timeout_s: float) -> AbstractContextManager[object]:
        """Hold ``what`` against this machine's other processes until the ``with`` ends; a process that dies lets go.

        Raises:
            BusyError: still held after ``timeout_s`` seconds.
        """
        from filelock import FileLock, Timeout

        self.locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.locks / f"{self.name}.{what}.lock")
        try:
            try:
                return lock.acquire(timeout=0)
            except Timeout:
                if timeout_s:
                    log.info("another process is at work on %s of %s; waiting up to %g s", what, self.name, timeout_s)
                return lock.acquire(timeout=timeout_s)
        except Timeout as error:
            raise BusyError(
                f"another process is at work on {what} of {self.name} and did not finish within {timeout_s:g} s",
                hint="wait for it, or set FTCORE_LOCK_TIMEOUT_S",
            ) from error


def head_name(recipe: str, place: str = "") -> str:
    """Name of the file in ``HOME/keys/heads`` that keeps the newest line; of ``HOME/store`` by default."""
    return f"{recipe}-{sha256(place or f'store/{recipe}')[:8]}.json"


def take_over_heads(settings: Settings, old_store: Path) -> list[str]:
    """Keep for the store as it is now what this home knows of it at its former place; returns the recipes.

    Where the newest line of a ledger is not known, an older state that is put in its place would not be told.
    """
    done, folder = [], settings.home / "keys" / "heads"
    for name in recipes(settings):
        old = folder / head_name(name, (old_store / name).absolute().as_uri())
        new = shelf(settings, name).chain.witness
        if old != new and old.exists() and not new.exists():
            old.rename(new)
            done.append(name)
    return done


def shelf(settings: Settings, recipe: str) -> RecipeStore:
    """The part of the configured store that belongs to a recipe.

    Raises:
        ConfigurationError: a later ftcore wrote it.
    """
    from upath import UPath

    made = RecipeStore(UPath(settings.store_root) / recipe, recipe, settings.home / "locks", settings.signing_key)
    layout.check(made.layout, f"the store of {recipe} at {without_passwords(made.root)}")
    return made


def digest(value: Mapping[str, object]) -> str:
    """Hash of a mapping of JSON values."""
    return sha256(canonical(value))


def recipes(settings: Settings) -> list[str]:
    """Names of the recipes that have a ledger in the store, in order."""
    from upath import UPath

    root = UPath(settings.store_root)
    return sorted(path.name for path in root.iterdir() if (path / LEDGER).exists()) if root.exists() else []
