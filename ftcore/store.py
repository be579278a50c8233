"""The store: a folder or an object store that holds snapshots, runs, the prediction log and the ledger.

::

    STORE/RECIPE/runs/RUN_ID/recipe.json         the recipe that the run goes by, as it was when the run began
    STORE/RECIPE/runs/RUN_ID/STEP/record.json    what a step found, beside what it wrote
    STORE/RECIPE/runs/RUN_ID/STEP/shards/KEY/    the same of each worker that did a shard of the step
    STORE/RECIPE/snapshots/ID/manifest.json      an immutable dataset version
    STORE/RECIPE/snapshots/ID/publications/NAME/ what a later run left out and counted that published the same rows
    STORE/RECIPE/snapshots/current.json          which one is current, and by which publication
    STORE/RECIPE/predictions/date=…/NAME.parquet the prediction log
    STORE/RECIPE/feedback/date=…/NAME.parquet    true labels that came back
    STORE/RECIPE/ledger/KIND--RUN_ID.json        decisions, one a file, never changed
    STORE/RECIPE/intents/KIND--RUN_ID.json       a change of the registry that has begun and has no ledger line yet
    STORE/RECIPE/state/left_out/RUN_ID.parquet   rows of incremental sources that were read and are in no snapshot
    STORE/RECIPE/state/split.json                the secret behind the split keys of its rows, written once
    STORE/RECIPE/state/split_keys.parquet        split keys of all rows that were ever published, as hashes
    STORE/RECIPE/erasures/NAME.json              what a file was before and after a forgotten subject's rows left it
    STORE/RECIPE/cache/NAME.parquet              rows that can be made again; emptied when somebody is forgotten

Every file appears whole or not at all: on a local disk by writing beside it and renaming, on an object store because
a put is atomic.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.errors import BusyError, DamagedFileError, FtcoreError
from ftcore.records import Record, canonical, now, sha256

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath

    from ftcore.settings import Settings

log = logging.getLogger("ftcore")
RUN_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}\Z")


def run_name(verb: str, run_id: str) -> str:
    """A run's name in the store: the verb of its DAG and the scheduler's run id, made fit for a path.

    Where characters had to go, a hash of the whole keeps different runs apart.
    """
    name = f"{verb}-{run_id}"
    if RUN_ID.match(name):
        return name
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', name)[:110]}-{sha256(name)[:8]}"


def write_bytes(path: UPath | Path, data: bytes) -> None:
    """Write a file so that nobody ever sees half of it, and a full disk leaves the old one as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    here = local(path)
    if here is None:
        path.write_bytes(data)
        return
    beside = here.with_name(f".{here.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(here)
    finally:
        beside.unlink(missing_ok=True)


def create_bytes(path: UPath | Path, data: bytes) -> bool:
    """Write a file that is not there yet, whole or not at all; False where somebody else was first.

    On an object store that knows no conditional put, two at the same instant may both be first: read what is there.
    """
    if path.exists():
        return False
    here = local(path)
    if here is None:
        try:
            path.fs.pipe_file(path.path, data, mode="create")  # type: ignore[union-attr]
        except FileExistsError:
            return False
        except Exception as error:  # whatever a store without conditional puts makes of one
            if path.exists():
                return False
            log.debug("%s: written without a condition: %s", path, error)
            write_bytes(path, data)
        return True
    beside = here.with_name(f".{here.name}.{threading.get_ident()}")
    try:
        write_bytes(beside, data)
        os.link(beside, here)
    except FileExistsError:
        return False
    finally:
        beside.unlink(missing_ok=True)
    return True


def write_json(path: UPath | Path, value: object) -> None:
    """Write indented JSON, whole or not at all."""
    write_bytes(path, as_json(value))


def as_json(value: object) -> bytes:
    """Indented JSON as it is written."""
    return (json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n").encode()


def read_json(path: UPath | Path) -> Any:
    """The value in a JSON file, or None where there is no such file.

    Raises:
        DamagedFileError: there is one, and it holds no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:  # no JSON, or no UTF-8
        raise damaged(path, f"is no JSON: {error}") from error


def damaged(path: UPath | Path, what: str) -> DamagedFileError:
    """The error of a file that is not what was written there."""
    return DamagedFileError(
        f"{path} {what}", hint="restore it from a backup; it was truncated or changed by something else than ftcore"
    )


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
    return sha256(path.read_bytes())


def hash_folder(path: Path) -> str:
    """SHA-256 over the names and hashes of a local folder's files."""
    return digest({file.relative_to(path).as_posix(): hash_file(file) for file in path.rglob("*") if file.is_file()})


def upload(source: Path, target: UPath) -> None:
    """Copy a local folder's files into the store, each whole or not at all."""
    for file in sorted(source.rglob("*")):
        if file.is_file():
            write_bytes(target / file.relative_to(source).as_posix(), file.read_bytes())


def local(path: UPath | Path) -> Path | None:
    """The same place as a local path; None where it is in an object store."""
    if isinstance(path, Path):
        return path
    return Path(path.path) if path.protocol in {"", "file", "local"} else None


@dataclass(frozen=True)
class Shelf:
    """One recipe's part of the store."""

    root: UPath
    """Folder of the recipe."""
    name: str
    """Name of the recipe."""
    locks: Path
    """Local folder of the lock files."""

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

    def record(self, run_id: str, step: str, shard: str = "") -> Record | None:
        """The record of a finished step or shard, or None where it has not finished."""
        document = read_json(self.folder(run_id, step, shard) / "record.json")
        return None if document is None else Record.model_validate(document)

    def write_record(self, record: Record) -> None:
        """Write a record: the last thing a step does."""
        folder = self.folder(record.run_id, record.step, record.params.get("shard", ""))
        write_json(folder / "record.json", record.model_dump(mode="json"))

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
        """
        path = self.root / "ledger" / f"{kind}--{run_id}{f'--{key}' if key else ''}.json"
        line = read_json(path)
        if line is None:
            line = {"at": now().isoformat(), "kind": kind, "run_id": run_id, "decision": decision, "reason": reason}
            line |= figures
            write_json(path, line)
        return dict(line)

    def line(self, kind: str, run_id: str) -> dict[str, Any] | None:
        """The ledger's line of a kind and a run; None where there is none."""
        line = read_json(self.root / "ledger" / f"{kind}--{run_id}.json")
        return None if line is None else dict(line)

    def ledger(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Decisions, oldest first; of one kind, or all."""
        folder = self.root / "ledger"
        if not folder.exists():
            return []
        start = f"{kind}--" if kind else ""
        names = (path for path in folder.iterdir() if path.name.endswith(".json") and path.name[0] != ".")
        lines = (read_json(path) for path in names if path.name.startswith(start))
        return sorted(lines, key=lambda line: (line["at"], line["kind"]))

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
                log.info("another process is at work on %s of %s; waiting up to %g s", what, self.name, timeout_s)
                return lock.acquire(timeout=timeout_s)
        except Timeout as error:
            raise BusyError(
                f"another process is at work on {what} of {self.name} and did not finish within {timeout_s:g} s",
                hint="wait for it, or set FTCORE_LOCK_TIMEOUT_S",
            ) from error


def shelf(settings: Settings, recipe: str) -> Shelf:
    """The part of the configured store that belongs to a recipe."""
    from upath import UPath

    return Shelf(UPath(settings.store_root) / recipe, recipe, settings.home / "locks")


def digest(value: Mapping[str, object]) -> str:
    """Hash of a mapping of JSON values."""
    return sha256(canonical(value))
