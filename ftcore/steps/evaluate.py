"""evaluate: candidate and champion, as trained and as exported, on the same rows that neither was trained on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from ftcore import outputs, snapshot, suppression
from ftcore._find import find
from ftcore.cleaning import personal
from ftcore.context import Context, Outcome, log
from ftcore.serving import model as models
from ftcore.statistics import Estimate, interval, resample
from ftcore.steps._predictions import known, predict
from ftcore.steps._spool import tidy
from ftcore.store import hash_file, write_json, write_table
from ftcore.tracking import CHAMPION, Tracking, Version

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.sections import Part

NEEDS = ("torch", "transformers", "transformers.modeling_utils", "onnxruntime", "mlflow")
TEST = "test"
JUDGED = ("row_id", *snapshot.TEXTS, "source")
"""Columns that a task may look at; ``dataset`` says which rows they are."""


def run(context: Context) -> Outcome:
    """Write ``evaluation.json`` and ``predictions.parquet``: every metric with its interval, every prediction by row.

    The candidate's predictions are logged to its MLflow run; when it is champion one day, they need not be made again.
    """
    tracking = Tracking(context.settings, context.recipe.name)
    candidate = tracking.version(context.earlier("train").figures["version"])
    champion = tracking.alias(CHAMPION)
    champion = None if champion and champion.number == candidate.number else champion
    rows = _rows(context, candidate.snapshot)
    log.info("evaluating on %s rows: %s", f"{rows.num_rows:,}", _counts(rows))

    made, latency = predict(context, tracking, candidate, rows)
    columns = {("candidate", flavour): column for flavour, column in made.items()}
    if champion:
        made, _ = predict(context, tracking, champion, rows, known(tracking, champion))
        columns |= {("champion", flavour): column for flavour, column in made.items()}
    figures: dict[str, Any] = {
        "candidate": candidate.number,
        "champion": champion.number if champion else None,
        "snapshot": candidate.snapshot,
        "rows": _counts(rows),
        "latency": latency,
        "metrics": _metrics(context, rows, columns),
    }
    path = _write(context, rows, columns, figures)
    _log(context, tracking, candidate, rows, columns, figures)
    served = models.flavours(context.recipe)[0]
    metric, first = next(iter(figures["metrics"]["candidate"][served][TEST].items()))
    return Outcome(
        reason=f"version {candidate.number} ({served}): {metric} {Estimate.model_validate(first)} test rows",
        figures=figures,
        inputs={"snapshot": candidate.snapshot, "predictions": hash_file(path)},
        paths={"predictions": context.written(path), "evaluation": context.written(context.folder / "evaluation.json")},
    )


def _rows(context: Context, identity: str) -> pa.Table:
    """The test split, and of each holdout those rows that hash to the test side and are not in the snapshot."""
    import pyarrow as pa

    recipe = context.recipe
    seen = {snapshot.text_key(text) for text in snapshot.read(context.shelf, identity)["text"].to_pylist()}
    test = snapshot.read(context.shelf, identity, [TEST]).select(list(JUDGED))
    tables = [test.append_column("dataset", pa.array([TEST] * test.num_rows, pa.string()))]
    for name, config in recipe.evaluate.holdouts.items():
        picked = [{**row, "dataset": name} for row in _holdout(context, config, seen)]
        tables.append(pa.Table.from_pylist(picked, schema=tables[0].schema))
    return pa.concat_tables(tables)


def _holdout(context: Context, config: Part, seen: set[str]) -> Iterator[dict[str, Any]]:
    """Rows of a holdout on the test side, cleaned as a snapshot's are and without those of forgotten subjects."""
    recipe = context.recipe
    task = find("tasks", recipe.task.kind)
    cleaner = personal.cleaner(recipe.prepare.personal_data, os.environ, recipe.name)
    forgotten = suppression.load(context.shelf, os.environ)
    for table in find("sources", config.kind).read(config, context):
        rows, sides, dropped = tidy(forgotten.keep(table), recipe.prepare, task.TARGET, cleaner)
        gone = set(dropped)
        for place, (row, side) in enumerate(zip(rows.to_pylist(), sides, strict=True)):
            fresh = row["text"] and snapshot.text_key(row["text"]) not in seen
            if side == TEST and place not in gone and fresh and task.valid(recipe.task, row["label"]):
                yield row


def _metrics(context: Context, rows: pa.Table, columns: dict[tuple[str, str], pa.Array]) -> dict[str, Any]:
    """Every metric with its interval: by role, flavour and dataset; the test split also by source."""
    import numpy as np

    recipe = context.recipe
    task = find("tasks", recipe.task.kind)
    dataset, source = (np.array(rows[name].to_pylist()) for name in ("dataset", "source"))
    parts = {name: dataset == name for name in dict.fromkeys(dataset)}
    parts |= {f"{TEST}/{name}": (dataset == TEST) & (source == name) for name in sorted(set(source[dataset == TEST]))}
    tallies = [task.tallies(recipe.task, rows, outputs.of(column)) for column in columns.values()]
    metrics, resamples = partial(task.metrics, recipe.task), recipe.evaluate.resamples
    found: dict[str, Any] = {}
    for part, chosen in parts.items():
        drawn = resample(metrics, [table[chosen] for table in tallies], resamples, recipe.train.seed)
        for (role, flavour), (values, resampled) in zip(columns, drawn, strict=True):
            of_flavour = found.setdefault(role, {}).setdefault(flavour, {})
            count = int(chosen.sum())
            of_flavour[part] = {m: interval(v, resampled[m], count).model_dump() for m, v in values.items()}
    return found


def _write(context: Context, rows: pa.Table, columns: dict[tuple[str, str], pa.Array], figures: dict[str, Any]) -> Any:
    path = context.folder / "predictions.parquet"
    write_table(path, _table(rows, {f"{role}.{flavour}": p for (role, flavour), p in columns.items()}))
    write_json(context.folder / "evaluation.json", figures)
    return path


def _log(
    context: Context,
    tracking: Tracking,
    candidate: Version,
    rows: pa.Table,
    columns: dict[tuple[str, str], pa.Array],
    figures: dict[str, Any],
) -> None:
    """Log the candidate's own predictions and figures to its run."""
    folder = context.scratch / "evaluation"
    own = {flavour: p for (role, flavour), p in columns.items() if role == "candidate"}
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "predictions.parquet", _table(rows, own))
    write_json(folder / "evaluation.json", figures)
    tracking.log_folder(candidate.run, folder, "evaluation")
    flat = {
        f"{part.replace(':', '-')}.{flavour}.{name}": e["value"]
        for flavour, parts in figures["metrics"]["candidate"].items()
        for part, estimates in parts.items()
        for name, e in estimates.items()
        if e["value"] is not None
    }
    tracking.log(candidate.run, metrics=flat)


def _table(rows: pa.Table, columns: dict[str, pa.Array]) -> pa.Table:
    for name, column in columns.items():
        rows = rows.append_column(name, column)
    return rows


def _counts(rows: pa.Table) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in rows["dataset"].value_counts().to_pylist()}
