"""Forget a subject: suppress its rows from now on, erase them where that can be done, and say where they remain."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ftcore.compliance import log_files
from ftcore.compliance.eraser import Eraser, requests_as_rows
from ftcore.compliance.log_files import LogSearch
from ftcore.compliance.traces import Traces
from ftcore.data import erasures, publications, snapshot, split, suppression
from ftcore.data.cleaning import personal
from ftcore.errors import FtcoreError, TransientError
from ftcore.progress import busy
from ftcore.recipe.canonical import canonical, sha256
from ftcore.registry import login
from ftcore.store.records import now
from ftcore.store.store import read_table
from ftcore.tracking.client import Tracking

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.data.suppression import Suppression
    from ftcore.recipe.model import Recipe
    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore

QUARANTINE = "quarantine"
LEAVE_ROWS = ("ingest", "prepare", "validate")
"""Steps that leave rows in their run's folder."""
EXAMPLES = ("model/input_example.json", "model/serving_input_example.json")
MASK = re.compile(r"\[[A-Z_]+\]")
ROW_ID = re.compile(r"[0-9a-f]{20}")


@dataclass(frozen=True)
class ErasureRequest:
    """What is asked for."""

    key: str
    """A row's group such as a customer id, a row's own key at its source, a row id, or with ``in_text`` what texts say:
    an e-mail address, a name."""
    in_text: bool = False
    """Whether texts are searched for the key, too."""
    reason: str = ""
    """Why, for the ledger; it must not name the subject."""
    dry_run: bool = False
    """Only look."""
    by: str = ""
    """Who asks for it; the user of this machine by default."""


@dataclass
class Found:
    """Where a subject's rows are."""

    snapshots: dict[str, Counter[str]] = field(default_factory=dict)
    """Rows by split, or ``quarantine``, by snapshot."""
    rows: dict[str, set[str]] = field(default_factory=dict)
    """Ids of its rows by snapshot."""
    traces: Traces = field(default_factory=Traces)
    """What its rows say."""
    left: dict[str, int] = field(default_factory=dict)
    """Rows that runs left, by the step's folder."""
    row_ids: set[str] = field(default_factory=set)
    """Rows that a source names by a key of its own, so that no other text can have their id."""


def forget(recipe: Recipe, shelf: RecipeStore, settings: Settings, wish: ErasureRequest) -> dict[str, Any]:
    """Suppress a subject's rows in every later ingest, and erase them from logs and evaluations.

    Asked again it widens what is suppressed and erases what is left. The suppression is written first, then the store
    is gone through, then MLflow; the lines in the ledger come last. Snapshots and models do not change.

    Returns:
        ``subject``, the hash that stands for the key; ``known``, whether it was forgotten before; ``snapshots`` with
        rows by split, newest first; ``versions`` that were trained or tested on them; ``pruned``, versions whose
        snapshot is gone, so that rows of their evaluations can be told by id and text only; ``logs``, rows erased from
        the prediction and the feedback log; ``erased``, rows by file or artefact, logs included; ``log_files``, lines
        of services' and tasks' logs on this machine by file; ``masked``, whether snapshots may hold more rows than
        could be told; ``next``, what to do.

    Raises:
        FtcoreError: an empty key, or a reason that holds it.
        ConfigurationError: the secret behind the hashes is not set.
        BusyError: an evaluation or a watch is at work and may be writing such rows.
        TransientError: MLflow does not answer; the suppression is in force already, and the store is gone through.
    """
    if not suppression.words(wish.key):
        raise FtcoreError("a subject's key has letters or digits")
    if snapshot.text_key(wish.key) in snapshot.text_key(wish.reason):
        raise FtcoreError("the reason names the subject", hint="the ledger is kept: name a case number instead")
    tracking = Tracking(settings, recipe.name)
    with shelf.lock("forget", settings.lock_timeout_s):
        before = suppression.opened(shelf, os.environ, keep=not wish.dry_run)
        entry, told, found = _find(recipe, shelf, wish, before)
        if not wish.dry_run:
            entry = suppression.add(shelf, entry)
        subject = suppression.Suppression(before.key, (*told, entry))
        eraser = Eraser(shelf, entry.subject, subject, found.rows, found.traces, dry_run=wish.dry_run)
        searched = _search_logs(recipe, settings, found, dry_run=wish.dry_run)  # while all that tells the rows is there
        logs = _erase(eraser, tracking, settings)
        report = _report(recipe, shelf, tracking, found) | {"logs": logs, "erased": eraser.found, "left": found.left}
        report["next"] += [*_out_of_reach(recipe, tracking, found), *searched.steps()]
        if any("/evaluat" in place for place in eraser.found):
            report["next"] += [
                "collect evidence anew where it was handed out before: such folders hold kept examples",
                f"delete cache/models/{recipe.name} below FTCORE_HOME on other machines: copies of evaluations",
            ]
        report |= {"recipe": recipe.name, "subject": entry.subject, "dry_run": wish.dry_run, "masked": entry.reread}
        report |= {"log_files": searched.cleared}
        report |= {"known": any(one.subject == entry.subject for one in before.entries)}
        if not wish.dry_run:
            by = wish.by or login.here()
            named = snapshot.text_key(wish.key) in snapshot.text_key(by)
            _tell(shelf, entry, report, "the subject" if named else by)
    return report


