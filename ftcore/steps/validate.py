"""validate: run the Great Expectations suite, quarantine what breaks it, and publish the snapshot."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ftcore.context import Context, Outcome
from ftcore.data import carry, history, labels, renamed, shards, snapshot, split, split_keys, suppression, watermarks
from ftcore.data.cleaning import label_names
from ftcore.data.kept_rows import Kept, concatenated
from ftcore.data.tally import DatasetSummary
from ftcore.data.validation import whole_snapshot
from ftcore.data.validation.whole_snapshot import SnapshotFacts
from ftcore.errors import DataRejectedError, FtcoreError, RecipeError
from ftcore.planning import enough
from ftcore.reports import snapshot as reports
from ftcore.store import parts
from ftcore.store.records import now
from ftcore.store.store import digest, hash_file, read_json, read_table, upload, write_bytes, write_table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from upath import UPath

    from ftcore.data.validation.great_expectations import SuiteResult

log = logging.getLogger(__name__)

NEEDS = ("pyarrow.parquet", "pandas", "great_expectations")
SHOWN_REASONS = 5
"""Reasons for the quarantine that are logged, the commonest first."""
MOST_REASONS = 500
"""Reasons for the quarantine that a manifest counts one by one."""
REMOVED = (
    "duplicates",
    "near_duplicates",
    "leaked",
    "texts_on_two_sides",
    "groups_on_two_splits",
    "near_duplicate_label_conflicts",
    "contradictions",
    "split_conflicts",
    "other_language",
    "personal_data",
    "dropped_for_personal_data",
    "length_outliers",
    "doubtful_labels",
    "label_error_model",
    "balance",
    "length_quantiles",
    "filtered",
)
"""Figures of ``prepare`` that the manifest repeats."""
IDENTITY = {
    "ids": "without blanks around them and without the fraction of a whole number: 12, 12.0 and ' 12 ' are one",
    "groups": "as ids, whatever the case and width of letters; one that is personal data stands under a pseudonym",
    "split_key": "keyed hash of the raw group, else of the raw text, taken when the row first came in",
}
"""How rows, groups and splits are told apart, as the manifest states it."""


def run(context: Context) -> Outcome:
    """Publish the rows that hold what the suite expects as an immutable snapshot and make it current.

    The snapshot of a period, as a backfill makes it, is published like any other, but does not become current and is
    compared with none: the record says not to proceed, so nothing is trained on it unless somebody asks.

    Raises:
        DataRejectedError: an expectation that can reject is not met: of the suite, or of the rows that would be left.
            Nothing is published then; the report stays in the run's folder.
    """
    draft = context.earlier("prepare")
    source = context.shelf.root / draft.paths["rows"]
    suite, parameters = _suite(context)
    rows = _run_suite(context, Kept(source), suite, parameters)
    kept = Kept(source, rows.failures)
    moved, tally = kept.look(context.recipe.task)
    quarantine = concatenated([read_table(context.shelf.root / draft.paths["quarantine"]), moved])
    write_table(context.folder / "quarantine.parquet", quarantine)
    period = context.earlier("ingest").figures.get("period")
    before = None if period else _before(context)
    faults = _faults(quarantine, draft.figures)
    found = SnapshotFacts(tally, before, faults, now(), _came_in(draft.figures), trained=not period)
    whole = _run_suite(context, kept, whole_snapshot.suite(context.recipe, found), {})
    upload(_docs(context), context.shelf.root / "data_docs")
    manifest = _manifest(context, draft.figures, tally, _count(quarantine)) | _verdict(context, rows, whole)
    manifest |= _beside(context, before, kept) | ({"period": period} if period else {})
    manifest["warnings"] += [] if period else _too_few(context, kept)
    manifest["warnings"] += renamed.warnings(context.shelf, before, tally.sources, kept.tables(["source", "text"]))
    review = context.shelf.root / draft.paths["review"] if "review" in draft.paths else None
    page = reports.writer(context.recipe, quarantine, read_table(review) if review else None, before)
    if manifest["rejections"]:
        parts.remove(_raw(context))
        _reject(context, manifest, page)
    for warning in manifest["warnings"]:
        log.warning("%s", warning)
    for reason, count in list(manifest["quarantine_reasons"].items())[:SHOWN_REASONS]:
        log.info("quarantined: %s × %s", f"{count:,}", reason)
    extras: dict[str, Any] = {
        f"suite/{name}.json": (json.dumps(result.result_json, indent=2, ensure_ascii=False) + "\n").encode()
        for name, result in (("result", rows), ("whole", whole))
    }
    extras |= {"review.parquet": review.read_bytes()} if review else {}
    return _publish(context, kept, quarantine, manifest, {**extras, reports.FILE: page})


def _publish(
    context: Context, kept: Kept, quarantine: pa.Table, manifest: dict[str, Any], extras: dict[str, Any]
) -> Outcome:
    """Publish, then move the watermarks, then let go of the raw rows: killed anywhere, it can be run again."""
    _none_forgotten_since(context)
    period = manifest.get("period")
    if period is None:
        _none_published_since(context)
    written = parts.digest(kept.source)
    identity = snapshot.publish(
        context.shelf,
        kept.tables,
        quarantine,
        manifest,
        extras,
        becomes_current=period is None,
        identity=kept.content(context.earlier("prepare").figures, written),
    )
    ingest = context.earlier("ingest")
    left_out = (
        carry.keep(context, quarantine, _draft(context) / carry.REPEATED) if ingest.figures.get("watermarks") else ""
    )
    if period is None:
        split_keys.commit(
            context.shelf, split.load(context.shelf), _raw(context), kept.tables(["row_id", "split_key"]), identity
        )
    watermarks.commit(context.shelf, ingest, identity, left_out)
    parts.remove(_raw(context))
    page = snapshot.path(context.shelf, identity, reports.FILE)
    found = f"snapshot {identity}: {manifest['rows']:,} rows, {quarantine.num_rows:,} quarantined"
    return Outcome(
        reason=f"{found}; of {period['since']} to {period['until']}, so not current" if period else found,
        proceed=period is None,
        figures={
            "snapshot": identity,
            "verdict": _verdict_word(manifest["warnings"]),
            **{name: manifest[name] for name in ("rows", "quarantined", "quarantine_reasons", "splits", "warnings")},
            "removed": {name: manifest[name] for name in REMOVED if name in manifest},
        },
        inputs={"rows": written},
        paths={
            "snapshot": context.written(snapshot.folder(context.shelf, identity)),
            "report": context.written(page),
            "data_docs": manifest["data_docs"],
        },
    )


def _verdict_word(warnings: list[str]) -> str:
    """What the asset's event says of the snapshot; one that did not pass is not published."""
    return f"passed, {len(warnings)} warning{'s' * (len(warnings) != 1)}" if warnings else "passed"


