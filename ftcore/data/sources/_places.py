"""Where files are: local folders, object stores and web servers, found and opened through fsspec."""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Any

from ftcore.data.credentials import scrub
from ftcore.errors import AwayError, DataRejectedError, EmptyFileError, FtcoreError, MissingExtraError, NotFoundError

if TYPE_CHECKING:
    from upath import UPath

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "txt",
    ".json": "json",
}
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zstd")
_REMOTE = ("aiohttp", "aiobotocore", "botocore", "urllib3", "requests", "gcsfs", "google", "asyncio", "fsspec")


def find(pattern: str, folder: Path) -> list[UPath]:
    """Files that a path or a pattern names, sorted by path; a relative one starts at ``folder``.

    Only what the recipe writes is a pattern, never the folder that it lies in; and a name that is there as it is
    written, with brackets and all, is that file or folder. ``*`` leaves out hidden files, as in a shell.

    Raises:
        NotFoundError: none matches.
        AwayError: the server cannot be reached.
    """
    from upath import UPath

    if "://" not in pattern:
        given = Path(pattern).expanduser()
        start, steps = (Path(given.anchor), given.parts[1:]) if given.anchor else (folder, given.parts)
        matched = list(dict.fromkeys(_matches(start, steps)))
        found = [UPath(path) for path in matched if path.is_file()]
        if not found and any(path.is_dir() for path in matched):
            raise NotFoundError(
                f"{scrub(pattern)!r} in {folder} is a folder, not files",
                hint=f"name the files in it, such as {scrub(pattern).rstrip('/')}/**/*.csv",
            )
    else:
        with translate_errors(pattern):
            path = UPath(pattern)
            if path.protocol in {"http", "https"} or not _is_pattern(path.path) or path.fs.isfile(path.path):
                return [path]
            matches = path.fs.glob(_literal_folders(path.fs, path.path), detail=True)
            found = [
                UPath(path.fs.unstrip_protocol(m))
                for m, info in matches.items()
                if info["type"] == "file" and not _hidden(m, path.path)
            ]
    if not found:
        raise NotFoundError(
            f"no file matches {scrub(pattern)!r} in {folder}", hint="check the path in the recipe, or mount the volume"
        )
    return sorted(found, key=str)


def first_folder(pattern: str) -> str:
    """Name of the last folder of a pattern before its first ``*``, ``?`` or ``[``; empty where there is none."""
    fixed: list[str] = []
    for step in pattern.rsplit("://", maxsplit=1)[-1].split("/")[:-1]:
        if _is_pattern(step):
            break
        fixed.append(step)
    names = [step for step in fixed if step not in {"", ".", "..", "~"}]
    return names[-1] if names else ""


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _literal_folders(fs: Any, pattern: str) -> str:
    """A pattern for a server in which folders that are there as written, with brackets, are no patterns."""
    steps = pattern.split("/")
    for place, step in enumerate(steps[:-1]):
        if (
            "[" in step
            and not any(sign in step for sign in "*?")
            and fs.exists("/".join(pattern.split("/")[: place + 1]))
        ):
            steps[place] = glob.escape(step)
    return "/".join(steps)


def _hidden(found: str, pattern: str) -> bool:
    """Whether a match is a hidden file or lies in a hidden folder that the pattern does not name."""
    return any(step[0] == "." and step not in pattern for step in found.split("/") if step)


def _matches(base: Path, steps: Sequence[str]) -> Iterator[Path]:
    """What a pattern matches below ``base``, step by step; one that is there as written is literal."""
    if not steps:
        yield base
        return
    step, rest = steps[0], steps[1:]
    if not _is_pattern(step) or (step != "**" and (base / step).exists()):
        yield from _matches(base / step, rest)
        return
    if step == "**":
        rest = rest or ("*",)
        yield from _matches(base, rest)
        for inner in sorted(base.glob("*/")):
            if inner.name[0] != "." and inner.is_dir() and not inner.is_symlink():
                yield from _matches(inner, steps)
        return
    for inner in base.glob(step):
        if inner.name[0] != "." or step[0] == ".":
            yield from _matches(inner, rest)


def size_bytes(path: UPath | Path) -> int:
    """Size of a file as it is stored.

    Raises:
        AwayError: the server cannot be reached.
    """
    with translate_errors(str(path)):
        return int(path.stat().st_size)


