"""validate: run the Great Expectations suite, quarantine what breaks it, and publish the snapshot."""

from __future__ import annotations

import json
import os
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftcore import parts, snapshot, suppression, watermarks
from ftcore._find import find
from ftcore.cleaning.personal import Finder
from ftcore.context import Context, Outcome, log
from ftcore.errors import DataRejectedError, FtcoreError, RecipeError
from ftcore.records import now
from ftcore.steps import _comparison
from ftcore.steps._comparison import Tally
from ftcore.store import read_json, read_table, upload, write_table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from upath import UPath

    from ftcore.steps._great_expectations import SuiteResult

NEEDS = ("pyarrow.parquet", "pandas", "great_expectations")
REMOVED = (
    "duplicates",
    "near_duplicates",
    "contaminated",
    "alike_with_other_labels",
    "contradictions",
    "straddling",
    "foreign",
    "personal_data",
    "dropped_for_personal_data",
    "length_outliers",
    "doubtful_labels",
    "balance",
    "length_quantiles",
    "filtered",
)
"""Figures of ``prepare`` that the manifest repeats."""


def run(context: Context) -> Outcome:
    """Publish the rows that hold what the suite expects as an immutable snapshot and make it current.

    The snapshot of a period, as a backfill makes it, is published like any other, but does not become current and is
    compared with none: the record says not to proceed, so nothing is trained on it unless somebody asks.

    Raises:
        DataRejectedError: a table-level expectation fails, more rows are quarantined than the recipe allows, or the
            data is too far from the snapshot before. Nothing is published then; the report stays in the run's folder.
    """
    draft = context.earlier("prepare")
    source = context.shelf.root / draft.paths["rows"]
    quarantine = read_table(context.shelf.root / draft.paths["quarantine"])
    result, page = _check(context, source)
    target = find("tasks", context.recipe.task.kind).TARGET
    kept = _Kept(source, result.failures, target)
    moved, tally = kept.look()
    quarantine = pa_concat([quarantine, moved])
    write_table(context.folder / "quarantine.parquet", quarantine)
    reasons = _count(quarantine)
    ingest = context.earlier("ingest")
    period = ingest.figures.get("period")
    before = None if period else _before(context)
    personal = _personal(context, kept)
    odd = _comparison.odd(context.recipe.validation, before, tally, now())
    try:
        _reject(context, tally.rows, quarantine, draft.figures, [*result.rejections, *personal, *odd.rejections], page)
    except DataRejectedError:
        _remove_raw(context)
        raise
    for warning in (*result.warnings, *odd.warnings):
        log.warning("%s", warning)
    manifest = _manifest(context, draft.figures, tally, reasons) | {
        "previous": before and before["snapshot"],
        "warnings": [*result.warnings, *odd.warnings],
    }
    manifest |= {"period": period} if period else {}
    extras = {"suite/result.json": (json.dumps(result.result_json, indent=2, ensure_ascii=False) + "\n").encode()}
    if review := draft.paths.get("review"):
        extras["review.parquet"] = (context.shelf.root / review).read_bytes()
    _none_forgotten_since(context)
    identity = snapshot.publish(
        context.shelf, kept.tables, quarantine, manifest, extras, becomes_current=period is None
    )
    watermarks.commit(context.shelf, ingest, identity)
    _remove_raw(context)
    found = f"snapshot {identity}: {tally.rows:,} rows, {quarantine.num_rows:,} quarantined"
    return Outcome(
        reason=f"{found}; of {period['since']} to {period['until']}, so not current" if period else found,
        proceed=period is None,
        figures={
            "snapshot": identity,
            "rows": tally.rows,
            "verdict": _verdict(manifest["warnings"]),
            "quarantined": quarantine.num_rows,
            "quarantine_reasons": reasons,
            "splits": manifest["splits"],
            "warnings": manifest["warnings"],
            "removed": {name: draft.figures[name] for name in REMOVED if name in draft.figures},
        },
        inputs={"rows": parts.digest(source)},
        paths={"snapshot": context.written(snapshot.folder(context.shelf, identity)), "data_docs": page},
    )


def _verdict(warnings: list[str]) -> str:
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


def _remove_raw(context: Context) -> None:
    """Delete the rows as they came, personal data included: the record keeps their hash, ``prepare`` what is clean."""
    parts.remove(context.shelf.folder(context.run_id, "ingest"))


def _check(context: Context, source: UPath) -> tuple[SuiteResult, str]:
    """Run the suite; returns its result and the path of its Data Docs page in the store."""
    from ftcore.steps._great_expectations import run_suite

    recipe = context.recipe
    shortest, longest = recipe.validation.text_length
    parameters = {
        "labels": list(getattr(recipe.task, "labels", ())),
        "min_length": shortest,
        "max_length": longest,
        "min_rows": recipe.validation.min_rows,
    }
    path = context.settings.expectations / f"{recipe.suite}.json"
    suite = read_json(path)
    if suite is None:
        raise RecipeError(recipe.name, [("validation.suite", f"there is no {path}")])
    local = context.settings.home.resolve() / "data_docs" / recipe.name
    result = run_suite(_frame(source), suite, parameters, name=context.run_id, docs=local)
    docs = context.shelf.root / "data_docs"
    upload(local, docs)
    return result, context.written(docs / result.page.relative_to(local).as_posix())


