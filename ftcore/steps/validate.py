"""validate: run the Great Expectations suite, quarantine what breaks it, and publish the snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftcore import snapshot, watermarks
from ftcore.context import Context, Outcome, log
from ftcore.errors import DataRejectedError, RecipeError
from ftcore.store import hash_file, read_json, read_table, upload, write_json, write_table

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.steps._great_expectations import SuiteResult

NEEDS = ("pyarrow.parquet", "pandas", "great_expectations")


def run(context: Context) -> Outcome:
    """Publish the rows that hold what the suite expects as an immutable snapshot and make it current.

    Raises:
        DataRejectedError: a table-level expectation fails or more rows are quarantined than the recipe allows.
        Nothing is published then;
            the report stays in the run's folder.
    """
    draft = context.earlier("prepare")
    rows_path = context.shelf.root / draft.paths["rows"]
    rows, quarantine = read_table(rows_path), read_table(context.shelf.root / draft.paths["quarantine"])
    result, page = _check(context, rows)
    rows, quarantine = _set_aside(rows, quarantine, result.failures)
    write_table(context.folder / "quarantine.parquet", quarantine)
    reasons = _count(quarantine)
    _reject(context, rows, quarantine, result, page)
    manifest = _manifest(context, draft.figures, rows, reasons)
    identity = snapshot.publish(context.shelf, rows, quarantine, manifest)
    watermarks.commit(context.shelf, context.earlier("ingest"), identity)
    target = snapshot.folder(context.shelf, identity) / "validation"
    write_json(target / "result.json", result.result_json)
    return Outcome(
        reason=f"snapshot {identity}: {rows.num_rows:,} rows, {quarantine.num_rows:,} quarantined",
        figures={
            "snapshot": identity,
            "rows": rows.num_rows,
            "quarantined": quarantine.num_rows,
            "quarantine_reasons": reasons,
            "splits": manifest["splits"],
            "warnings": result.warnings,
        },
        inputs={"rows": hash_file(rows_path)},
        paths={"snapshot": context.written(snapshot.folder(context.shelf, identity)), "data_docs": page},
    )


def _check(context: Context, rows: pa.Table) -> tuple[SuiteResult, str]:
    """Run the suite; returns its result and the path of its Data Docs page in the store."""
    from ftcore.steps._great_expectations import run_suite

    recipe = context.recipe
    shortest, longest = recipe.validation.text_length
    parameters = {
        "labels": list(recipe.task.labels),
        "min_length": shortest,
        "max_length": longest,
        "min_rows": recipe.validation.min_rows,
    }
    path = context.settings.expectations / f"{recipe.suite}.json"
    suite = read_json(path)
    if suite is None:
        raise RecipeError(recipe.name, [("validation.suite", f"there is no {path}")])
    local = context.settings.home.resolve() / "data_docs" / recipe.name
    result = run_suite(rows.to_pandas(), suite, parameters, name=context.run_id, docs=local)
    docs = context.shelf.root / "data_docs"
    upload(local, docs)
    return result, context.written(docs / result.page.relative_to(local).as_posix())


def _set_aside(rows: pa.Table, quarantine: pa.Table, failures: dict[int, list[str]]) -> tuple[pa.Table, pa.Table]:
    """Move the rows at the positions in ``failures`` into the quarantine, each with its reasons."""
    import pyarrow as pa

    positions = sorted(failures)
    reasons = pa.array(["; ".join(failures[position]) for position in positions], pa.string())
    moved = rows.take(pa.array(positions, pa.int64())).drop_columns(["split"]).append_column("reason", reasons)
    kept = rows.filter(pa.array([position not in failures for position in range(rows.num_rows)], pa.bool_()))
    return kept, pa.concat_tables([quarantine, moved])


def _reject(context: Context, rows: pa.Table, quarantine: pa.Table, result: SuiteResult, page: str) -> None:
    limits = context.recipe.validation
    failures = list(result.rejections)
    total = rows.num_rows + quarantine.num_rows
    share = quarantine.num_rows / total if total else 1.0
    if share > limits.max_quarantined:
        words = ", ".join(f"{count:,} × {reason}" for reason, count in _count(quarantine).items())
        failures.append(
            f"{share:.1%} of {total:,} rows would be quarantined, {limits.max_quarantined:.1%} are allowed: {words}"
        )
    if rows.num_rows < limits.min_rows:
        failures.append(f"{rows.num_rows:,} rows are left, at least {limits.min_rows:,} are needed")
    if failures:
        report = str(context.shelf.root / page)
        raise DataRejectedError(
            f"the data of {context.recipe.name} is rejected", failures, report, hint="nothing was published"
        )
    for warning in result.warnings:
        log.warning("%s", warning)


def _manifest(context: Context, prepared: dict[str, Any], rows: pa.Table, reasons: dict[str, int]) -> dict[str, Any]:
    counts = {row["values"]: row["counts"] for row in rows["split"].value_counts().to_pylist()}
    labels = {row["values"]: row["counts"] for row in rows["label"].value_counts().to_pylist()}
    sources = {row["values"]: row["counts"] for row in rows["source"].value_counts().to_pylist()}
    return {
        "recipe": context.recipe.name,
        "run_id": context.run_id,
        "rows_in": prepared["rows_in"],
        "rows": rows.num_rows,
        "duplicates": prepared["duplicates"],
        "quarantined": sum(reasons.values()),
        "quarantine_reasons": reasons,
        "splits": {split: counts.get(split, 0) for split in snapshot.SPLITS},
        "labels": dict(sorted(labels.items())),
        "sources": dict(sorted(sources.items())),
    }


def _count(quarantine: pa.Table) -> dict[str, int]:
    counts = {row["values"]: row["counts"] for row in quarantine["reason"].value_counts().to_pylist()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
