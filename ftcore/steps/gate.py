"""gate: judge the candidate by every rule of the recipe; the verdict is a value, not an error.

A hold on promotions does not stop it, since a verdict promotes nothing; the record says that a hold is on, and that the
candidate goes no further until it is released.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ftcore.context import Context, Outcome
from ftcore.data import erasures
from ftcore.errors import ChangedArtefactError, FtcoreError
from ftcore.evaluation import slices as _slices
from ftcore.evaluation.baselines import BASELINES
from ftcore.evaluation.final_looks import Compared
from ftcore.evaluation.predictions import SETTINGS
from ftcore.models import outputs
from ftcore.progress import busy
from ftcore.recipe.sealed import PART, SEALED, TEST
from ftcore.registry import artefacts, recorded
from ftcore.registry import versions as registry
from ftcore.registry.judgement import record_verdict
from ftcore.registry.metric_titles import title
from ftcore.registry.promotion import ModelRegistry
from ftcore.registry.verdict import Evidence, Rule, Verdict, notes
from ftcore.reports import card
from ftcore.serving import model as models
from ftcore.statistics import calibration
from ftcore.store.records import LINK
from ftcore.store.store import damaged, hash_file, read_json, read_table, write_json
from ftcore.training import planned

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from ftcore.recipe.sections import Gate
    from ftcore.store.records import Record

    Final = Callable[[Gate, list[str]], Rule]

log = logging.getLogger(__name__)

NEEDS = ("numpy", "pyarrow.parquet", "mlflow")


def run(context: Context) -> Outcome:
    """Write ``verdict.json`` and tag the version with it; a candidate that fails goes no further.

    Raises:
        DamagedFileError: the evaluation was changed.
        ChangedArtefactError: the candidate's artefacts are not those that were evaluated.
    """
    import pyarrow.compute as pc

    evaluation = context.earlier("evaluate")
    path = context.shelf.root / evaluation.paths["predictions"]
    _unchanged(context, evaluation)
    registrar = ModelRegistry.of(context.recipe, context.shelf, context.settings)
    judged = _evaluated(context, registrar, evaluation)
    figures = read_json(context.shelf.root / evaluation.paths["evaluation"])
    table, versions = read_table(path), {role: evaluation.figures[role] for role in ("candidate", "champion")}
    sealed = pc.equal(table["dataset"], SEALED)
    kept_open = table.filter(pc.invert(sealed))
    evidence, final, lost = gather(context, kept_open, figures), None, list[str]()
    _complete(context, evidence, versions["champion"])
    if versions["champion"] is not None:
        model = (figures.get(SETTINGS) or {}).get(evidence.served, "")
        compared = Compared(context, model=model, **versions)
        evidence = compared.seen(evidence, kept_open, TEST)
        if context.recipe.evaluate.sealed:
            final = partial(_final, context, compared, table.filter(sealed), figures)
        lost = compared.lost
    with busy("judging by all gates", at_once=False):
        rules = judge(context.recipe.gates, evidence, final)
    told = _told(figures) | {"lost_looks": tuple(dict.fromkeys(lost))}
    verdict = Verdict.of(rules, context.recipe.on_undecided, **versions, **told)
    for rule in rules:
        log.info("%s %s", {True: "✔", False: "✘", None: "?"}[rule.passed], rule.line)
    for note in notes(verdict.to_json()):
        log.info("%s", note)
    write_json(context.folder / "verdict.json", verdict.to_json())
    digest = hash_file(context.folder / "verdict.json")
    hold = registry.held(registrar.tracking) if verdict.passed else None
    held = {"held": str(hold)} if hold else {}
    version = record_verdict(registrar, context.run_id, verdict, digest, artefacts=judged, **held)
    card.publish(context.shelf, registrar.tracking, version)
    return Outcome(
        reason="\n".join([verdict.word, verdict.reason, *([f"but {hold}"] if hold else [])]),
        proceed=verdict.passed,
        figures=verdict.to_json() | held,
        inputs={
            "predictions": hash_file(path),
            "evaluation": hash_file(context.shelf.root / evaluation.paths["evaluation"]),
        },
        paths={"verdict": context.written(context.folder / "verdict.json")},
    )


def _unchanged(context: Context, evaluation: Record) -> None:
    """Whether the files are as ``evaluate`` left them, but for rows that were erased on request.

    Raises:
        DamagedFileError: one was changed by something else.
    """
    for name in ("predictions", "evaluation"):
        then, path = evaluation.inputs.get(name), context.shelf.root / evaluation.paths[name]
        there, place = hash_file(path), context.shelf.relative(path)
        if then and then != there and not erasures.between(erasures.read(context.shelf), place, then, there):
            raise damaged(path, f"is not what the step evaluate of run {context.run_id} wrote; evaluate again")


def _evaluated(context: Context, registrar: ModelRegistry, evaluation: Record) -> dict[str, str]:
    """Hashes of the artefacts that were evaluated; tags and bytes in MLflow have to be those still.

    Raises:
        ChangedArtefactError: some were changed, or were evaluated by an ftcore that did not record them.
    """
    known, tracking = recorded.of_record(evaluation), registrar.tracking
    if f"{LINK}train" in evaluation.inputs:
        recorded.candidate(context, tracking)
    planned.check(context, evaluation)
    version = tracking.version(evaluation.figures["candidate"])
    if faults := artefacts.differing(tracking, version, context.shelf, known):
        raise ChangedArtefactError(
            f"version {version.number} is not what was evaluated in run {context.run_id}: it {'; it '.join(faults)}",
            hint="restore the artefacts and their tags in MLflow from a backup; where they are right, evaluate again: "
            f"ftcore step evaluate {context.recipe.name} --run {context.run_id} --again",
        )
    return known


def _complete(context: Context, evidence: Evidence, champion: int | None) -> None:
    """Whether all that is compared is among the predictions: what is not there must not count as no champion.

    Raises:
        FtcoreError: a model's outputs in the form that serves are missing.
    """
    served = models.flavours(context.recipe)[0]
    sides = {"the candidate": evidence.candidate} | (
        {f"champion {champion}": evidence.champion or {}} if champion else {}
    )
    if missing := [name for name, outputs in sides.items() if served not in outputs]:
        raise FtcoreError(
            f"the evaluation of run {context.run_id} has no outputs of {' and '.join(missing)} as {served}",
            hint=f"evaluate again: ftcore step evaluate {context.recipe.name} --run {context.run_id} --again",
        )


def _told(figures: dict[str, Any]) -> dict[str, Any]:
    """What a verdict tells of the rows behind it."""
    models = figures.get("trained_on") or ()
    return {
        "excluded": figures.get("excluded") or {},
        "not_known": tuple(one["model"] for one in models if one["snapshot"] is None),
        "never_predicted": figures.get("never_predicted") or {},
        "stand_ins": figures.get("stand_ins") or {},
    }


def judge(gates: Sequence[Gate], evidence: Evidence, final: Final | None = None) -> tuple[Rule, ...]:
    """What each gate decides; those about losses share one error rate.

    Args:
        gates: of the recipe.
        evidence: without sealed rows.
        final: makes the final comparison on the sealed rows, after all other gates; None where there is none.
    """
    evidence = replace(evidence, comparisons=sum(gate.comparisons(evidence) for gate in gates))
    last = [place for place, gate in enumerate(gates) if final and gate.FINAL]
    rules = {place: gate.judge(evidence) for place, gate in enumerate(gates) if place not in last}
    wanting = [rule.gate for rule in rules.values() if not rule.passed]
    if final:
        rules |= {place: final(gates[place], wanting) for place in last}
    return tuple(rules[place] for place in range(len(gates)))


def _final(
    context: Context,
    compared: Compared,
    table: pa.Table,
    figures: dict[str, Any],
    gate: Gate,
    wanting: list[str],
) -> Rule:
    """The final comparison on the sealed rows; a look at them is counted only where they are looked at.

    Args:
        context: of the step.
        compared: the candidate and the champion.
        table: predictions of the sealed rows.
        figures: of the evaluation.
        gate: that compares.
        wanting: gates that did not pass.
    """
    import numpy as np

    if wanting:
        because = (
            f"{PART} ({table.num_rows:,} rows) is looked at once every other rule has passed; not passed: "
            f"{', '.join(wanting)}"
        )
        return gate.undecided(because)
    if not table.num_rows:
        because = (
            f"{PART} has no rows, at least {gate.least()['min_rows']} are needed: raise evaluate.sealed, or add rows"
        )
        return gate.undecided(because)
    evidence = gather(context, table, figures)
    evidence = replace(evidence, sealed=True, dataset=np.full(table.num_rows, TEST))
    if not gate.wanting(evidence):
        evidence = compared.seen(evidence, table, SEALED)
    return gate.judge(evidence)


def gather(context: Context, table: pa.Table, figures: dict[str, Any]) -> Evidence:
    """Tallies of all predictions, by role and flavour, beside the other figures of the evaluation."""
    import numpy as np

    recipe = context.recipe
    task = recipe.task

    def role(name: str, flavours: Sequence[str]) -> dict[str, np.ndarray]:
        columns = {flavour: f"{name}.{flavour}" for flavour in flavours}
        return {
            flavour: task.tallies(table, outputs.of(table[column]))
            for flavour, column in columns.items()
            if column in table.column_names
        }

    served = f"candidate.{models.flavours(recipe)[0]}"
    answers = [task.answers(outputs.of(table[name])) for name in table.column_names if name == served]
    return Evidence(
        dataset=np.array(table["dataset"].to_pylist()),
        candidate=role("candidate", models.flavours(recipe)),
        champion=role("champion", models.flavours(recipe)) or None,
        baselines=role("baseline", BASELINES),
        confidence=calibration.probabilities(answers[0][1]) if answers else None,
        slices=_slices.masks(_slices.groups(recipe, table)),
        figures=figures,
        metrics=task.metrics,
        better=recipe.metrics,
        about=task.about(table),
        group=_slices.clusters(table),
        resamples=recipe.evaluate.resamples,
        seed=recipe.train.seed,
        titles={metric: title(metric, recipe.task.model_dump(mode="json")) for metric in recipe.metrics},
    )
