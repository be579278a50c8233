"""gate: judge the candidate by every rule of the recipe; the verdict is a value, not an error.

A hold on promotions does not stop it, since a verdict promotes nothing; the record says that a hold is on, and that the
candidate goes no further until it is released.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ftcore import card, outputs, registry
from ftcore._find import find
from ftcore.context import Context, Outcome, log
from ftcore.promotion import record_verdict
from ftcore.serving import model as models
from ftcore.steps import _slices
from ftcore.steps._baselines import BASELINES
from ftcore.store import hash_file, read_json, read_table, write_json
from ftcore.tracking import Tracking
from ftcore.verdict import Evidence, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

NEEDS = ("numpy", "pyarrow.parquet", "mlflow")


def run(context: Context) -> Outcome:
    """Write ``verdict.json`` and tag the version with it; a candidate that fails goes no further."""
    evaluation = context.earlier("evaluate")
    path = context.shelf.root / evaluation.paths["predictions"]
    figures = read_json(context.shelf.root / evaluation.paths["evaluation"])
    evidence = gather(context, read_table(path), figures)
    rules = tuple(find("gates", config.kind).judge(config, evidence) for config in context.recipe.gates)
    versions = {role: evaluation.figures[role] for role in ("candidate", "champion")}
    verdict = Verdict.of(rules, context.recipe.on_undecided, **versions, **_told(figures))
    for rule in rules:
        log.info("%s %s: %s", {True: "✔", False: "✘", None: "?"}[rule.passed], rule.gate, rule.reason)
    write_json(context.folder / "verdict.json", verdict.to_json())
    tracking = Tracking(context.settings, context.recipe.name)
    judged = record_verdict(tracking, verdict, hash_file(context.folder / "verdict.json"))
    card.publish(context.recipe, context.shelf, tracking, judged)
    hold = registry.held(tracking) if verdict.passed else None
    held = {"held": str(hold)} if hold else {}
    context.shelf.add_to_ledger("gate", context.run_id, verdict.word, verdict.reason, **versions, **held)
    return Outcome(
        reason=f"{verdict.word}: {verdict.reason}" + (f"; but {hold}" if hold else ""),
        proceed=verdict.passed,
        figures=verdict.to_json() | held,
        inputs={
            "predictions": hash_file(path),
            "evaluation": hash_file(context.shelf.root / evaluation.paths["evaluation"]),
        },
        paths={"verdict": context.written(context.folder / "verdict.json")},
    )


def _told(figures: dict[str, Any]) -> dict[str, Any]:
    """What a verdict tells of the rows behind it."""
    models = figures.get("trained_on") or ()
    return {
        "excluded": figures.get("excluded") or {},
        "not_known": tuple(one["model"] for one in models if one["snapshot"] is None),
        "never_predicted": figures.get("never_predicted") or {},
    }


def gather(context: Context, table: pa.Table, figures: dict[str, Any]) -> Evidence:
    """Tallies of all predictions, by role and flavour, beside the other figures of the evaluation."""
    import numpy as np

    recipe = context.recipe
    task = find("tasks", recipe.task.kind)

    def role(name: str, flavours: Sequence[str]) -> dict[str, np.ndarray]:
        columns = {flavour: f"{name}.{flavour}" for flavour in flavours}
        return {
            flavour: task.tallies(recipe.task, table, outputs.of(table[column]))
            for flavour, column in columns.items()
            if column in table.column_names
        }

    return Evidence(
        dataset=np.array(table["dataset"].to_pylist()),
        candidate=role("candidate", models.flavours(recipe)),
        champion=role("champion", models.flavours(recipe)) or None,
        baselines=role("baseline", BASELINES),
        slices=_slices.masks(_slices.groups(recipe, table)),
        figures=figures,
        metrics=partial(task.metrics, recipe.task),
        better=recipe.metrics,
        about=_slices.about(recipe, table),
        group=_slices.clusters(table),
        resamples=recipe.evaluate.resamples,
        seed=recipe.train.seed,
    )
