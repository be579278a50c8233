"""Sizes of a model that an earlier plan counted: the skeleton's passes take seconds and give the same each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from ftcore.store.records import versions
from ftcore.store.store import digest, hash_file, read_json, write_json
from ftcore.training.cost import ActivationMemory, ModelShape

SOURCES = ("models", "planning", "tasks", "training", "training/methods")
"""Code that decides what is counted, relative to the package."""


def counted(folder: Path, base: Path, settings: Mapping[str, Any], count: Callable[[], ModelShape]) -> ModelShape:
    """What ``count`` gives, or gave for the same base model, settings, code and libraries.

    Args:
        folder: of the cache; it is made.
        base: the base model's folder, whose JSON files count.
        settings: all else that decides, as JSON values.
        count: counts it.
    """
    files = {path.name: hash_file(path) for path in sorted(base.glob("*.json"))}
    key = digest({"files": files, "settings": settings, "code": _code(), "versions": versions()})
    path = folder / f"{key}.json"
    try:
        known = read_json(path)
        if known is not None:
            return ModelShape(**{**known, "kept": ActivationMemory(**known["kept"]) if known["kept"] else None})
    except (OSError, ValueError, TypeError, KeyError):  # damaged, or not to be read: it is counted again
        pass
    found = count()
    kept = found.kept._asdict() if found.kept else None
    write_json(path, {**asdict(found), "kept": kept})
    return found


@cache
def _code() -> str:
    """Hash of the code that counts."""
    package = Path(__file__).parent.parent
    places = [package / name for name in SOURCES]
    files = sorted(file for place in places for file in (place.glob("*.py") if place.is_dir() else [place]))
    return digest({file.relative_to(package).as_posix(): hash_file(file) for file in files})