def _none_forgotten_since(context: Context) -> None:
    """Publish nothing of a subject that was forgotten while this run was at work."""
    read = context.earlier("ingest").inputs.get("forgotten", "")
    if suppression.load(context.shelf, os.environ).state != read:
        command = f"ftcore run {context.recipe.name} --only data --run {context.run_id}"
        raise FtcoreError(
            "a subject was forgotten after this run read its sources",
            hint=f"read them again: clear ingest in Airflow, or {command}",
        )


def _none_published_since(context: Context) -> None:
    """Publish nothing over a snapshot that this run has not seen: its rows would lose their splits, and newer ones go.

    What this very run has published, before it was killed or cleared, does not count.
    """
    figures, now_current = context.earlier("ingest").figures, snapshot.current(context.shelf)
    if "current" not in figures or figures["current"] == now_current:  # a record of an earlier version does not say
        return
    current = snapshot.manifest(context.shelf, now_current, proven=True) if now_current else {}
    if current.get("run_id") != context.run_id:
        raise FtcoreError(
            f"run {current.get('run_id')} published snapshot {now_current} after this run, {context.run_id}, "
            f"read its sources when the current one was {figures['current']}",
            hint=f"read them again in a new run: trigger the data DAG, or ftcore run {context.recipe.name} --only data",
        )


