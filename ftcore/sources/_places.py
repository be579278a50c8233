"""Where files are: local folders, object stores and web servers, found and opened through fsspec."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ftcore.errors import DataRejectedError, FtcoreError, MissingExtraError, TransientError
from ftcore.sources._secrets import scrub

if TYPE_CHECKING:
    from upath import UPath

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "txt",
}
COMPRESSED = (".gz", ".zst", ".zstd")
_REMOTE = ("aiohttp", "aiobotocore", "botocore", "urllib3", "requests", "gcsfs", "google", "asyncio", "fsspec")


def find(pattern: str, folder: Path) -> list[UPath]:
    """Files that match a pattern, sorted by path; a relative pattern starts at ``folder``.

    Raises:
        MissingExtraError: none matches.
        TransientError: the server cannot be reached.
    """
    from upath import UPath

    if "://" not in pattern:
        start = folder / Path(pattern).expanduser()
        found = [UPath(path) for path in _local(start) if path.is_file()]
    else:
        with speaking_plainly(pattern):
            path = UPath(pattern)
            if path.protocol in {"http", "https"} or not any(c in path.path for c in "*?["):
                return [path]
            matches = path.fs.glob(path.path, detail=True)
            found = [UPath(path.fs.unstrip_protocol(m)) for m, info in matches.items() if info["type"] == "file"]
    if not found:
        raise MissingExtraError(
            f"no file matches {scrub(pattern)!r} in {folder}", hint="mount it, or mend the path in the recipe"
        )
    return sorted(found, key=str)


def size_bytes(path: UPath | Path) -> int:
    """Size of a file as it is stored.

    Raises:
        TransientError: the server cannot be reached.
    """
    with speaking_plainly(str(path)):
        return int(path.stat().st_size)


def shown(path: UPath | Path) -> str:
    """A path as messages show it: without credentials."""
    return scrub(path)


def stem(path: UPath | Path) -> str:
    """Name of a file without its endings: ``a`` for ``a.csv.gz``."""
    name = path.name.split("?")[0]
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return name.rsplit(".", 1)[0] if Path(name).suffix in FORMATS else name


def format_of(path: UPath | Path) -> str:
    """Format by the ending.

    Raises:
        DataRejectedError: another ending.
    """
    name = path.name.split("?")[0]
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    found = FORMATS.get(Path(name).suffix.lower())
    if found is None:
        raise DataRejectedError(
            f"{shown(path)}: cannot read '{Path(name).suffix}' files",
            hint=f"known: {', '.join(FORMATS)}, each also with {', '.join(COMPRESSED)}; or say format in the recipe",
        )
    return found


@contextmanager
def opened(path: UPath | Path) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked where they are gzip or zstd, whatever the file is called.

    Raises:
        DataRejectedError: the file is empty.
    """
    with path.open("rb") as raw:
        start = raw.read(4)
        if not start:
            raise DataRejectedError(f"{shown(path)} is empty")
        raw.seek(0)
        if start[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield unpacked  # type: ignore[misc]
        elif start == b"\x28\xb5\x2f\xfd":
            import pyarrow as pa

            with pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd") as stream:
                yield io.BufferedReader(_Raw(stream))  # type: ignore[misc]
        else:
            yield raw


@contextmanager
def speaking_plainly(where: str) -> Iterator[None]:
    """Turn what file systems, servers and decompressors say into the errors of the tree.

    Args:
        where: file, and line where known; credentials in it are hidden.
    """
    try:
        yield
    except Exception as error:
        translated = plainly(where, error)
        if translated is error:
            raise
        # Not chained: the message of the cause may hold a signed URL, and a traceback would print it.
        raise translated from None


def plainly(where: str, error: Exception) -> Exception:
    """The error of the tree that says what ``error`` says; itself where it is one already or nobody foresaw it."""
    if isinstance(error, FtcoreError):
        return error
    where = scrub(where)
    said = (scrub(error) or type(error).__name__).splitlines()[0]
    status = getattr(error.__cause__ or error, "status", None)  # fsspec hides every answer of a web server behind 404
    unanswered = _remote(error.__cause__) and (status is None or status >= 500 or status == 429)
    packed = "ZSTD" in said or "compressed" in said.lower()
    found = error
    if packed or isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        found = DataRejectedError(f"{where}: the compressed data is broken or breaks off: {said}")
    elif isinstance(error, FileNotFoundError) and not unanswered and status not in {401, 403}:
        found = MissingExtraError(f"{where} is not there", hint="mount it, or mend the path in the recipe")
    elif isinstance(error, PermissionError) or status in {401, 403}:
        found = FtcoreError(f"{where} may not be read: {said}", hint="give this machine's account the right to read")
    elif isinstance(error, ImportError):
        found = MissingExtraError(f"{where} needs a package: {said}", hint="pip install 'ftcore[sources]'")
    elif unanswered or _remote(error) or isinstance(error, ConnectionError | TimeoutError):
        found = TransientError(f"{where}: the server does not answer as it should: {said}")
    elif type(error).__module__.startswith("pyarrow") or isinstance(error, OSError | UnicodeError):
        found = DataRejectedError(f"{where} cannot be read: {said}")
    return found


def _remote(error: BaseException | None) -> bool:
    return type(error).__module__.split(".")[0] in _REMOTE


def _local(path: Path) -> list[Path]:
    if not any(c in str(path) for c in "*?["):
        return [path]
    path = path.absolute()
    return list(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


class _Raw(io.RawIOBase):
    """A pyarrow stream as Python's buffered readers want it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
