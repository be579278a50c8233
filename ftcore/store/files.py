"""Files that appear whole or not at all: on a disk by renaming a draft, in an object store because a put is atomic."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import stat
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.errors import DamagedFileError

if TYPE_CHECKING:
    from upath import UPath

log = logging.getLogger(__name__)
NO_FILE = {errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.ENAMETOOLONG}
"""What a disk says of something else in the place of a file, and of a name that no file can have."""
_HALF = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")
"""Where half a character may stand, which no UTF-8 file holds."""


def write_bytes(path: UPath | Path, data: bytes) -> None:
    """Write a file so that nobody ever sees half of it, and a full disk leaves the old one as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    here = local(path)
    if here is None:
        path.write_bytes(data)
        return
    beside = here.with_name(f".{here.name}.{threading.get_ident()}.{os.getpid()}.tmp")
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
    beside = here.with_name(f".{here.name}.{threading.get_ident()}.{os.getpid()}.tmp")
    try:
        write_bytes(beside, data)
        os.link(beside, here)
    except FileExistsError:
        return False
    finally:
        beside.unlink(missing_ok=True)
    return True


def set_aside(path: UPath | Path, word: str) -> None:
    """Rename what is in the place of a file to ``NAME.WORD``, whatever it is."""
    (local(path) or path).rename((local(path) or path).with_name(f"{path.name}.{word}"))  # type: ignore[arg-type]


def write_json(path: UPath | Path, value: object) -> None:
    """Write indented JSON, whole or not at all."""
    write_bytes(path, as_json(value))


def as_json(value: object) -> bytes:
    """Indented JSON as it is written."""
    return (json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n").encode()


def read_json(path: UPath | Path) -> Any:
    """The value in a JSON file, or None where there is no such file.

    Raises:
        DamagedFileError: there is one, and it holds no JSON; or a folder or a link to nowhere is in its place.
    """
    try:
        return parsed(content(path))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise damaged(path, f"is no JSON: {error}") from error
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        raise damaged(path, f"is no file: {error.strerror}") from error


def read_bytes(path: UPath | Path) -> bytes | None:
    """The bytes of a file; None where there is none, or something else in its place: a folder, a link, a pipe."""
    try:
        return content(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno in NO_FILE:
            return None
        raise


def content(path: UPath | Path) -> bytes:
    """The bytes of a file that is one; whoever opens a pipe would wait for its writer for ever.

    Raises:
        OSError: there is none, no file can have this name (as if there was none), or something else is in its place,
            see ``NO_FILE``.
    """
    here = local(path)
    if here is None:
        return bytes(path.read_bytes())
    try:
        opened = os.open(here, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # no name holds a null character
        raise FileNotFoundError(errno.ENOENT, "no file can have this name") from error
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError(errno.ENODEV, "no regular file", str(here))
        with os.fdopen(opened, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(opened)


def parsed(text: bytes | str) -> Any:
    """The value in a JSON text.

    Raises:
        ValueError: it is no JSON in UTF-8; half a character is none either, and could be neither hashed nor printed.
        RecursionError: it is nested too deeply.
    """
    text = text if isinstance(text, str) else text.decode()
    found = json.loads(text)
    if _HALF.search(text):
        json.dumps(found, ensure_ascii=False).encode()
    return found


def mapping(text: bytes | str | None) -> dict[str, Any]:
    """The JSON object in a text that anybody may have written; an empty one for anything else."""
    try:
        found = parsed(text or "null")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def damaged(path: UPath | Path, what: str) -> DamagedFileError:
    """The error of a file that is not what was written there."""
    return DamagedFileError(
        f"{path} {what}", hint="restore it from a backup; it was truncated or changed by something else than ftcore"
    )


def read_many(folder: UPath | Path, names: Iterable[str]) -> dict[str, bytes]:
    """The bytes of some files of a folder by name; what is not there is left out. An object store is asked at once."""
    here, found = local(folder), dict[str, bytes]()
    if here is not None:
        for name in names:
            data = read_bytes(here / name)
            if data is not None:
                found[name] = data
        return found
    paths = [f"{folder.path}/{name}" for name in names]  # type: ignore[union-attr]
    read = folder.fs.cat(paths, on_error="omit") if paths else {}  # type: ignore[union-attr]
    read = read if isinstance(read, dict) else {paths[0]: read}
    return {path.rpartition("/")[2]: data for path, data in read.items()}


def names_in(folder: UPath | Path) -> list[str]:
    """Names of the files of a folder that end in ``.json``, without drafts; nothing where there is no folder."""
    here = local(folder)
    try:
        if here is not None:
            names = os.listdir(here)  # noqa: PTH208 - a path object for each of thousands takes ten times as long
        else:
            folder.fs.invalidate_cache(folder.path)  # type: ignore[union-attr]
            names = [path.rpartition("/")[2] for path in folder.fs.ls(folder.path, detail=False)]  # type: ignore[union-attr]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if name.endswith(".json") and name[0] != ".")


def local(path: UPath | Path) -> Path | None:
    """The same place as a local path; None where it is in an object store."""
    if isinstance(path, Path):
        return path
    return Path(path.path) if path.protocol in {"", "file", "local"} else None