def _draft(context: Context) -> UPath:
    """Where ``prepare`` wrote."""
    return context.shelf.folder(context.run_id, "prepare")


def _raw(context: Context) -> UPath:
    """The rows as they came, personal data included: the record keeps their hash, ``prepare`` what is clean."""
    return context.shelf.folder(context.run_id, "ingest")


def _suite(context: Context) -> tuple[dict[str, Any], dict[str, Any]]:
    """The suite that the recipe names, and its parameters."""
    recipe = context.recipe
    path = context.settings.suite(recipe.suite)
    suite = read_json(path)
    if suite is None:
        raise RecipeError(recipe.name, [("validation.suite", f"there is no {path}")])
    shortest, longest = recipe.validation.text_length
    return suite, {
        "labels": list(recipe.task.labels),
        "min_length": shortest,
        "max_length": longest,
        "min_rows": recipe.validation.min_rows,
    }


def _run_suite(context: Context, rows: Kept, suite: dict[str, Any], parameters: dict[str, Any]) -> SuiteResult:
    """Run a suite; its Data Docs are local until both suites were run."""
    from ftcore.data.validation.great_expectations import columns, run_suite

    frame = rows.frame(columns(suite, parameters, snapshot.schema(split=True).names))
    return run_suite(frame, suite, parameters, name=context.run_id, docs=_docs(context))


def _docs(context: Context) -> Path:
    return context.settings.home.resolve() / "data_docs" / context.recipe.name


def _verdict(context: Context, rows: SuiteResult, whole: SuiteResult) -> dict[str, Any]:
    """What both suites found, in plain values."""
    pages = [
        (context.shelf.root / "data_docs" / one.page.relative_to(_docs(context)).as_posix()) for one in (rows, whole)
    ]
    return {
        "rejections": [*rows.rejections, *whole.rejections],
        "warnings": [*rows.warnings, *whole.warnings],
        "checks": [*rows.checks, *whole.checks],
        "data_docs": context.written(pages[0]),
        "data_docs_as_a_whole": context.written(pages[1]),
        "pages": dict(zip(("data_docs", "data_docs_as_a_whole"), map(hash_file, pages), strict=True)),
    }


def _reject(context: Context, manifest: dict[str, Any], page: Callable[[dict[str, Any]], bytes]) -> NoReturn:
    """Write the report of what will not be published, and say why."""
    document = {"created_at": now().isoformat(), **manifest, "files": {}}
    write_bytes(context.folder / reports.FILE, page(document))
    raise DataRejectedError(
        f"the data of {context.recipe.name} is rejected",
        manifest["rejections"],
        str(context.folder / reports.FILE),
        hint="nothing was published",
    )


def _too_few(context: Context, kept: Kept) -> list[str]:
    """Gates that ask for more test rows than there would be."""
    keys = enough.test_keys(kept.tables(["split", "split_key"]))
    return enough.warnings(context.recipe, enough.of_test(keys, context.recipe.evaluate.sealed))


def _before(context: Context) -> dict[str, Any] | None:
    """Manifest of the snapshot that is current now."""
    identity = snapshot.current(context.shelf)
    return snapshot.manifest(context.shelf, identity, proven=True) if identity else None


def _faults(quarantine: pa.Table, prepared: dict[str, Any]) -> Counter[str]:
    """Rows set aside by reason, those apart that the recipe's own filters left out."""
    return Counter(_count(quarantine)) - Counter(prepared.get("filtered", {}))


