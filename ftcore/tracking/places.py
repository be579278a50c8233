"""Where artefacts lie on this machine, although MLflow's database names them by absolute paths.

A store that was copied is read from where it is now: what the database places below another root is looked for below
this one first. MLflow's own pages and loaders go by the database alone: ``relocate`` writes it anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ftcore.errors import FtcoreError
from ftcore.settings import sqlite_url

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from ftcore.settings import Settings

TRACE_TAG = "mlflow.artifactLocation"


@dataclass(frozen=True)
class Move:
    """From where to where a store was moved."""

    old: Path
    """Root of the artefacts as the database names it."""
    new: Path
    old_store: Path | None = None
    """Root of the snapshots that runs name as their data sets, where it was moved, too."""
    new_store: Path | None = None

    def of(self, text: str | None) -> str:
        """A location as it is after the move; the same where it was elsewhere."""
        pairs = [(self.old, self.new)]
        pairs += [(self.old_store, self.new_store)] if self.old_store and self.new_store else []
        for old, new in pairs:
            for before, after in ((old.as_uri(), new.as_uri()), (str(old), str(new))):
                if text and (text == before or text.startswith(f"{before}/")):
                    return after + text.removeprefix(before)
        return text or ""


def artifact_root(settings: Settings) -> Path | None:
    """Folder below which every experiment's artefacts lie; None where they are not on a disk, or a server chooses."""
    if settings.artifacts:
        return local(settings.artifacts.rstrip("/"))
    return None if settings.tracking_uri else settings.home.resolve() / "mlflow" / "artifacts"


def local(uri: str) -> Path | None:
    """A location on a disk as a path; None for any other."""
    if uri.startswith("/"):
        return Path(uri)
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file:") else None


def here(uri: str, root: Path | None) -> str:
    """Where a run's artefacts are or will be: below the root, unless they are only where the database says."""
    path = local(uri)
    if root is None or path is None or path.is_relative_to(root):
        return uri
    ours = root.joinpath(*path.parts[-3:])  # EXPERIMENT/RUN/artifacts
    for mine, named in ((ours, path), (ours.parents[1], path.parents[1])):
        if mine.exists() or named.exists():
            return ours.as_uri() if mine.exists() else uri
    return ours.as_uri()


def check_not_moved(location: str, root: Path | None) -> None:
    """Check that new artefacts would lie with this store, not with the one that it was copied from.

    Raises:
        FtcoreError: the store was moved or copied, and MLflow's database not told.
    """
    path = local(location)
    if root is None or path is None or path.is_relative_to(root):
        return
    if (root / path.name).exists() or not path.exists():
        raise FtcoreError(
            f"MLflow's database still names {path} as the place of artefacts: the store was copied or moved from there",
            hint="ftcore relocate writes the database anew; --dry-run shows what",
        )


def moves(settings: Settings, database: Path) -> list[Move]:
    """Every other root that the database names, with where its artefacts are now.

    Raises:
        FtcoreError: this machine's artefacts are not on a disk.
    """
    root = artifact_root(settings)
    if root is None:
        raise FtcoreError("the artefacts are not on this machine's disk", hint="a server's own tools move them")
    with _session(database) as session:
        from mlflow.store.tracking.dbmodels.models import SqlExperiment

        known = [(str(one.name), str(one.artifact_location or "")) for one in session.query(SqlExperiment)]
    places = {path.parent for name, uri in known if (path := local(uri)) and path.name == name}
    return [_move(old, root, settings) for old in sorted(places) if old != root]


def relocate(database: Path, move: Move, *, dry_run: bool) -> dict[str, int]:
    """Write every location of a move anew in a SQLite database of MLflow's, all of them or none.

    Returns:
        How many locations there are, by table.

    Raises:
        FtcoreError: the database is of another version of MLflow.
    """
    counts: dict[str, int] = {}
    with _session(database) as session:
        for row, column in _located(session):
            before = getattr(row, column)
            after = _json_moved(before, move) if column == "dataset_source" else move.of(before)
            if before and after != before:
                name = str(row.__tablename__)
                counts[name] = counts.get(name, 0) + 1
                setattr(row, column, after)
        if dry_run:
            session.rollback()
    return counts


def _move(old: Path, root: Path, settings: Settings) -> Move:
    if old.parts[-2:] != ("mlflow", "artifacts") or "://" in settings.store_root:
        return Move(old, root)
    return Move(old, root, old.parents[1] / "store", Path(settings.store_root).resolve())


def _located(session: Session) -> Iterator[tuple[Any, str]]:
    """Every row that names a place, with the column that does."""
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
    from mlflow.store.tracking.dbmodels.models import SqlDataset, SqlExperiment, SqlLoggedModel, SqlRun, SqlTraceTag

    places: list[tuple[Any, str]] = [
        (SqlExperiment, "artifact_location"),
        (SqlRun, "artifact_uri"),
        (SqlModelVersion, "source"),
        (SqlModelVersion, "storage_location"),
        (SqlLoggedModel, "artifact_location"),
        (SqlDataset, "dataset_source"),
    ]
    for table, column in places:
        yield from ((row, column) for row in session.query(table))
    yield from ((row, "value") for row in session.query(SqlTraceTag).filter(SqlTraceTag.key == TRACE_TAG))


def source_of(text: str | None) -> dict[str, Any]:
    """What a data set's source says, which anybody may have logged; empty where it is no JSON object."""
    try:
        found = json.loads(text or "")
    except (ValueError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _json_moved(text: str | None, move: Move) -> str:
    """A data set's source with its place as it is after the move."""
    source = source_of(text)
    uri = source.get("uri")
    moved = move.of(uri) if isinstance(uri, str) else uri
    return json.dumps({**source, "uri": moved}) if moved != uri else text or ""


@contextmanager
def _session(database: Path) -> Iterator[Session]:
    """One transaction on a database of MLflow's."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DatabaseError
    from sqlalchemy.orm import Session
    from sqlalchemy.pool import NullPool

    if not database.is_file():
        raise FtcoreError(f"there is no database {database}", hint="name the home by FTCORE_HOME")
    engine = create_engine(sqlite_url(database), poolclass=NullPool, connect_args={"timeout": 60})
    try:
        with Session(engine) as session, session.begin():
            yield session
    except DatabaseError as error:  # no such table or column, no database, locked, read-only
        hint = f"where another version of MLflow made it: mlflow db upgrade {sqlite_url(database)}"
        raise FtcoreError(f"{database} cannot be read or written: {error.orig}", hint=hint) from error