def _erase(eraser: Eraser, tracking: Tracking, settings: Settings) -> dict[str, int]:
    """Erase from the store, then from MLflow; returns the rows by log."""
    with ExitStack() as held:
        for step in () if eraser.dry_run else ("evaluate", "watch"):
            held.enter_context(eraser.shelf.lock(step, settings.lock_timeout_s))
        if not eraser.dry_run:
            eraser.shelf.clear_cache()
        logs = eraser.logs()
        eraser.runs()
        eraser.pages(settings.home.resolve())
        eraser.copies(settings.cache.resolve())
        try:
            eraser.artefacts(tracking)
        except TransientError as error:
            done = (
                "" if eraser.dry_run else "; the rows are suppressed and erased from the store, and not yet from MLflow"
            )
            raise TransientError(f"{error.args[0]}{done}", hint=f"{error.hint}, and forget again") from error
    return logs


def _search_logs(recipe: Recipe, settings: Settings, found: Found, *, dry_run: bool) -> LogSearch:
    """Clear the logs of this machine."""
    places = log_files.folders(settings.home.resolve(), recipe.name, os.environ)
    with busy("looking through the logs of this machine"):
        searched = log_files.search(places, found.traces, dry_run=dry_run)
    searched.elsewhere = log_files.remote(os.environ)
    return searched


def _find(
    recipe: Recipe, shelf: RecipeStore, wish: ErasureRequest, before: Suppression
) -> tuple[suppression.Entry, list[suppression.Entry], Found]:
    """The entry that suppresses a subject, entries that tell its rows in snapshots, and where those are."""
    cleaned = _cleaned(recipe, wish.key)
    # A pseudonym stands for one value, so what holds it is the subject's; a mask stands for everybody's.
    forms = [wish.key] if MASK.search(cleaned) else sorted({wish.key, cleaned})
    if cleaned != wish.key:  # groups that name people stand under a pseudonym, whatever texts are masked with
        forms.append(split.load(shelf, keep=False).pseudonym(wish.key))
    sources = tuple(sorted(_sources(recipe, shelf)))
    ids = {snapshot.row_id(source, key) for source in sources for key in {wish.key, snapshot.source_key(wish.key)}}
    if ROW_ID.fullmatch(wish.key.strip()):
        ids.add(wish.key.strip())
    told = [before.entry(form, now(), in_text=wish.in_text, row_ids=tuple(sorted(ids))) for form in forms]
    found = _look(recipe, shelf, suppression.Suppression(before.key, tuple(told)))
    found.traces.name([form for one in forms for form in (one, *(f"{source}:{one}" for source in sources))])
    found.traces.name(ids)
    entry = before.entry(
        wish.key,
        now(),
        in_text=wish.in_text,
        reread=wish.in_text or cleaned != wish.key,
        row_ids=tuple(sorted(ids | found.row_ids)),
        sources=sources,
        reason=wish.reason,
    )
    return entry, told, found


def _cleaned(recipe: Recipe, key: str) -> str:
    """The key as snapshots hold it."""
    return personal.cleaner(recipe.prepare.personal_data, os.environ, recipe.name).clean([key])[0][0]


