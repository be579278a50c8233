"""Members of ZIP and TAR archives as files: read in place, never written to a disk, and only so much of them."""

from __future__ import annotations

import io
import logging
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from ftcore.data.sources import _places
from ftcore.errors import DataRejectedError

if TYPE_CHECKING:
    from pathlib import Path

    from upath import UPath

log = logging.getLogger(__name__)
MOST_TIMES = 300
"""Most times that an archive's members may be larger than the archive: text is 3 to 30 times as large."""
SMALL_BYTES = 200_000_000
"""Bytes up to which nobody counts how many times."""
MOST_MEMBERS = 1_000_000
LONGEST_END = 1 << 20
"""Bytes behind the end of a TAR that are looked at: zeros up to a whole record, mostly 10,240 bytes."""


def members(path: UPath | Path, pattern: str | None, *, any_format: bool) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and bytes of the files in an archive, in its own order, which is the fastest for TAR.

    Args:
        path: the archive; its ending says which kind it is.
        pattern: which members, such as ``train/*.csv``; all where it is None.
        any_format: whether members of other endings than ours are rows, too.

    Raises:
        DataRejectedError: the archive is broken or encrypted, holds a name that leads out of it, unpacks to more than
            ``MOST_TIMES`` its size, or has no such member.
    """
    where = _places.shown(path)
    with path.open("rb") as raw:
        try:
            archive: Any = _Zip(raw) if path.name.lower().split("?")[0].endswith(".zip") else _Tar(raw)
        except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
            raise DataRejectedError(f"{where} is no archive that can be read: {error}") from error
        with closing(archive):
            try:
                names = archive.names()
            except (tarfile.TarError, EOFError) as error:
                raise DataRejectedError(f"{where} is no archive that can be read: {error}") from error
            chosen = [name for name in names if _is_wanted(name, where, pattern, any_format=any_format)]
            if len(names) > MOST_MEMBERS:
                raise DataRejectedError(f"{where} has more than {MOST_MEMBERS:,} members")
            if not chosen:
                raise DataRejectedError(
                    f"{where}: none of its {len(names):,} members matches {pattern or 'a known format'!r}",
                    names,
                    hint="set members to a pattern such as '*/train/*.txt', and format where their endings name none",
                )
            if len(chosen) < len(names):
                log.info("%s: %s of its %s members are read", where, f"{len(chosen):,}", f"{len(names):,}")
            if twice := [name for name, count in Counter(chosen).items() if count > 1]:
                raise DataRejectedError(
                    f"{where} has more than one member {twice[0]!r}", hint="pack it anew, each file under its own name"
                )
            budget = _Budget(where, max(SMALL_BYTES, MOST_TIMES * _places.size_bytes(path)))
            for name in chosen:
                try:
                    with archive.open(name) as member:
                        yield name, _Counted(member, budget)  # type: ignore[misc]
                except (zipfile.BadZipFile, tarfile.TarError, RuntimeError, NotImplementedError) as error:
                    raise DataRejectedError(f"{where}: {name} cannot be read: {error}") from error


def _is_wanted(name: str, where: str, pattern: str | None, *, any_format: bool) -> bool:
    steps = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in steps or name.startswith(("/", "\\")):
        raise DataRejectedError(f"{where}: the member {name!r} leads out of the archive", hint="pack it anew")
    if any(step[0] == "." or step == "__MACOSX" for step in steps):
        return False
    if pattern is not None:
        return fnmatch(name, pattern)
    return any_format or _places.known_format(name) is not None


class _Zip:
    def __init__(self, raw: IO[bytes]) -> None:
        self.file = zipfile.ZipFile(raw)
        self.close = self.file.close

    def names(self) -> list[str]:
        return [info.filename for info in self.file.infolist() if not info.is_dir()]

    def open(self, name: str) -> IO[bytes]:
        return self.file.open(name)


class _Tar:
    def __init__(self, raw: IO[bytes]) -> None:
        self.file = tarfile.open(fileobj=raw, mode="r:*")  # noqa: SIM115 - closed by its reader
        self.close = self.file.close

    def names(self) -> list[str]:
        names = [info.name for info in self.file if info.isfile()]
        # tarfile takes the end of the file, or a header that is cut or broken, for the end of the archive, which is a
        # block of zeros.
        assert self.file.fileobj is not None
        self.file.fileobj.seek(self.file.offset)
        block = self.file.fileobj.read(tarfile.BLOCKSIZE)
        if not block:
            raise tarfile.ReadError(
                f"it breaks off behind {names[-1] if names else 'its beginning'}, without the blocks of zeros that end "
                "an archive: it was cut, and members may be missing"
            )
        if block != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"it breaks off within the header of the member behind {names[-1:] or 'none'}")
        if self.file.fileobj.read(LONGEST_END).strip(b"\0"):
            raise tarfile.ReadError("more stands behind its end, as where two archives were joined into one file")
        return names

    def open(self, name: str) -> IO[bytes]:
        member = self.file.extractfile(name)
        assert member is not None, "only regular files are listed"
        return member


class _Budget:
    """How many bytes an archive may still unpack to."""

    def __init__(self, where: str, left: int) -> None:
        self.where, self.left = where, left

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise DataRejectedError(
                f"{self.where} unpacks to more than {MOST_TIMES} times its size",
                hint="unpack it yourself if you trust it, and name its files",
            )


class _Counted(io.RawIOBase):
    """A member whose bytes are counted as they are unpacked."""

    def __init__(self, member: IO[bytes], budget: _Budget) -> None:
        self.member, self.budget = member, budget

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.member.read(len(buffer))
        self.budget.spend(len(data))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.member.seek(offset, whence)

    def tell(self) -> int:
        return self.member.tell()
