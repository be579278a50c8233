"""gate: judge the candidate by every rule of the recipe; the verdict is a value, not an error.

A hold on promotions does not stop it, since a verdict promotes nothing; the record says that a hold is on, and that the
candidate goes no further until it is released.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ftcore import card, looks, outputs, registry
from ftcore._find import find
from ftcore.context import Context, Outcome, log
from ftcore.gates._undecided import undecided
from ftcore.promotion import record_verdict
from ftcore.sealed import PART, SEALED, TEST
from ftcore.serving import model as models
from ftcore.steps import _slices
from ftcore.steps._baselines import BASELINES
from ftcore.store import hash_file, read_json, read_table, write_json
from ftcore.tracking import Tracking
from ftcore.verdict import Evidence, Rule, Verdict, notes

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from upath import UPath

    from ftcore.sections import Part

    Final = Callable[[Any, Any, list[str]], Rule]

NEEDS = ("numpy", "pyarrow.parquet", "mlflow")


def run(context: Context) -> Outcome:
    """Write ``verdict.json`` and tag the version with it; a candidate that fails goes no further."""
    import pyarrow.compute as pc

    evaluation = context.earlier("evaluate")
    path = context.shelf.root / evaluation.paths["predictions"]
    figures = read_json(context.shelf.root / evaluation.paths["evaluation"])
    table, versions = read_table(path), {role: evaluation.figures[role] for role in ("candidate", "champion")}
    sealed = pc.equal(table["dataset"], SEALED)
    kept_open = table.filter(pc.invert(sealed))
    evidence, final = gather(context, kept_open, figures), None
    if evidence.champion is not None:
        looks_before = _looks(context, (context.run_id, context.folder), versions["champion"], kept_open)
        evidence = replace(evidence, looks=looks_before)
        if context.recipe.evaluate.sealed:
            final = partial(_final, context, versions["champion"], table.filter(sealed), figures)
    rules = judge(context.recipe.gates, evidence, final)
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


def judge(gates: Sequence[Part], evidence: Evidence, final: Final | None = None) -> tuple[Rule, ...]:
    """What each gate decides; those about losses share one error rate.

    Args:
        gates: of the recipe.
        evidence: without sealed rows.
        final: makes the final comparison on the sealed rows, after all other gates; None where there is none.
    """
    modules = [(find("gates", config.kind), config) for config in gates]
    counts = [module.comparisons(config, evidence) for module, config in modules if hasattr(module, "comparisons")]
    evidence = replace(evidence, comparisons=sum(counts))
    last = {place for place, (module, _) in enumerate(modules) if final and getattr(module, "FINAL", False)}
    rules = {n: module.judge(config, evidence) for n, (module, config) in enumerate(modules) if n not in last}
    wanting = [rule.gate for rule in rules.values() if not rule.passed]
    if final:
        rules |= {place: final(*modules[place], wanting) for place in sorted(last)}
    return tuple(rules[place] for place in range(len(modules)))


def _final(
    context: Context,
    champion: int,
    table: pa.Table,
    figures: dict[str, Any],
    module: Any,
    config: Any,
    wanting: list[str],
) -> Rule:
    """The final comparison on the sealed rows; a look at them is counted only where they are looked at.

    Args:
        context: of the step.
        champion: version that the candidate is compared with.
        table: predictions of the sealed rows.
        figures: of the evaluation.
        module: kind of the gate.
        config: its settings.
        wanting: gates that did not pass.
    """
    import numpy as np

    if wanting:
        because = (
            f"{PART} ({table.num_rows:,} rows) is looked at once every other rule has passed; not passed: "
            f"{', '.join(wanting)}"
        )
        return undecided(config.kind, because, config.bound)
    if not table.num_rows:
        because = f"{PART} has no rows, at least {config.min_rows} are needed: raise evaluate.sealed, or add rows"
        return undecided(config.kind, because, config.bound)
    evidence = gather(context, table, figures)
    evidence = replace(evidence, sealed=True, dataset=np.full(table.num_rows, TEST))
    if not module.wanting(config, evidence):
        run = f"{context.run_id} sealed", context.folder / "sealed"
        evidence = replace(evidence, looks=_looks(context, run, champion, table))
    rule: Rule = module.judge(config, evidence)
    return rule


def _looks(context: Context, run: tuple[str, UPath], champion: int, table: pa.Table) -> np.ndarray:
    """Earlier verdicts against this champion that judged on each row or its group, ``[rows]``; this one is counted."""
    there = [table[name].to_pylist() for name in ("split_key", "group", "row_id") if name in table.column_names]
    keys = [next((key for key in keys if key), "") for keys in zip(*there, strict=True)]
    keys = keys or [f"row {place}" for place in range(table.num_rows)]
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
