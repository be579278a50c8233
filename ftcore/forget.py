"""Forget a subject: suppress its rows from now on, and say where they have been until now."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftcore import snapshot, suppression
from ftcore._find import find
from ftcore.cleaning import personal
from ftcore.errors import FtcoreError
from ftcore.records import now
from ftcore.store import read_table
from ftcore.tracking import Tracking

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.recipe import Recipe
    from ftcore.settings import Settings
    from ftcore.store import Shelf
    from ftcore.suppression import Suppression

QUARANTINE = "quarantine"
MASK = re.compile(r"\[[A-Z_]+\]")
ROW_ID = re.compile(r"[0-9a-f]{20}")


@dataclass(frozen=True)
class Wish:
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


@dataclass
class Found:
    """Where a subject's rows are."""

    snapshots: dict[str, Counter[str]] = field(default_factory=dict)
    """Rows by split, or ``quarantine``, by snapshot."""
    logs: dict[str, int] = field(default_factory=dict)
    """Rows by log."""
    row_ids: set[str] = field(default_factory=set)
    """Rows that a source names by a key of its own, so that no other text can have their id."""


def forget(recipe: Recipe, shelf: Shelf, settings: Settings, wish: Wish) -> dict[str, Any]:
    """Suppress a subject's rows in every later ingest; asked again it only widens what is suppressed.

    The suppression is written before anything is looked up at MLflow, and the line in the ledger last.

    Returns:
        ``subject``, the hash that stands for the key; ``known``, whether it was forgotten before; ``snapshots`` with
        rows by split, newest first; ``versions`` that were trained or tested on them; ``logs``, rows in the prediction
        and the feedback log; ``masked``, whether snapshots may hold more rows than could be told; ``next``, what to do.

    Raises:
        FtcoreError: an empty key, or a reason that holds it.
        MissingExtraError: the secret behind the hashes is not set.
        TransientError: MLflow does not answer; the suppression is in force already.
    """
    if not suppression.words(wish.key):
        raise FtcoreError("a subject's key has letters or digits")
    if snapshot.text_key(wish.key) in snapshot.text_key(wish.reason):
        raise FtcoreError("the reason names the subject", hint="the ledger is kept: name a case number instead")
    with shelf.lock("forget", settings.lock_timeout_s):
        before = suppression.opened(shelf, os.environ, keep=not wish.dry_run)
        entry, found = _find(recipe, shelf, wish, before)
        if not wish.dry_run:
            entry = suppression.add(shelf, entry)
        report = _report(recipe, shelf, Tracking(settings, recipe.name), found)
        report |= {"recipe": recipe.name, "subject": entry.subject, "dry_run": wish.dry_run, "masked": entry.reread}
        report |= {"known": any(one.subject == entry.subject for one in before.entries)}
        if not wish.dry_run:
            _tell(shelf, entry, report)
    return report


def _find(recipe: Recipe, shelf: Shelf, wish: Wish, before: Suppression) -> tuple[suppression.Entry, Found]:
    """The entry that suppresses a subject, and where the rows are that it suppresses."""
    cleaned = _cleaned(recipe, wish.key)
    # A pseudonym stands for one value, so what holds it is the subject's; a mask stands for everybody's.
    forms = [wish.key] if MASK.search(cleaned) else sorted({wish.key, cleaned})
    sources = tuple(sorted(_sources(recipe, shelf)))
    ids = {snapshot.row_id(source, wish.key) for source in sources}
    if ROW_ID.fullmatch(wish.key.strip()):
        ids.add(wish.key.strip())
    told = [before.entry(form, now(), in_text=wish.in_text, row_ids=tuple(sorted(ids))) for form in forms]
    found = _look(shelf, suppression.Suppression(before.key, tuple(told)))
    return before.entry(
        wish.key,
        now(),
        in_text=wish.in_text,
        reread=wish.in_text or cleaned != wish.key,
        row_ids=tuple(sorted(ids | found.row_ids)),
        sources=sources,
        reason=wish.reason,
    ), found


def _cleaned(recipe: Recipe, key: str) -> str:
    """The key as snapshots hold it."""
    return personal.cleaner(recipe.prepare.personal_data, os.environ, recipe.name).clean([key])[0][0]


