"""The reports that steps wrote as HTML: found by the ids of recipe and run, never by a path that came from outside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ftcore_airflow.pages import reading

if TYPE_CHECKING:
    from upath import UPath

    from ftcore.store.store import RecipeStore

KINDS = {
    "snapshot": ("validate", "report"),
    "validation": ("validate", "data_docs"),
    "drift": ("watch", "html"),
}
"""Step that writes a report, and the name in its record's ``paths``."""
TITLES = {"snapshot": "Snapshot report", "validation": "Validation report", "drift": "Drift report"}
LARGEST = 64 * 1024 * 1024
"""Bytes of the largest report that is shown."""

POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""A report comes from foreign libraries and holds text of rows: it runs in an origin of its own, with no network."""


@dataclass(frozen=True)
class Report:
    """A report that is there."""

    kind: str
    title: str
    reason: str
    """What the step found, in a sentence."""
    at: str
    path: UPath


def find(shelf: RecipeStore, kind: str, run_id: str) -> Report | None:
    """The report of a run; None where it left none.

    Raises:
        FtcoreError: the run id could leave the store, or the record cannot be read.
    """
    step, name = KINDS[kind]
    record = reading.record(shelf, run_id, step)
    if record is None:
        return None
    path = inside(shelf, str(record.get("paths", {}).get(name, "")))
    if path is None or not path.is_file() or path.stat().st_size > LARGEST:
        return None
    return Report(kind, TITLES[kind], str(record.get("reason", "")), str(record.get("started_at", "")), path)


def inside(shelf: RecipeStore, relative: str) -> UPath | None:
    """A path of a record below the recipe's folder; None where it is none, leads out of it or is no HTML."""
    path = PurePosixPath(relative)
    plain = relative and not path.is_absolute() and "\\" not in relative and ":" not in path.parts[0]
    if not plain or any(part in ("..", "~") for part in path.parts) or path.suffix != ".html":
        return None
    found = shelf.root / relative
    local = getattr(found, "resolve", None)
    if local and found.protocol in {"", "file", "local"} and not found.resolve().is_relative_to(shelf.root.resolve()):
        return None  # a link that leads out
    return found
