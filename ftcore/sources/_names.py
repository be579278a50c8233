"""What files are called in their rows: files of one name in two folders are two files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ftcore.sources import _places

if TYPE_CHECKING:
    from pathlib import Path

    from upath import UPath

    from ftcore.context import Context

SIGNS = re.compile(r"[*?\[{]")
"""What makes a path a pattern."""


def of(pattern: str, path: UPath | Path, context: Context) -> str:
    """Name of a file that a pattern found: its path from the pattern's fixed folder on, without the ending.

    So ``data/*.csv`` calls ``data/jan.csv`` ``jan``, and ``data/**/*.csv`` calls ``data/2026/jan.csv`` ``2026/jan``,
    whatever other files there are. Where another source of the recipe could give a file of the same name, the folders
    that tell the two apart come first; a pattern without an ending keeps each file's own.
    """
    if not SIGNS.search(pattern):
        return _places.stem(path)
    root, last = _root(pattern), pattern.rsplit("/", 1)[-1]
    inside = _inside(path, root, context)
    name = _places.stem(path) if "." in SIGNS.split(last)[-1] else path.name.split("?")[0]
    return "/".join([*_apart(pattern, root, last, context), *inside, name])


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


def _apart(pattern: str, root: list[str], last: str, context: Context) -> list[str]:
    """Last folders of a pattern's fixed ones by which its files differ from those of other sources; mostly none."""
    mine, length = _folders(root), 0
    for other in _rivals(pattern, last, context):
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
    every: tuple[Any, ...] = (*context.recipe.sources, *context.recipe.evaluate.holdouts.values())
    for path in (one.path for one in every if one.kind == "files" and not one.name):
        if path == pattern:
            before = False
        elif SIGNS.search(path):
            if before:
                yield path
        elif fnmatch(path.rsplit("/", 1)[-1], last):
            yield path