def shown(path: UPath | Path) -> str:
    """A path as messages show it: without credentials."""
    return scrub(path)


def stem(path: UPath | PurePath) -> str:
    """Name of a file without its endings: ``a`` for ``a.csv.gz``."""
    name = path.name.split("?")[0]
    for ending in (*ARCHIVES, *COMPRESSED):
        name = name.removesuffix(ending)
    return name.rsplit(".", 1)[0] if Path(name).suffix in FORMATS else name


def is_archive(path: UPath | Path) -> bool:
    """Whether a file is an archive of several, by its ending."""
    return path.name.split("?")[0].lower().endswith(ARCHIVES)


def format_of(path: UPath | Path) -> str:
    """Format by the ending.

    Raises:
        DataRejectedError: another ending.
    """
    found = known_format(path.name)
    if found is None:
        suffix = _suffix(path.name)
        sheet = "; save a spreadsheet as CSV in UTF-8" if suffix.lower() in {".xlsx", ".xls", ".ods"} else ""
        raise DataRejectedError(
            f"{shown(path)}: cannot read '{suffix}' files",
            hint=f"known: {', '.join(FORMATS)}, each also with {', '.join(COMPRESSED)}; or set format{sheet}",
        )
    return found


def known_format(name: str) -> str | None:
    """Format by the ending of a name; None for another ending."""
    return FORMATS.get(_suffix(name).lower())


def _suffix(name: str) -> str:
    name = name.split("?", maxsplit=1)[0]
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return Path(name).suffix


@contextmanager
def opened(path: UPath | Path) -> Iterator[IO[bytes]]:
    """A file's bytes, unpacked where they are gzip, bzip2, xz or zstd, whatever the file is called.

    Raises:
        EmptyFileError: the file is empty.
    """
    with path.open("rb") as raw, unpacked(raw, shown(path)) as file:
        yield file


@contextmanager
def unpacked(raw: IO[bytes], where: str) -> Iterator[IO[bytes]]:
    """The bytes of an open file, unpacked where they are gzip, bzip2, xz or zstd.

    Raises:
        EmptyFileError: the file is empty.
    """
    start = raw.read(10)
    if not start:
        raise EmptyFileError(f"{where} is empty")
    raw.seek(0)
    if start[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=raw) as stream:
            yield stream  # type: ignore[misc]
    elif start[:3] == b"BZh" and start[4:] == b"1AY&SY":
        with bz2.BZ2File(raw) as stream:
            yield stream  # type: ignore[misc]
    elif start[:6] == b"\xfd7zXZ\0":
        with lzma.LZMAFile(raw) as stream:
            yield stream  # type: ignore[misc]
    elif start[:4] == b"\x28\xb5\x2f\xfd":
        import pyarrow as pa

        with pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd") as packed:
            yield io.BufferedReader(_Raw(packed))  # type: ignore[type-var]
    else:
        yield raw


@contextmanager
def translate_errors(where: str) -> Iterator[None]:
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
    if packed or isinstance(error, EOFError | zlib.error | gzip.BadGzipFile | lzma.LZMAError):
        found = DataRejectedError(f"{where}: the compressed data is broken or breaks off: {said}")
    elif isinstance(error, FileNotFoundError) and not unanswered and status not in {401, 403}:
        found = NotFoundError(f"{where} is not there", hint="check the path in the recipe, or mount the volume")
    elif isinstance(error, PermissionError) or status in {401, 403}:
        found = FtcoreError(f"{where} may not be read: {said}", hint="give this machine's account the right to read")
    elif isinstance(error, ImportError):
        found = MissingExtraError(f"{where} needs a package: {said}", hint="pip install 'ftcore[sources]'")
    elif unanswered or _remote(error) or isinstance(error, ConnectionError | TimeoutError):
        found = AwayError(f"{where}: the server does not answer as it should: {said}")
    elif type(error).__module__.startswith("pyarrow") or isinstance(error, OSError | UnicodeError):
        found = DataRejectedError(f"{where} cannot be read: {said}")
    return found


def _remote(error: BaseException | None) -> bool:
    return type(error).__module__.split(".")[0] in _REMOTE


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
