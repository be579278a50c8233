"""Takes a forgotten subject's rows out of what keeps them: logs, the evaluations of runs, MLflow's artefacts.

Every file is written whole or not at all, and what it was and will be is written down first (``ftcore.erasures``). A
crash at any instant leaves some files with the rows and some without: erasing again takes them out of the rest.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.compliance.traces import Traces
from ftcore.data import erasures, snapshot
from ftcore.data.erasures import Erasure
from ftcore.errors import BusyError
from ftcore.progress import progress
from ftcore.recipe.canonical import sha256
from ftcore.store.records import now
from ftcore.store.store import as_json, as_parquet, hash_file, hash_folder, read_json, read_table, write_bytes
from ftcore.tracking import artefact_files, registered
from ftcore.tracking import runs as tracking_runs
from ftcore.tracking.client import HASH_TAG

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath

    from ftcore.data.suppression import Suppression
    from ftcore.store.store import RecipeStore
    from ftcore.tracking.client import Tracking

EVALUATION, PREDICTIONS, FIGURES = "evaluation", "predictions.parquet", "evaluation.json"
TRAINING = ("train", "tune")
LOGS = ("feedback", "predictions")
"""In the order in which they are written: feedback is told by the requests that the prediction log still holds."""
KEPT = re.compile(r"(record|recipe(-[0-9a-f]{16})?|verdict)\.json|.+\.sig\.json|" + re.escape(FIGURES))
"""Records, recipes, verdicts and signatures: a word of theirs that is a subject's text, too, is not its row."""
EXAMPLE = ("row_id", "source", "text", "label")
"""What of a kept example may tell whose it is."""


