"""gate: judge the candidate by every rule of the recipe; the verdict is a value, not an error.

A hold on promotions does not stop it, since a verdict promotes nothing; the record says that a hold is on, and that the
candidate goes no further until it is released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ftcore import card, looks, outputs, registry
from ftcore._find import find
from ftcore.context import Context, Outcome, log
from ftcore.promotion import record_verdict
from ftcore.serving import model as models
from ftcore.steps import _slices
from ftcore.steps._baselines import BASELINES
from ftcore.store import hash_file, read_json, read_table, write_json
from ftcore.tracking import Tracking
from ftcore.verdict import Evidence, Rule, Verdict, notes

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from ftcore.sections import Part

NEEDS = ("numpy", "pyarrow.parquet", "mlflow")


def run(context: Context) -> Outcome:
    """Write ``verdict.json`` and tag the version with it; a candidate that fails goes no further."""
    evaluation = context.earlier("evaluate")
    path = context.shelf.root / evaluation.paths["predictions"]
    figures = read_json(context.shelf.root / evaluation.paths["evaluation"])
    table, versions = read_table(path), {role: evaluation.figures[role] for role in ("candidate", "champion")}
    evidence = gather(context, table, figures)
    if evidence.champion is not None:
        evidence = replace(evidence, looks=_looks(context, versions["champion"], table))
    rules = judge(context.recipe.gates, evidence)
    verdict = Verdict.of(rules, context.recipe.on_undecided, **versions, **_told(figures))
    for rule in rules:
        log.info("%s %s: %s", {True: "✔", False: "✘", None: "?"}[rule.passed], rule.gate, rule.reason)
    for note in notes(verdict.to_json()):
        log.info("%s", note)
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


def judge(gates: Sequence[Part], evidence: Evidence) -> tuple[Rule, ...]:
    """What each gate decides; those about losses share one error rate."""
    modules = [(find("gates", config.kind), config) for config in gates]
    counts = [module.comparisons(config, evidence) for module, config in modules if hasattr(module, "comparisons")]
    evidence = replace(evidence, comparisons=sum(counts))
    return tuple(module.judge(config, evidence) for module, config in modules)


def _looks(context: Context, champion: int, table: pa.Table) -> np.ndarray:
    """Earlier verdicts against this champion that judged on each row or its group, ``[rows]``; this one is counted."""
    there = [table[name].to_pylist() for name in ("split_key", "group", "row_id") if name in table.column_names]
    keys = [next((key for key in keys if key), "") for keys in zip(*there, strict=True)]
    keys = keys or [f"row {place}" for place in range(table.num_rows)]
    run = context.run_id, context.folder
    return looks.take(context.shelf, champion, run, keys, context.settings.lock_timeout_s)


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
