"""Cross-validation by group: how much the metrics depend on which rows train. The final model trains on all of them."""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftcore.context import Context
from ftcore.data.snapshot import text_key
from ftcore.evaluation.predictions import given
from ftcore.models import outputs
from ftcore.serving.model import Model
from ftcore.store.store import digest, read_json, write_json
from ftcore.training import jobs
from ftcore.tuning.settled import alone

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

Scores = dict[str, float | None]


def fold(group: str | None, text: str, folds: int) -> int:
    """The fold of a row, from 0: drawn from its group, or from its text where it has none, as its split is."""
    drawn = hashlib.sha256(f"fold\x00{group or text_key(text)}".encode()).hexdigest()
    return int(drawn[:13], 16) * folds // 16**13


def validated(context: Context) -> dict[str, Any]:
    """Train once for each fold without its rows, early stopping by the validation split, and judge on its rows.

    Returns:
        Of each metric ``mean``, ``spread`` (standard deviation of the folds) and the interval ``low`` to ``high``; the
        folds' own under ``each``. A fold that was done before a crash is not done again.

    Raises:
        NotEnoughDataError: without some fold the rows do not suffice for the task.
    """
    context = alone(context)
    recipe, tables = context.recipe, jobs.rows(context)
    count = recipe.train.folds
    drawn = [
        fold(group, text, count)
        for group, text in zip(tables["train"]["group"].to_pylist(), tables["train"]["text"].to_pylist(), strict=True)
    ]
    key = digest({"recipe": recipe.resolved(), "snapshot": context.earlier("plan").figures["snapshot"]})[:12]
    each = []
    for number in range(count):
        path = context.folder / f"fold-{number}-{key}.json"
        found = read_json(path)
        if found is None:
            found = _fold(context, tables, [one == number for one in drawn], number)
            write_json(path, found)
        log.info("fold %d of %d: %s", number + 1, count, _words(found["metrics"]))
        each.append(found)
    return {**summary(each), "each": each}


def _fold(context: Context, tables: dict[str, pa.Table], held: list[bool], number: int) -> dict[str, Any]:
    """Metrics of a model on rows that it was not trained on."""
    import pyarrow as pa
    import pyarrow.compute as pc

    recipe, task = context.recipe, context.recipe.task
    chosen = pa.array(held, pa.bool_())
    unseen = tables["train"].filter(chosen)
    rows = {**tables, "train": tables["train"].filter(pc.invert(chosen))}
    task.check(rows)
    folder = context.scratch / f"fold-{number}"
    job = jobs.prepared(context, rows, folder / "checkpoints", lambda points: None)
    figures = jobs.fit(context, job)
    jobs.save(context, job, folder / "made")
    predict = task.predictor(folder / "made" / "model", recipe.train.max_length_tokens)
    said = Model(0, "torch", (), predict).outputs(given(recipe, unseen))
    judged = unseen.append_column("dataset", pa.array(["fold"] * unseen.num_rows, pa.string()))
    sums = task.tallies(judged, outputs.of(outputs.column(said))).sum(0)
    shutil.rmtree(folder)
    metrics = {name: float(value) for name, value in task.metrics(sums).items()}
    return {
        "fold": number,
        "rows": unseen.num_rows,
        "train_rows": rows["train"].num_rows,
        "validation_loss": figures["validation_loss"],
        "metrics": {name: value if math.isfinite(value) else None for name, value in metrics.items()},
    }


def summary(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean, spread and 95 % interval of each metric over folds.

    Trainings share most of their rows, so the folds are no independent samples. The variance is corrected for it as by
    C. Nadeau and Y. Bengio (2003), *Inference for the Generalization Error*: times 1/k + tested rows / trained rows.
    """
    from scipy.stats import t

    found: dict[str, Scores] = {}
    ratio = sum(one["rows"] for one in each) / sum(one["train_rows"] for one in each)
    for name in each[0]["metrics"]:
        values = [one["metrics"][name] for one in each if one["metrics"][name] is not None]
        if len(values) < len(each):
            found[name] = dict.fromkeys(("mean", "spread", "low", "high"))
            continue
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
        half = float(t.ppf(0.975, len(values) - 1)) * spread * math.sqrt(1 / len(values) + ratio)
        found[name] = {"mean": mean, "spread": spread, "low": mean - half, "high": mean + half}
    return {"folds": len(each), "rows": sum(one["rows"] for one in each), "metrics": found}


def _words(metrics: Scores) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in metrics.items() if value is not None)
