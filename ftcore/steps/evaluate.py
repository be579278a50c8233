"""evaluate: candidate and champion, as trained and as exported, on the same rows that neither was trained on."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from ftcore import snapshot
from ftcore._find import find
from ftcore.cleaning import normalise
from ftcore.context import Context, Outcome, log
from ftcore.serving import model as models
from ftcore.statistics import estimate
from ftcore.store import hash_file, read_table, write_json, write_table
from ftcore.tracking import CHAMPION, Tracking, Version

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

NEEDS = ("torch", "transformers", "transformers.modeling_utils", "onnxruntime", "mlflow")
TEST = "test"
TIMED = 100
"""Single texts whose latency is measured."""


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

    latency: dict[str, Any] = {}
    columns = {("candidate", f): p for f, p in _predict(context, tracking, candidate, rows, {}, latency).items()}
    if champion:
        known = _known(tracking, champion)
        columns |= {("champion", f): p for f, p in _predict(context, tracking, champion, rows, known, {}).items()}
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
    accuracy = figures["metrics"]["candidate"][served][TEST]["accuracy"]
    return Outcome(
        reason=f"version {candidate.number} ({served}): accuracy {accuracy['value']:.3f} "
        f"[{accuracy['low']:.3f}, {accuracy['high']:.3f}] on {accuracy['rows']:,} test rows",
        figures=figures,
        inputs={"snapshot": candidate.snapshot, "predictions": hash_file(path)},
        paths={"predictions": context.written(path), "evaluation": context.written(context.folder / "evaluation.json")},
    )


def _rows(context: Context, identity: str) -> pa.Table:
    """The test split, and of each holdout those rows that hash to the test side and are not in the snapshot."""
    import pyarrow as pa

    recipe = context.recipe
    known = {snapshot.text_key(text) for text in snapshot.read(context.shelf, identity)["text"].to_pylist()}
    test = snapshot.read(context.shelf, identity, [TEST]).select(["row_id", "text", "label", "source"])
    tables = [test.append_column("dataset", pa.array([TEST] * test.num_rows, pa.string()))]
    for name, config in recipe.evaluate.holdouts.items():
        picked = []
        for table in find("sources", config.kind).read(config, context):
            for row in table.to_pylist():
                text = normalise.clean(row["text"])
                fresh = snapshot.text_key(text) not in known and row["label"] in recipe.task.labels
                if text and fresh and snapshot.side(row["group"], text, recipe.prepare) == TEST:
                    picked.append({**row, "text": text, "dataset": name})
        tables.append(pa.Table.from_pylist(picked, schema=tables[0].schema))
    return pa.concat_tables(tables)


def _predict(
    context: Context,
    tracking: Tracking,
    version: Version,
    rows: pa.Table,
    known: dict[str, dict[str, list[float]]],
    latency: dict[str, Any],
) -> dict[str, np.ndarray]:
    """Probabilities ``[rows, labels]`` by flavour; a prediction that is ``known`` by row id is not made again."""
    import numpy as np

    result = {}
    keys, texts = [_key(row) for row in rows.select(["row_id", "text"]).to_pylist()], rows["text"].to_pylist()
    for flavour in models.flavours(context.recipe):
        have = known.get(flavour, {})
        missing = [number for number, key in enumerate(keys) if key not in have]
        made = np.zeros((len(keys), len(context.recipe.task.labels)), np.float32)
        for number, key in enumerate(keys):
            if key in have:
                made[number] = have[key]
        if missing:
            model = models.load(context.recipe, tracking, version, flavour)
            clock = time.perf_counter()
            made[missing] = model.probabilities([texts[number] for number in missing])
            seconds = time.perf_counter() - clock
            log.info(
                "version %d as %s: %d rows, %.0f rows/s", version.number, flavour, len(missing), len(missing) / seconds
            )
            if not have:
                latency[flavour] = {**_latency(model, texts), "rows_per_s": round(len(missing) / seconds, 1)}
        result[flavour] = made
    return result


def _latency(model: models.Model, texts: list[str]) -> dict[str, float]:
    """Milliseconds for one text at a time, median and 95th percentile."""
    import numpy as np

    taken = []
    for text in texts[:TIMED]:
        clock = time.perf_counter()
        model.predict([text])
        taken.append((time.perf_counter() - clock) * 1000)
    return {"p50_ms": round(float(np.percentile(taken, 50)), 3), "p95_ms": round(float(np.percentile(taken, 95)), 3)}


def _metrics(context: Context, rows: pa.Table, columns: dict[tuple[str, str], np.ndarray]) -> dict[str, Any]:
    """Every metric with its interval: by role, flavour and dataset; the test split also by source."""
    import numpy as np

    recipe = context.recipe
    task = find("tasks", recipe.task.kind)
    truth = np.array([recipe.task.labels.index(label) for label in rows["label"].to_pylist()])
    dataset, source = (np.array(rows[name].to_pylist()) for name in ("dataset", "source"))
    parts = {name: dataset == name for name in dict.fromkeys(dataset)}
    parts |= {f"{TEST}/{name}": (dataset == TEST) & (source == name) for name in sorted(set(source[dataset == TEST]))}
    found: dict[str, Any] = {}
    for (role, flavour), probabilities in columns.items():
        predicted = probabilities.argmax(-1)
        for part, chosen in parts.items():
            estimates = estimate(
                partial(task.metrics, recipe.task),
                truth[chosen],
                predicted[chosen],
                recipe.evaluate.resamples,
                recipe.train.seed,
            )
            of_flavour = found.setdefault(role, {}).setdefault(flavour, {})
            of_flavour[part] = {name: e.model_dump() for name, e in estimates.items()}
    return found


def _write(
    context: Context, rows: pa.Table, columns: dict[tuple[str, str], np.ndarray], figures: dict[str, Any]
) -> Any:
    path = context.folder / "predictions.parquet"
    write_table(path, _table(rows, {f"{role}.{flavour}": p for (role, flavour), p in columns.items()}))
    write_json(context.folder / "evaluation.json", figures)
    return path


def _log(
    context: Context,
    tracking: Tracking,
    candidate: Version,
    rows: pa.Table,
    columns: dict[tuple[str, str], np.ndarray],
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
    }
    tracking.log(candidate.run, metrics=flat)


def _table(rows: pa.Table, columns: dict[str, np.ndarray]) -> pa.Table:
    import pyarrow as pa

    for name, probabilities in columns.items():
        rows = rows.append_column(name, pa.array(list(probabilities), pa.list_(pa.float32())))
    return rows


def _known(tracking: Tracking, version: Version) -> dict[str, dict[str, list[float]]]:
    """Predictions that a version made when it was candidate: by flavour and row."""
    table = read_table(tracking.fetch(version, "evaluation") / "predictions.parquet")
    keys = [_key(row) for row in table.select(["row_id", "text"]).to_pylist()]
    columns = [name for name in table.column_names if name not in {"row_id", "text", "label", "source", "dataset"}]
    return {name: dict(zip(keys, table[name].to_pylist(), strict=True)) for name in columns}


def _key(row: dict[str, str]) -> str:
    """A row by its id and its text, so that a source that changes a text gets a new prediction."""
    return f"{row['row_id']}\x00{row['text']}"


def _counts(rows: pa.Table) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in rows["dataset"].value_counts().to_pylist()}
