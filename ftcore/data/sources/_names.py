"""What files are called in their rows: files of one name in two folders are two files, and each keeps its name."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from functools import cached_property
from itertools import count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot
from ftcore.data.credentials import scrub
from ftcore.data.sources import _places
from ftcore.recipe import source_names

if TYPE_CHECKING:
    from upath import UPath

    from ftcore.context import Context

log = logging.getLogger(__name__)
SIGNS = re.compile(r"[*?\[{]")
"""What makes a path a pattern."""


class Names:
    """Names of the files that patterns find, and of archives."""

    def __init__(self, context: Context) -> None:
        """Note each name in the context of a step."""
        self.context = context

    @cached_property
    def owners(self) -> dict[str, str]:
        """What was read, by the name that its rows were published with: see ``_source_names``."""
        return {name: source_names.normal(what) for name, what in snapshot.source_names(self.context.shelf).items()}

    @cached_property
    def published(self) -> dict[str, str]:
        """The first name of each file that was published."""
        return {what: name for name, what in reversed(self.owners.items())}

    def of(self, pattern: str, path: UPath | Path) -> str:
        """Name of a file: the one that its rows were published with, else a new one, that no other file ever had."""
        what, mark = f"files {_place(path, self.context)}", "/" if _places.is_archive(path) else ""
        first, own = natural(pattern, path, self.context), self.published.get(what, "")
        if self.owners.get(f"files:{first}{mark}") != what and own.startswith("files:"):
            name = own.removeprefix("files:").removesuffix("/")
        else:
            free = (one for one in _candidates(first, what) if self.owners.get(f"files:{one}{mark}", what) == what)
            name = next(free)
            if name != first:
                log.warning(
                    "files:%s is the name of other rows, from %s: those of %s are called files:%s",
                    first, self.owners[f"files:{first}{mark}"], what, name,
                )  # fmt: skip
        self.context.named[f"files:{name}{mark}"] = what
        return name


def where(path: UPath | Path, context: Context) -> str:
    """A file's path from the recipe's folder on, or as a whole where it lies elsewhere; without credentials."""
    whole = str(path) if getattr(path, "protocol", "") else str(path.absolute())
    return scrub(whole.removeprefix(f"{context.recipe_path.parent.absolute()}/"))


def _place(path: UPath | Path, context: Context) -> str:
    """The same without the query of a URL, which may be another each time."""
    place = where(path, context)
    return place.partition("?")[0] if "://" in place else place


def _candidates(first: str, what: str) -> Iterator[str]:
    """Names in the order in which they are tried: with more and more folders of the path, then with a number."""
    yield first
    folders = [part for part in PurePosixPath(what.partition(" ")[2]).parts[:-1] if part not in {"/", ".", ".."}]
    for length in range(1, len(folders) + 1):
        name = "/".join([*folders[-length:], first.rsplit("/", 1)[-1]])
        if len(name) > len(first):
            yield name
    yield from (f"{first}-{number}" for number in count(2))


def natural(pattern: str, path: UPath | Path, context: Context) -> str:
    """Name of a file that a pattern found: its path from the pattern's fixed folder on, without the ending.

    So ``data/*.csv`` calls ``data/jan.csv`` ``jan``, and ``data/**/*.csv`` calls ``data/2026/jan.csv`` ``2026/jan``,
    whatever other files there are. Where another source of the recipe could give a file of the same name, the folders
    that tell the two apart come first; a pattern without an ending keeps each file's own.
    """
    root, last = _root(pattern), pattern.rsplit("/", 1)[-1]
    if not SIGNS.search(pattern):
        return _of_archive(pattern, path, context)
    inside = _inside(path, root, context)
    name = _places.stem(path) if "." in SIGNS.split(last)[-1] else path.name.split("?")[0]
    return "/".join([*_apart(root, _rivals(pattern, last, context)), *inside, name])


def _of_archive(pattern: str, path: UPath | Path, context: Context) -> str:
    """Name of an archive that is a source by itself: its stem, and what tells it from others of this stem before it."""
    name, every = _places.stem(path), _every(context)
    before = every[: every.index(pattern)] if pattern in every else every
    others = [one for one in before if _places.is_archive(Path(one)) and _places.stem(Path(one)) == name]
    beside = any(_folders(_root(one)) == _folders(_root(pattern)) for one in others)
    return "/".join([*_apart(_root(pattern), others), path.name if beside else name])


def _root(pattern: str) -> list[str]:
    """Folders of a path before the first one that is a pattern."""
    folders: list[str] = []
    for part in pattern.split("/")[:-1]:
        if SIGNS.search(part):
            break
        folders.append(part)
    return folders


def _inside(path: UPath | Path, root: list[str], context: Context) -> tuple[str, ...]:
    """Folders between a pattern's fixed ones and the file."""
    start = "/".join(root)
    if "://" not in start:
        start = (context.recipe_path.parent / start).expanduser().absolute().as_posix()
    whole = str(path)
    if not whole.startswith(f"{start.rstrip('/')}/"):
        return ()
    return PurePosixPath(whole.removeprefix(start).lstrip("/")).parts[:-1]


def _apart(root: list[str], rivals: Iterable[str]) -> list[str]:
    """Last folders of a path's fixed ones by which its files differ from those of other sources; mostly none."""
    mine, length = _folders(root), 0
    for other in rivals:
        theirs = _folders(_root(other))
        if theirs != mine:
            alike = 1
            while alike <= min(len(mine), len(theirs)) and mine[-alike:] == theirs[-alike:]:
                alike += 1
            length = max(length, alike)
    return mine[-length:] if length and mine else ["."] * bool(length)


def _folders(root: list[str]) -> list[str]:
    return [part for part in root if part not in {"", "."}]


def _rivals(pattern: str, last: str, context: Context) -> Iterator[str]:
    """Paths of the recipe's other sources that may have a file of the same name.

    Those are each pattern before this one, and each single file that it would find in its own folder.
    """
    before = True
    for path in _every(context):
        if path == pattern:
            before = False
        elif SIGNS.search(path):
            if before:
                yield path
        elif fnmatch(path.rsplit("/", 1)[-1], last):
            yield path


def _every(context: Context) -> list[str]:
    """Paths of the sources of files that have no name of their own."""
    every: tuple[Any, ...] = (*context.recipe.sources, *context.recipe.evaluate.holdouts.values())
    return [one.path for one in every if one.kind == "files" and not one.name]