@dataclass
class Eraser:
    """One subject, and what it may be told by."""

    shelf: RecipeStore
    subject: str
    """Keyed hash of the subject's key."""
    told: Suppression
    """Of the subject alone: tells rows by id, group and text."""
    by_snapshot: Mapping[str, set[str]]
    """Ids of its rows in each snapshot: an evaluation keeps no groups."""
    traces: Traces = field(default_factory=Traces)
    """What of the subject may stand in pages and reports."""
    dry_run: bool = False
    found: dict[str, int] = field(default_factory=dict)
    """Rows that were, or would be, erased, by place."""

    def logs(self) -> dict[str, int]:
        """Erase from the feedback and the prediction log; returns how many rows of each."""
        requests: set[str] = set()
        for file in self.shelf.log_files("predictions"):
            table = read_table(file)
            hits = self._hits(requests_as_rows(table))
            requests |= {one for one, hit in zip(table["request_id"].to_pylist(), hits, strict=True) if hit}

        def asked(rows: pa.Table) -> list[bool]:
            return [one in requests for one in rows["request_id"].to_pylist()]

        counts = {name: sum(self._table(file, asked) for file in self.shelf.log_files(name)) for name in LOGS}
        return {name: rows for name, rows in counts.items() if rows}

    def runs(self) -> None:
        """Erase from the evaluations and drift windows that runs keep, and from rows left out of snapshots."""
        for file in sorted(self._left_out(), key=lambda file: file.name):
            self._table(file, self._hits)
        folder = self.shelf.root / "runs"
        for run in sorted(folder.iterdir(), key=lambda run: run.name) if folder.exists() else []:
            if (window := run / "watch" / "window.parquet").exists():
                self._table(window, lambda rows: self._hits(requests_as_rows(rows)))
            place = run / "evaluate"
            figures = read_json(place / FIGURES) or {}
            identity = str(figures.get("snapshot", ""))
            if (path := place / PREDICTIONS).exists():
                self._table(path, lambda rows, identity=identity: self._hits(rows, identity))  # type: ignore[misc]
            if taken := self._examples(figures, identity):
                self._write(place / FIGURES, as_json(figures), taken)

    def pages(self, home: Path) -> None:
        """Erase from Data Docs, pages and reports of the store, and from this machine's own copies of them.

        Args:
            home: ``FTCORE_HOME``.
        """
        own = home / "data_docs" / self.shelf.name  # first: the next validation copies them into the store
        for path in _written(own):
            if (made := self._untold(path)) is not None and not self.dry_run:
                write_bytes(path, made[0])
        for folder in ("data_docs", "runs"):
            for path in _written(self.shelf.root / folder):
                if (made := self._untold(path)) is not None:
                    self._write(path, *made)

    def copies(self, cache: Path) -> None:
        """Delete this machine's copies of evaluations, and what steps left that died half way; all can be made again.

        Args:
            cache: ``FTCORE_HOME/cache``.
        """
        if self.dry_run:
            return
        for evaluation in (cache / "models" / self.shelf.name).glob(f"*/{EVALUATION}"):
            shutil.rmtree(evaluation, ignore_errors=True)
        for step in (cache / "scratch" / self.shelf.name).glob("*/*"):
            if step.name in TRAINING:  # checkpoints; the rows are read from the snapshot again, without the subject's
                continue
            with suppress(BusyError), self.shelf.lock(step.name, 0):
                shutil.rmtree(step, ignore_errors=True)

    def _untold(self, path: UPath | Path) -> tuple[bytes, int] | None:
        """A page or report without the subject's values, and how many those were; None where it holds none."""
        try:
            text = path.read_bytes().decode("utf-8")
            if path.name.endswith(".json"):
                value, taken = self.traces.out_of_json(json.loads(text))
                return (as_json(value), taken) if taken else None
        except (ValueError, RecursionError):  # half written, or something else
            return None
        page, taken = self.traces.out_of_page(text)
        return (page.encode(), taken) if taken else None

    def _left_out(self) -> list[UPath]:
        """Files with rows that were read and left out of a snapshot."""
        folder = self.shelf.root / "state" / "left_out"
        return [file for file in folder.iterdir() if file.name.endswith(".parquet")] if folder.exists() else []

    def artefacts(self, tracking: Tracking) -> None:
        """Erase from the evaluations that MLflow keeps, of versions and of runs that became none.

        Raises:
            TransientError: MLflow does not answer; what was erased until then stays erased.
        """
        runs = dict.fromkeys([one.run for one in tracking.versions()])
        runs |= dict.fromkeys(one.run for one in tracking_runs.trainings(tracking))
        with progress("looking through evaluations", len(runs)) as advance:
            for run in runs:
                with artefact_files.fresh(tracking, run, EVALUATION) as folder:
                    if folder is not None:
                        self._artefact(tracking, run, folder)
                advance()

    def _artefact(self, tracking: Tracking, run: str, folder: Path) -> None:
        place, before = erasures.in_mlflow(run, EVALUATION), hash_folder(folder)
        figures, path = read_json(folder / FIGURES) or {}, folder / PREDICTIONS
        identity, rows = str(figures.get("snapshot", "")), 0
        if path.exists():
            table = read_table(path)
            hits = self._hits(table, identity)
            if any(hits):
                rows += sum(hits)
                write_bytes(path, as_parquet(without(table, hits)))
        if taken := self._examples(figures, identity):
            rows += taken
            write_bytes(folder / FIGURES, as_json(figures))
        if rows:
            self._note(place, before, hash_folder(folder), rows)
        # Logged also where a crash came between the files and the tag that holds their hash.
        if not self.dry_run and (rows or self._is_untold(tracking, run, place, before)):
            tracking.log_folder(run, folder, EVALUATION)

    def _is_untold(self, tracking: Tracking, run: str, place: str, there: str) -> bool:
        logged = registered.run_tags(tracking, run).get(f"{HASH_TAG}{EVALUATION}", there)
        return logged != there and bool(erasures.between(erasures.read(self.shelf, [place]), place, logged, there))

    def _table(self, path: UPath, tells: Callable[[pa.Table], list[bool]]) -> int:
        """Take rows out of a Parquet file of the store; an empty one stays, so that its name is not given again."""
        table = read_table(path)
        hits = tells(table)
        if any(hits):
            self._write(path, as_parquet(without(table, hits)), sum(hits))
        return sum(hits)

    def _examples(self, figures: dict[str, Any], identity: str) -> int:
        """Take a subject's rows out of the kept examples, in place; returns how many."""
        import pyarrow as pa

        taken = 0
        for name, kept in (figures.get("examples") or {}).items():
            rows = pa.table({key: pa.array([row.get(key) for row in kept], pa.string()) for key in EXAMPLE})
            hits = self._hits(rows, identity)
            figures["examples"][name] = [row for row, hit in zip(kept, hits, strict=True) if not hit]
            taken += sum(hits)
        return taken

    def _hits(self, rows: pa.Table, identity: str = "") -> list[bool]:
        """Whether each row is the subject's, by what can be told of rows that were made from a snapshot."""
        import pyarrow as pa

        for name in ("row_id", "source", "group"):
            if name not in rows.column_names:
                rows = rows.append_column(name, pa.nulls(rows.num_rows, pa.string()))
        ids = self.by_snapshot.get(identity, set())
        told = self.told.matches(rows)
        return [hit or row in ids for hit, row in zip(told, rows["row_id"].to_pylist(), strict=True)]

    def _write(self, path: UPath, data: bytes, rows: int) -> None:
        self._note(self.shelf.relative(path), hash_file(path), sha256(data), rows)
        if not self.dry_run:
            write_bytes(path, data)

    def _note(self, place: str, before: str, after: str, rows: int) -> None:
        self.found[place] = self.found.get(place, 0) + rows
        if not self.dry_run:
            made = {"place": place, "before": before, "after": after, "rows": rows, "subject": self.subject}
            erasures.add(self.shelf, Erasure.model_validate({**made, "at": now()}))


def _written(folder: UPath | Path) -> list[Any]:
    """Pages and reports in a folder. What a run keeps by its hash holds no rows; evaluations are read row by row."""
    if not folder.exists():
        return []
    every = [path for pattern in ("**/*.html", "**/*.json") for path in folder.glob(pattern)]
    return sorted((path for path in every if not KEPT.fullmatch(path.name)), key=lambda path: path.as_posix())


def requests_as_rows(requests: pa.Table) -> pa.Table:
    """Scored requests as the source ``feedback`` gives them."""
    import pyarrow as pa

    ids = [snapshot.row_id("feedback", one) for one in requests["request_id"].to_pylist()]
    requests = requests.append_column("row_id", pa.array(ids, pa.string()))
    return requests.append_column("source", pa.array(["feedback"] * len(ids), pa.string()))


def without(table: pa.Table, hits: list[bool]) -> pa.Table:
    """The rows of a table that are not hit."""
    import pyarrow as pa

    return table.filter(pa.array([not hit for hit in hits], pa.bool_()))
