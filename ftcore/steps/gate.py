"""gate: judge the candidate by every rule of the recipe; the verdict is a value, not an error."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ftcore import card, outputs
from ftcore._find import find
from ftcore.context import Context, Outcome, log
from ftcore.promotion import record_verdict
from ftcore.serving import model as models
from ftcore.store import hash_file, read_table, write_json
from ftcore.tracking import Tracking
from ftcore.verdict import Evidence, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

NEEDS = ("numpy", "pyarrow.parquet", "mlflow")


def run(context: Context) -> Outcome:
    """Write ``verdict.json`` and tag the version with it; a candidate that fails goes no further."""
    evaluation = context.earlier("evaluate")
    path = context.shelf.root / evaluation.paths["predictions"]
    evidence = gather(context, read_table(path))
    rules = tuple(find("gates", config.kind).judge(config, evidence) for config in context.recipe.gates)
    verdict = Verdict(
        passed=all(rule.passed for rule in rules),
        rules=rules,
        candidate=evaluation.figures["candidate"],
        champion=evaluation.figures["champion"],
    )
    for rule in rules:
        log.info("%s %s: %s", {True: "✔", False: "✘", None: "?"}[rule.passed], rule.gate, rule.reason)
    write_json(context.folder / "verdict.json", verdict.to_json())
    tracking = Tracking(context.settings, context.recipe.name)
    word = "passed" if verdict.passed else "failed"
    judged = record_verdict(tracking, verdict, hash_file(context.folder / "verdict.json"))
    card.publish(context.recipe, context.shelf, tracking, judged)
    figures = verdict.to_json()
    context.shelf.add_to_ledger(
        "gate", context.run_id, word, verdict.reason, candidate=verdict.candidate, champion=verdict.champion
    )
    return Outcome(
        reason=f"{word}: {verdict.reason}",
        proceed=verdict.passed,
        figures=figures,
        inputs={"predictions": hash_file(path)},
        paths={"verdict": context.written(context.folder / "verdict.json")},
    )


def gather(context: Context, table: pa.Table) -> Evidence:
    """Tallies of all predictions, by role and flavour."""
    import numpy as np

    recipe = context.recipe
    task = find("tasks", recipe.task.kind)

    def role(name: str) -> dict[str, np.ndarray]:
        columns = {flavour: f"{name}.{flavour}" for flavour in models.flavours(recipe)}
        return {
            flavour: task.tallies(recipe.task, table, outputs.of(table[column]))
            for flavour, column in columns.items()
            if column in table.column_names
        }

    return Evidence(
        dataset=np.array(table["dataset"].to_pylist()),
        candidate=role("candidate"),
        champion=role("champion") or None,
        metrics=partial(task.metrics, recipe.task),
        better=task.METRICS,
        resamples=recipe.evaluate.resamples,
        seed=recipe.train.seed,
    )