def _came_in(prepared: dict[str, Any]) -> int:
    """Rows before duplicates were removed, without those that the recipe leaves out: a share of faults is of these."""
    left_out: int = sum(prepared.get("filtered", {}).values()) + prepared.get("dropped_for_personal_data", 0)
    came_in: int = prepared["rows_in"] - left_out
    return came_in


def _beside(context: Context, before: dict[str, Any] | None, kept: Kept) -> dict[str, Any]:
    """The snapshot before, and how many rows came, went and stayed."""
    import numpy as np

    if before is None:
        return {"previous": None}
    try:
        old = _ids(snapshot.batches(context.shelf, before["snapshot"], columns=["row_id"]))
    except (DataRejectedError, OSError) as error:  # what happened to an old snapshot stops no new one
        log.warning("%s", error)
        return {"previous": before["snapshot"]}
    new = _ids(kept.tables(["row_id"]))
    stayed = len(np.intersect1d(old, new, assume_unique=True))
    change = {"added": len(new) - stayed, "removed": len(old) - stayed, "kept": stayed}
    return {"previous": before["snapshot"], "change": change}


def _ids(tables: Iterable[pa.Table]) -> NDArray[np.bytes_]:
    """Row ids, 20 bytes each."""
    import numpy as np

    return np.unique(np.concatenate([np.empty(0, "S20"), *(np.array(t["row_id"].to_pylist(), "S20") for t in tables)]))


def _manifest(
    context: Context, prepared: dict[str, Any], tally: DatasetSummary, reasons: dict[str, int]
) -> dict[str, Any]:
    return {
        "recipe": context.recipe.name,
        "run_id": context.run_id,
        "target": context.recipe.task.TARGET,
        "rows_in": prepared["rows_in"],
        "suppressed": context.earlier("ingest").figures.get("suppressed", 0),
        "filtered_by_where": context.earlier("ingest").figures.get("filtered", {}),
        "rows": tally.rows,
        "quarantined": sum(reasons.values()),
        "quarantine_reasons": _most(reasons, prepared.get("filtered", {})),
        "splits": {split: tally.splits[split] for split in snapshot.SPLITS},
        "labels": dict(sorted(tally.labels.items())),
        "labels_by_split": labels.table(context.recipe.task, tally.by_label),
        "label_rule": label_names.STATED if labels.listed(context.recipe.task) else "",
        "sources": dict(sorted(tally.sources.items())),
        "newest": tally.newest and tally.newest.isoformat(),
        "read": context.earlier("ingest").figures.get("by_source", {}),
        "identity": IDENTITY,
        history.GROUPED: context.earlier("ingest").figures.get(history.GROUPED),
        "source_names": shards.source_names(context),
        "split_keys": context.earlier("ingest").figures.get("split_keys"),
        "reused_ids": context.earlier("ingest").figures.get("reused_ids") or {},
        **{name: prepared[name] for name in REMOVED if name in prepared},
        "removed_entities": [
            name for name, act in context.recipe.prepare.personal_data.actions.items() if act != "keep"
        ],
        "settings": {
            "prepare": context.recipe.prepare.model_dump(mode="json"),
            "validation": context.recipe.validation.model_dump(mode="json"),
        },
        "shape": tally.shape,
        "recipe_sha256": digest(context.recipe.resolved()),
        "versions": context.earlier("prepare").versions,
        "git_commit": context.earlier("prepare").git_commit,
    }


def _most(reasons: dict[str, int], filtered: Collection[str]) -> dict[str, int]:
    """The commonest reasons; where a column of free texts was taken for labels, there is one for each row."""
    if len(reasons) <= MOST_REASONS:
        return reasons
    names = [*list(reasons)[:MOST_REASONS], *filtered]
    found = {name: reasons[name] for name in dict.fromkeys(names) if name in reasons}
    return found | {"other reasons": sum(reasons.values()) - sum(found.values())}


def _count(quarantine: pa.Table) -> dict[str, int]:
    counts = {row["values"]: row["counts"] for row in quarantine["reason"].value_counts().to_pylist()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