def _sources(recipe: Recipe, shelf: Shelf) -> set[str]:
    """Names that rows carry as their source, as far as they can be known."""
    names = {name for one in snapshot.ls(shelf) for name in one.get("sources", {})} | {"feedback"}
    for source in recipe.sources:
        module: Any = find("sources", source.kind)
        if hasattr(module, "source_name") and (name := module.source_name(source)):
            names.add(name)
    return names


def _look(shelf: Shelf, subject: Suppression) -> Found:
    """Go through every snapshot and both logs."""
    found = Found()
    for identity in [one["snapshot"] for one in snapshot.ls(shelf)]:
        counts: Counter[str] = Counter()
        for where, rows in _tables(shelf, identity):
            hits = _hits(subject, rows)
            counts[where] += hits.num_rows
            found.row_ids |= {
                row["row_id"]
                for row in hits.select(["row_id", "source", "text"]).to_pylist()
                if row["row_id"] != snapshot.row_id(row["source"], snapshot.text_key(row["text"] or ""))
            }
        if counts.total():
            found.snapshots[identity] = +counts
    requests: set[str] = set()
    for file in shelf.log_files("predictions"):
        rows = _hits(subject, _as_rows(read_table(file)))
        requests |= set(rows["request_id"].to_pylist())
        found.row_ids |= set(rows["row_id"].to_pylist())
        found.logs["predictions"] = found.logs.get("predictions", 0) + rows.num_rows
    for file in shelf.log_files("feedback"):
        told = sum(one in requests for one in read_table(file, ["request_id"])["request_id"].to_pylist())
        found.logs["feedback"] = found.logs.get("feedback", 0) + told
    return found


def _tables(shelf: Shelf, identity: str) -> Iterator[tuple[str, pa.Table]]:
    for split in snapshot.SPLITS:
        yield from ((split, rows) for rows in snapshot.batches(shelf, identity, [split]))
    yield QUARANTINE, read_table(snapshot.folder(shelf, identity) / "quarantine.parquet")


def _hits(subject: Suppression, rows: pa.Table) -> pa.Table:
    import pyarrow as pa

    return rows.filter(pa.array(subject.matches(rows), pa.bool_()))


def _as_rows(requests: pa.Table) -> pa.Table:
    """Scored requests as the source ``feedback`` gives them."""
    import pyarrow as pa

    ids = [snapshot.row_id("feedback", one) for one in requests["request_id"].to_pylist()]
    requests = requests.append_column("row_id", pa.array(ids, pa.string()))
    return requests.append_column("source", pa.array(["feedback"] * len(ids), pa.string()))


def _report(recipe: Recipe, shelf: Shelf, tracking: Tracking, found: Found) -> dict[str, Any]:
    versions: list[dict[str, Any]] = []
    for version in tracking.versions():
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
        "logs": {name: rows for name, rows in found.logs.items() if rows},
        "next": _next(recipe.name, found, current, [one["version"] for one in versions if one["trained"]]),
    }


def _next(recipe: str, found: Found, current: str | None, trained: list[int]) -> list[str]:
    steps = []
    if current in found.snapshots:
        steps.append(f"ftcore run {recipe} --only data, for a snapshot without these rows")
    if trained:
        named = ", ".join(map(str, trained))
        steps.append(f"ftcore run {recipe} -p train=always, for a version without them; then delete {named} in MLflow")
    if found.snapshots:
        steps.append(f"ftcore snapshots prune {recipe} --keep 1, once no version needs {', '.join(found.snapshots)}")
        steps.append(f"ftcore runs prune {recipe} --older-than 0, for the rows that runs left; their evidence stays")
    if any(found.logs.values()):
        steps.append("delete the rows in the prediction log, where no law asks to keep them")
    return steps


def _tell(shelf: Shelf, entry: suppression.Entry, report: dict[str, Any]) -> None:
    versions = [one["version"] for one in report["versions"]]
    rows = sum(sum(one["rows"].values()) for one in report["snapshots"])
    said = f"subject {entry.subject[:8]}: {rows:,} rows in {len(report['snapshots'])} snapshots"
    said += f"; versions {', '.join(map(str, versions))} know them" if versions else "; no model version knows them"
    figures: dict[str, Any] = {
        "because": entry.reason,
        "versions": versions,
        "snapshots": [o["snapshot"] for o in report["snapshots"]],
    }
    shelf.add_to_ledger("forget", entry.subject, "forgotten", said, **figures)