def _sources(recipe: Recipe, shelf: RecipeStore) -> set[str]:
    """Names that rows carry as their source, as far as they can be known."""
    names = {name for one in snapshot.ls(shelf) for name in one.get("sources", {})} | {"feedback"}
    for source in (*recipe.sources, *recipe.evaluate.holdouts.values()):
        if name := source.source_name():
            names.add(name)
    return names


def _look(recipe: Recipe, shelf: RecipeStore, subject: Suppression) -> Found:
    """Go through every snapshot, the rows that runs left, and the prediction log."""
    found = Found()
    texts = _texts(recipe)
    for identity in [one["snapshot"] for one in snapshot.ls(shelf)]:
        counts: Counter[str] = Counter()
        for where, rows in _tables(shelf, identity):
            hits = _hits(subject, rows)
            counts[where] += hits.num_rows
            found.rows.setdefault(identity, set()).update(hits["row_id"].to_pylist())
            found.traces.add(hits.to_pylist(), texts)
            found.row_ids |= {
                row["row_id"]
                for row in hits.select(["row_id", "source", "text"]).to_pylist()
                if row["row_id"] != snapshot.row_id(row["source"], snapshot.text_key(row["text"] or ""))
            }
        if counts.total():
            found.snapshots[identity] = +counts
    for place, rows in _left(shelf):
        hits = _hits(subject, rows)
        found.traces.add(hits.to_pylist(), texts)
        if hits.num_rows:
            found.left[place] = found.left.get(place, 0) + hits.num_rows
    for file in shelf.log_files("predictions"):
        hits = _hits(subject, requests_as_rows(read_table(file)))
        found.row_ids |= set(hits["row_id"].to_pylist())
        found.traces.add(hits.to_pylist(), texts)
    return found


def _texts(recipe: Recipe) -> list[str]:
    """Columns that people write; labels of a fixed set would tell everybody's rows."""
    tasks = [recipe.task, *(recipe.task_of(part) for part in recipe.parts)]
    written = any(task.TARGET == "text" for task in tasks)
    return [name for name in snapshot.TEXTS if name not in ("label", "rejected") or written]


def _left(shelf: RecipeStore) -> Iterator[tuple[str, pa.Table]]:
    """Rows that the data steps of runs left, with the folder of their step."""
    for step in LEAVE_ROWS:
        for path in sorted(shelf.root.glob(f"runs/*/{step}/**/*.parquet"), key=lambda path: path.as_posix()):
            rows = read_table(path)
            if {"row_id", "source", "group"} <= set(rows.column_names):
                yield "/".join(shelf.relative(path).split("/")[:3]), rows


def _tables(shelf: RecipeStore, identity: str) -> Iterator[tuple[str, pa.Table]]:
    import pyarrow as pa

    for name in snapshot.SPLITS:
        yield from ((name, rows) for rows in snapshot.batches(shelf, identity, [name]))
    seen: set[str] = set()
    place = snapshot.folder(shelf, identity)
    for name in publications.complete(place):  # a row that several left out counts once
        rows = read_table(publications.folder(place, name) / "quarantine.parquet")
        ids = rows["row_id"].to_pylist()
        yield QUARANTINE, rows.filter(pa.array([one not in seen for one in ids], pa.bool_()))
        seen |= set(ids)


def _hits(subject: Suppression, rows: pa.Table) -> pa.Table:
    import pyarrow as pa

    return rows.filter(pa.array(subject.matches(rows), pa.bool_()))


def _report(recipe: Recipe, shelf: RecipeStore, tracking: Tracking, found: Found) -> dict[str, Any]:
    versions: list[dict[str, Any]] = []
    known = {one["snapshot"] for one in snapshot.ls(shelf)}
    every = tracking.versions()
    pruned = [version.number for version in every if version.snapshot and version.snapshot not in known]
    for version in every:
        if rows := found.snapshots.get(version.snapshot):
            trained = rows["train"] + rows["validation"]
            versions.append(
                {"version": version.number, "snapshot": version.snapshot, "trained": trained, "tested": rows["test"]}
            )
    current = snapshot.current(shelf)
    return {
        "snapshots": [
            {"snapshot": one, "current": one == current, "rows": dict(rows)} for one, rows in found.snapshots.items()
        ],
        "versions": versions,
        "pruned": pruned,
        "next": _next(recipe.name, found, current, [one["version"] for one in versions if one["trained"]]),
    }


