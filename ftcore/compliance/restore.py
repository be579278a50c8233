"""Put a backup back: into a home that has no store yet, file by file checked, all of it or nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ftcore.compliance.backup import CHUNK, FORMAT, HEADER, MANIFEST, read_manifest, signer
from ftcore.errors import DamagedFileError, FtcoreError
from ftcore.progress import progress
from ftcore.recipe.model import NAME
from ftcore.store import keys, ledger
from ftcore.store.files import read_json, write_json
from ftcore.store.store import shelf
from ftcore.tracking import places as tracking_places

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
FOLDERS = ("keys", "data_docs", "mlflow", "store")
"""Folders of the home that a backup holds, in the order in which they are moved into place."""
NO_SUCH_NAME = {errno.EEXIST, errno.EINVAL, errno.EILSEQ, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR}
"""What a disk says of a name that cannot be one. All else, such as a full disk, is no fault of the backup's."""


def restore(settings: Settings, file: Path, trust: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Put a backup into this home, and tell MLflow's database where it is now.

    It is unpacked beside, every file compared with the manifest, and only then moved into place; killed in between it
    can be run again.

    Args:
        settings: tell the home.
        file: what ``backup`` wrote.
        trust: public keys, in hex, one of which must have signed it, beside that of ``FTCORE_SIGNING_KEY``; of a backup
            that is not signed, as an earlier ftcore wrote it, no other key is taken over.

    Returns:
        ``files``, ``recipes``, ``relocated`` (locations written anew, by table), ``ledger``, what does not hold in the
        restored ledgers, a sentence each, ``signed_by`` and ``private_key``, how to bring it where it is not here.

    Raises:
        FtcoreError: the home holds something already, another backup is half restored there, its store or MLflow would
            be elsewhere by the settings, or who signed it is not known here.
        DamagedFileError: the backup is cut, changed, or holds what no backup does.
    """
    home = settings.home.resolve()
    _check_settings(settings, home)
    staged = home / STAGED
    header = _begun(staged)
    if not header:
        _check_empty(home, FOLDERS, "name a new folder by FTCORE_HOME to restore into")
        header = _staged(settings, file, staged, trust)
    elif header["backup"] != _identity(file):
        hint = f"go on with that one, or delete {staged} and what it has put into {home}"
        raise FtcoreError(f"another backup than {file} is half restored into {home}", hint=hint)
    _move(staged, home)
    found = {name: ledger.check(shelf(settings, name)) for name in header["recipes"]}
    broken = [f"{name}: {one}" for name, breaks in found.items() for one in ledger.unacknowledged(breaks)]
    shutil.rmtree(staged)
    ring = keys.ring(settings)
    done = {name: header.get(name, "") for name in ("files", "recipes", "relocated", "signed_by")}
    return {**done, "ledger": broken, "private_key": ring.bring if ring.is_elsewhere else ""}


def _check_settings(settings: Settings, home: Path) -> None:
    elsewhere = {"FTCORE_STORE": settings.store, "FTCORE_TRACKING_URI": settings.tracking_uri}
    elsewhere["FTCORE_ARTIFACTS"] = settings.artifacts
    if named := [name for name, value in elsewhere.items() if value]:
        raise FtcoreError(
            f"a backup is restored into one folder, and {', '.join(named)} names another place",
            hint=f"unset {' and '.join(named)}, restore into {home}, and copy from there",
        )


def _begun(staged: Path) -> dict[str, Any]:
    """What a restore that was killed has unpacked and checked; empty where it did not come as far."""
    try:
        found = read_json(staged / CHECKED)
    except DamagedFileError:  # of an earlier version, half written: nothing was moved before
        return {}
    return found if isinstance(found, dict) and "backup" in found else {}


def _check_empty(home: Path, names: Iterable[str], hint: str) -> None:
    """Check that folders of the home hold nothing but folders."""
    full = [name for name in names if any(one.is_symlink() or not one.is_dir() for one in (home / name).rglob("*"))]
    if full:
        raise FtcoreError(f"{home} is not empty: it has {', '.join(full)}", hint=hint)


def _staged(settings: Settings, file: Path, staged: Path, trust: frozenset[str]) -> dict[str, Any]:
    """Unpack a backup beside, all of it checked; returns its header, which is written down last."""
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        header = _unpack(file, staged)
        _check_signer(settings, file, header["signed_by"], trust)
        _keep_keys(staged / "keys", header["signed_by"], trust)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    header |= {"relocated": _relocate(settings, staged / "mlflow" / "mlflow.db", header)}
    write_json(staged / CHECKED, header)
    return header


def _check_signer(settings: Settings, file: Path, by: str, trust: frozenset[str]) -> None:
    """Check that a backup is the platform's: nothing in it can tell, since whoever wrote it wrote that, too.

    Raises:
        FtcoreError: this machine knows another key, or none.
    """
    known = trust | keys.ring(settings).trusted()
    if by in known or (trust and not by):
        return
    elsewhere = "ftcore keys ls on another machine, the output of ftcore backup, or the ledger_keys of evidence"
    again = f"ftcore restore {file} --trust"
    if not by:
        hint = f"where an earlier ftcore made it, {again} KEY, the key of its ledgers: by {elsewhere}"
        raise FtcoreError(f"{file} is not signed; nothing was restored", hint=hint)
    hint = f"compare it with {elsewhere}; where it is the platform's: {again} {by}"
    here = f"known here is {', '.join(sorted(known))}" if known else "nothing here tells whether it is the platform's"
    raise FtcoreError(f"{file} is signed by the key {by}, and {here}; nothing was restored", hint=hint)


def _keep_keys(folder: Path, by: str, trust: frozenset[str]) -> None:
    """Take over the keys of a backup that is signed; of another one those alone that somebody named."""
    if not by:
        shutil.rmtree(folder / "heads", ignore_errors=True)
        for path in folder.glob("*") if folder.is_dir() else ():
            if path.suffix != ".pub" or keys.public(path) not in trust:
                path.unlink()
    there = {keys.public(path) for path in folder.glob("*.pub")}
    for key in {by, *trust} - there - {""}:
        keys.Keyring(folder).trust(key)


def _identity(file: Path) -> str:
    """What tells one backup from another: the hash of its manifest, which names every file with its own."""
    with _reading(file), tarfile.open(file, "r:") as tar:
        source = next((tar.extractfile(member) for member in tar if member.name == MANIFEST), None)
        return hashlib.sha256(source.read()).hexdigest() if source else ""


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Say of a file that is no backup that it is none, whatever it makes the library stumble over."""
    try:
        yield
    except FileNotFoundError as error:
        if file.exists():
            raise
        raise FtcoreError(f"there is no backup {file}", hint="name the file that ftcore backup wrote") from error
    except OSError as error:
        if error.errno not in NO_SUCH_NAME:
            raise
        raise _damaged(file, f"holds a name that this disk cannot have: {error.strerror}") from error
    except DamagedFileError:
        raise
    except (tarfile.TarError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise _damaged(file, f"cannot be read: {type(error).__name__}: {error}") from error


def _unpack(file: Path, staged: Path) -> dict[str, Any]:
    """Unpack and check a backup; returns its header, with the number of its files."""
    found: dict[str, dict[str, Any]] = {}
    with _reading(file):
        total = file.stat().st_size
        with tarfile.open(file, "r:") as tar, progress("restore, bytes", total) as advance:
            for member in _members(tar):
                found[member.name] = _extract(tar, member, staged, advance)
        if MANIFEST not in found:
            raise _damaged(file, f"has no {MANIFEST}: it was cut, or is no backup")
        known = read_manifest((staged / MANIFEST).read_bytes())
    for name in sorted({*known, *found} - {MANIFEST}):
        if found.get(name) != known.get(name):
            what = "lacks" if name not in found else "has, and should not have," if name not in known else "has changed"
            raise _damaged(file, f"{what} {name}")
    with _reading(file):
        header = _header(file, (staged / HEADER).read_bytes() if HEADER in found else b"{}")
        by = signer((staged / MANIFEST).read_bytes())
    inside = {PurePosixPath(name).parts[1] for name in known if name.startswith("store/") and name.count("/") > 1}
    recipes = sorted({*header["recipes"], *(name for name in inside if NAME.match(name))})  # whatever it says of itself
    return {**header, "recipes": recipes, "files": len(known), "backup": found[MANIFEST]["sha256"], "signed_by": by}


def _header(file: Path, data: bytes) -> dict[str, Any]:
    """What a backup says of itself.

    Raises:
        DamagedFileError: it is of another format.
        ValueError, TypeError: no backup says this.
    """
    header = json.loads(data)
    if not isinstance(header, dict):
        raise TypeError(f"{HEADER} is no JSON object")
    if header.get("format") != FORMAT:
        raise _damaged(file, f"is of the format {header.get('format')}, and this ftcore reads {FORMAT}")
    recipes, places = header.setdefault("recipes", []), header.setdefault("places", {})
    if not isinstance(recipes, list) or not all(isinstance(one, str) and NAME.match(one) for one in recipes):
        raise ValueError(f"{HEADER} names recipes that cannot be")
    if not isinstance(places, dict):
        raise TypeError(f"{HEADER} names places that cannot be")
    return header


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
    home, places = settings.home.resolve(), header["places"]
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
    """Move what was unpacked into place; what was moved before a crash is there already.

    Raises:
        FtcoreError: somebody wrote since the crash where it would go.
    """
    if (staged / "artifacts").is_dir():
        (staged / "mlflow").mkdir(exist_ok=True)
        (staged / "artifacts").replace(staged / "mlflow" / "artifacts")
    waiting = [name for name in FOLDERS if (staged / name).is_dir()]
    _check_empty(home, waiting, "move away what was written there since the restore was killed, and run it again")
    for name in waiting:
        _drop_empty(home / name)
        (staged / name).replace(home / name)


def _drop_empty(folder: Path) -> None:
    """Remove a folder of empty folders; a file that was written there in the meantime stays, and stops it."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir()
    if folder.is_dir():
        folder.rmdir()


def _damaged(file: Path, what: str) -> DamagedFileError:
    return DamagedFileError(f"{file} {what}", hint="take another backup; nothing was restored")
