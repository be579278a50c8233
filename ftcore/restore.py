"""Put a backup back: into a home that has no store yet, file by file checked, all of it or nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ftcore import ledger, tracking_places
from ftcore.backup import CHUNK, FORMAT, HEADER, MANIFEST, read_manifest
from ftcore.errors import DamagedFileError, FtcoreError
from ftcore.progress import progress
from ftcore.store import shelf

if TYPE_CHECKING:
    from ftcore.settings import Settings

STAGED, CHECKED = ".restore", "checked"
"""Folder in the home where a backup is unpacked, and the file there that says that all of it was checked."""
PLACES = {
    "store": "store",
    "mlflow": "mlflow",
    "artifacts": "mlflow/artifacts",
    "data_docs": "data_docs",
    "keys": "keys",
}
"""Top folders of a backup, and where they go below the home."""


def restore(settings: Settings, file: Path) -> dict[str, Any]:
    """Put a backup into this home, and tell MLflow's database where it is now.

    It is unpacked beside, every file compared with the manifest, and only then moved into place; killed in between it
    can be run again.

    Returns:
        ``files``, ``recipes``, ``relocated`` (locations written anew, by table) and ``ledger``, what does not hold in
        the restored ledgers, a sentence each.

    Raises:
        FtcoreError: the home holds something already, or its store or MLflow would be elsewhere by the settings.
        DamagedFileError: the backup is cut, changed, or holds what no backup does.
    """
    home = settings.home.resolve()
    _check_settings(settings, home)
    staged = home / STAGED
    if not (staged / CHECKED).is_file():
        if full := [name for name in ("store", "mlflow", "keys", "data_docs") if _holds(home / name)]:
            raise FtcoreError(
                f"{home} is not empty: it has {', '.join(full)}",
                hint="name a new folder by FTCORE_HOME to restore into",
            )
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        try:
            header = _unpack(file, staged)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        header |= {"relocated": _relocate(settings, staged / "mlflow" / "mlflow.db", header)}
        (staged / CHECKED).write_text(json.dumps(header), encoding="utf-8")
    header = json.loads((staged / CHECKED).read_text(encoding="utf-8"))
    _move(staged, home)
    broken = [f"{name}: {one}" for name in header["recipes"] for one in ledger.check(shelf(settings, name))]
    shutil.rmtree(staged)
    return {**{name: header[name] for name in ("files", "recipes", "relocated")}, "ledger": broken}


def _check_settings(settings: Settings, home: Path) -> None:
    elsewhere = {"FTCORE_STORE": settings.store, "FTCORE_TRACKING_URI": settings.tracking_uri}
    elsewhere["FTCORE_ARTIFACTS"] = settings.artifacts
    if named := [name for name, value in elsewhere.items() if value]:
        raise FtcoreError(
            f"a backup is restored into one folder, and {', '.join(named)} names another place",
            hint=f"unset {' and '.join(named)}, restore into {home}, and copy from there",
        )


def _holds(folder: Path) -> bool:
    """Whether there is any file in a folder."""
    return any(path.is_file() or path.is_symlink() for path in folder.rglob("*"))


def _unpack(file: Path, staged: Path) -> dict[str, Any]:
    """Unpack and check a backup; returns its header, with the number of its files."""
    found: dict[str, dict[str, Any]] = {}
    try:
        total = file.stat().st_size
        with tarfile.open(file, "r:") as tar, progress("restore, bytes", total) as advance:
            for member in _members(tar):
                found[member.name] = _extract(tar, member, staged, advance)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not file.exists():
            raise FtcoreError(f"there is no backup {file}", hint="name the file that ftcore backup wrote") from error
        raise
    except tarfile.TarError as error:
        raise _damaged(file, f"cannot be read: {error}") from error
    if MANIFEST not in found:
        raise _damaged(file, f"has no {MANIFEST}: it was cut, or is no backup")
    known = read_manifest((staged / MANIFEST).read_bytes())
    for name in sorted({*known, *found} - {MANIFEST}):
        if found.get(name) != known.get(name):
            what = "lacks" if name not in found else "has, and should not have," if name not in known else "has changed"
            raise _damaged(file, f"{what} {name}")
    header = json.loads((staged / HEADER).read_bytes()) if HEADER in found else {}
    if header.get("format") != FORMAT:
        raise _damaged(file, f"is of the format {header.get('format')}, and this ftcore reads {FORMAT}")
    return {**header, "files": len(known)}


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Members that a backup may have: plain files below its folders, each once.

    Raises:
        DamagedFileError: another one is there.
    """
    seen: set[str] = set()
    for member in tar:
        path = PurePosixPath(member.name)
        inside = path.parts[:1] and path.parts[0] in PLACES and ".." not in path.parts and "\\" not in member.name
        plain = member.isreg() and not member.issparse() and str(path) == member.name
        if not plain or member.name in seen or not (inside or member.name in (HEADER, MANIFEST)):
            raise _damaged(Path(str(tar.name)), f"holds {member.name!r}, which no backup does; nothing was restored")
        seen.add(member.name)
        yield member


def _extract(
    tar: tarfile.TarFile, member: tarfile.TarInfo, staged: Path, advance: Callable[..., None]
) -> dict[str, Any]:
    """Write one file, and give its hash and size."""
    target = staged / member.name
    target.parent.mkdir(parents=True, exist_ok=True)
    source, sha, size = tar.extractfile(member), hashlib.sha256(), 0
    mode = 0o600 if member.name.startswith("keys/") else 0o644
    assert source is not None, "only plain files come here"
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        while data := source.read(CHUNK):
            sha.update(data)
            size += len(data)
            file.write(data)
            advance(len(data))
        file.flush()
        os.fsync(file.fileno())
    return {"sha256": sha.hexdigest(), "size_bytes": size}


def _relocate(settings: Settings, database: Path, header: dict[str, Any]) -> dict[str, int]:
    """Tell the unpacked database where its artefacts will be."""
    if not database.is_file():
        return {}
    home, places = settings.home.resolve(), header.get("places") or {}
    known = tracking_places.moves(settings, database)
    named = {Path(str(places[name])) for name in ("artifacts",) if str(places.get(name, "")).startswith("/")}
    counts: dict[str, int] = {}
    for old in sorted({*(move.old for move in known), *named} - {home / "mlflow" / "artifacts"}):
        store = str(places.get("store", ""))
        move = tracking_places.Move(
            old, home / "mlflow" / "artifacts", Path(store) if store.startswith("/") else None, home / "store"
        )
        for table, count in tracking_places.relocate(database, move, dry_run=False).items():
            counts[table] = counts.get(table, 0) + count
    return counts


def _move(staged: Path, home: Path) -> None:
    """Move what was unpacked into place; what was moved before a crash is there already."""
    if (staged / "artifacts").is_dir():
        (staged / "mlflow").mkdir(exist_ok=True)
        (staged / "artifacts").replace(staged / "mlflow" / "artifacts")
    for name in ("keys", "data_docs", "mlflow", "store"):
        if (staged / name).is_dir():
            shutil.rmtree(home / name, ignore_errors=True)  # empty folders, as checked before
            (staged / name).replace(home / name)


def _damaged(file: Path, what: str) -> DamagedFileError:
    return DamagedFileError(f"{file} {what}", hint="take another backup; nothing was restored")