def _frame(source: UPath) -> pd.DataFrame:
    """All rows as Great Expectations takes them; what repeats in a column is one Python object."""
    import pandas as pd

    frames = [table.to_pandas() for table in parts.read(source)]
    for name in ("label", "source", "split"):
        for frame in frames:
            frame[name] = frame[name].map(sys.intern, na_action="ignore")
    return pd.concat(frames, ignore_index=True)


@dataclass
class _Kept:
    """The draft's rows without those that failed, table by table."""

    source: UPath
    failures: dict[int, list[str]]
    target: str
    """What a label is, as the task says."""

    def tables(self) -> Iterator[pa.Table]:
        """Rows that stay."""
        for rows, failed in self._tables():
            yield rows.filter(_mask([place not in failed for place in range(rows.num_rows)]))

    def look(self) -> tuple[pa.Table, Tally]:
        """The rows that failed, each with its reasons, and counts of those that stay."""
        import pyarrow as pa

        tally, moved = Tally(labelled=self.target == "label"), []
        schema = snapshot.schema().append(pa.field("reason", pa.string()))
        for rows, failed in self._tables():
            tally.add(rows.filter(_mask([place not in failed for place in range(rows.num_rows)])))
            reasons = pa.array(["; ".join(failed[place]) for place in sorted(failed)], pa.string())
            taken = rows.take(pa.array(sorted(failed), pa.int64())).drop_columns(["split"])
            moved.append(taken.append_column("reason", reasons).cast(schema))
        return pa.concat_tables([schema.empty_table(), *moved]), tally

    def _tables(self) -> Iterator[tuple[pa.Table, dict[int, list[str]]]]:
        start, positions = 0, sorted(self.failures)
        for rows in parts.read(self.source):
            here = positions[bisect_left(positions, start) : bisect_left(positions, start + rows.num_rows)]
            yield rows, {place - start: self.failures[place] for place in here}
            start += rows.num_rows


def _mask(values: list[bool]) -> pa.BooleanArray:
    import pyarrow as pa

    return pa.array(values, pa.bool_())


def pa_concat(tables: list[pa.Table]) -> pa.Table:
    """One table of several."""
    import pyarrow as pa

    return pa.concat_tables(tables)


def _personal(context: Context, kept: _Kept) -> list[str]:
    """Say which personal data is still there; looked for in every text, apart from names."""
    config = context.recipe.prepare.personal_data
    removed = tuple(name for name, action in config.actions.items() if action != "keep")
    finder = Finder(removed, config.phone_regions, config.model).patterns_only
    found: Counter[str] = Counter()
    if context.recipe.validation.personal_data:
        for rows in kept.tables():
            for name in ("text", "context", *(("label", "rejected") if kept.target == "text" else ())):
                texts = [text or "" for text in rows[name].to_pylist()] if rows[name].null_count < rows.num_rows else []
                for there in finder.find(texts).values():
                    found.update(one.entity for one in there)
    return [f"{count:,} × {entity} is still in the texts" for entity, count in sorted(found.items())]


def _before(context: Context) -> dict[str, Any] | None:
    """Manifest of the snapshot that is current now."""
    identity = snapshot.current(context.shelf)
    return snapshot.manifest(context.shelf, identity) if identity else None


def _reject(
    context: Context, rows: int, quarantine: pa.Table, prepared: dict[str, Any], failures: list[str], page: str
) -> None:
    limits = context.recipe.validation
    filtered = sum(prepared.get("filtered", {}).values())
    total, bad = rows + quarantine.num_rows - filtered, quarantine.num_rows - filtered
    share = bad / total if total else 1.0
    if share > limits.max_quarantined:
        words = ", ".join(f"{count:,} × {reason}" for reason, count in _count(quarantine).items())
        failures.append(
            f"{share:.1%} of {total:,} rows would be quarantined, {limits.max_quarantined:.1%} are allowed: {words}"
        )
    if rows < limits.min_rows:
        failures.append(f"{rows:,} rows are left, at least {limits.min_rows:,} are needed")
    if failures:
        report = str(context.shelf.root / page)
        raise DataRejectedError(
            f"the data of {context.recipe.name} is rejected", failures, report, hint="nothing was published"
        )


def _manifest(context: Context, prepared: dict[str, Any], tally: Tally, reasons: dict[str, int]) -> dict[str, Any]:
    return {
        "recipe": context.recipe.name,
        "run_id": context.run_id,
        "target": find("tasks", context.recipe.task.kind).TARGET,
        "rows_in": prepared["rows_in"],
        "suppressed": context.earlier("ingest").figures.get("suppressed", 0),
        "rows": tally.rows,
        "quarantined": sum(reasons.values()),
        "quarantine_reasons": reasons,
        "splits": {split: tally.splits[split] for split in snapshot.SPLITS},
        "labels": dict(sorted(tally.labels.items())),
        "sources": dict(sorted(tally.sources.items())),
        "newest": tally.newest and tally.newest.isoformat(),
        **{name: prepared[name] for name in REMOVED if name in prepared},
        "removed_entities": [
            name for name, act in context.recipe.prepare.personal_data.actions.items() if act != "keep"
        ],
        "settings": {
            "prepare": context.recipe.prepare.model_dump(mode="json"),
            "validation": context.recipe.validation.model_dump(mode="json"),
        },
    }


def _count(quarantine: pa.Table) -> dict[str, int]:
    counts = {row["values"]: row["counts"] for row in quarantine["reason"].value_counts().to_pylist()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