def _out_of_reach(recipe: Recipe, tracking: Tracking, found: Found) -> list[str]:
    """What keeps the subject's rows and cannot be changed from here, with what to do."""
    steps = []
    if found.left and not found.snapshots:
        steps.append(
            f"ftcore runs prune {recipe.name} --older-than 0, for the rows that runs left; their evidence stays"
        )
    if shown := [version.number for version in tracking.versions() if _shows(tracking, version.run, found.traces)]:
        named = ", ".join(map(str, shown))
        steps.append(
            f"delete version {named} in MLflow: its input example, of an earlier ftcore, is a row of the subject"
        )
    steps.append("backups, and copies on other machines, are not reached: restore none without forgetting again")
    return steps


def _shows(tracking: Tracking, run: str, traces: Traces) -> bool:
    """Whether the input example of a model is a row of the subject.

    Raises:
        TransientError: MLflow does not answer, so that nobody can tell.
    """
    for name in EXAMPLES:
        with TemporaryDirectory() as folder:
            try:
                text = tracking.artifact(run, name, Path(folder)).read_text(encoding="utf-8", errors="replace")
            except FtcoreError as error:
                if error.retryable:
                    raise
                continue  # it has none
        if _tells(traces, text):
            return True
    return False


def _tells(traces: Traces, text: str) -> bool:
    """Whether anything of the subject stands in a text that should be JSON."""
    try:
        return bool(traces.out_of_json(json.loads(text))[1])
    except (ValueError, RecursionError):
        return traces.tells(text)


def _next(recipe: str, found: Found, current: str | None, trained: list[int]) -> list[str]:
    steps = []
    if current in found.snapshots:
        steps.append(f"ftcore run {recipe} --only data, for a snapshot without these rows")
    if trained:
        named = ", ".join(map(str, trained))
        steps.append(f"ftcore run {recipe} -p train=always, for a version without them; then delete {named} in MLflow")
    if found.snapshots:
        steps.append(f"ftcore snapshots prune {recipe} --keep 1, once no version needs {', '.join(found.snapshots)}")
        steps.append(_prune(recipe))
    return steps


def _prune(recipe: str) -> str:
    return f"ftcore runs prune {recipe} --older-than 0, for the rows that runs left; their evidence stays"


def _tell(shelf: RecipeStore, entry: suppression.Entry, report: dict[str, Any], by: str) -> None:
    """Write the ledger's lines: one for each who asked, and one for each state that was reached by erasing."""
    versions = [one["version"] for one in report["versions"]]
    rows = sum(sum(one["rows"].values()) for one in report["snapshots"])
    said = f"subject {entry.subject[:8]}: {rows:,} rows in {len(report['snapshots'])} snapshots"
    said += f"; versions {', '.join(map(str, versions))} know them" if versions else "; no model version knows them"
    figures: dict[str, Any] = {
        "by": by,
        "because": entry.reason,
        "versions": versions,
        "snapshots": [o["snapshot"] for o in report["snapshots"]],
    }
    known = shelf.line("forget", entry.subject)
    key = "" if known is None or known.get("by") == by else sha256(by)[:8]
    shelf.add_to_ledger("forget", entry.subject, "forgotten", said, key=key, **figures)
    # Of all that was ever erased for the subject: a crash before this line does not lose it.
    erased = [one for one in erasures.read(shelf) if one.subject == entry.subject]
    if erased:
        key = sha256(canonical([[one.place, one.after] for one in erased]))[:8]
        said = f"subject {entry.subject[:8]}: {sum(one.rows for one in erased):,} rows erased from {len(erased)} files"
        hashes = {one.place: one.after for one in erased}  # the oldest first: what each is in the end
        more = {"by": by, "because": entry.reason, "places": sorted(hashes), "hashes": hashes}
        shelf.add_to_ledger("forget", entry.subject, "erased", said, key=key, **more)
