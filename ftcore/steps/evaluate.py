"""evaluate: candidate and champion, as trained and as exported, on the same rows that neither was trained on.

``evaluation.json`` holds, each estimate as ``{value, low, high, rows, groups, level}`` with the ends of the two-sided
interval of that level, 0.95, or nulls; ``undefined`` says why a metric has no value on some rows:

::

    candidate, champion, snapshot, served, labels, better    versions, the form that serves, which way metrics improve
    rows.DATASET                                             ``test`` and each holdout; ``sealed`` where the recipe
                                                             seals test rows, of which nothing else is told
    excluded.DATASET.REASON                                  rows left out, such as those that a compared model was
                                                             trained or validated on
    prediction_settings.FLAVOUR                              digest of what decides the candidate's outputs beside a row
    trained_on                                               the compared models and those behind them, each with
                                                             ``model`` and ``snapshot``
    unreadable.ROW_ID                                        why a model cannot be given the row: left out for all
    metrics.ROLE.FLAVOUR.DATASET.METRIC                      ROLE is candidate, champion or baseline
    differences.FLAVOUR.DATASET.METRIC                       candidate less champion, paired
    mcnemar.FLAVOUR.DATASET                                  only_candidate_right, only_champion_right, p_value
    slices.NAME                                              rows; candidate, champion, difference, each by METRIC
    fairness.COLUMN.metrics.METRIC                           difference, ratio, by_group
    calibration.ROLE.FLAVOUR                                 ece, ece_adaptive, bins (reliability)
    never_predicted.LABEL                                    rows that have a label which the candidate never predicts
    robustness.PERTURBATION.METRIC                           perturbed less plain, paired
    agreement.EXPORT                                         rows, disagree (another answer than torch's), off (other
                                                             numbers), max_difference, exact (whether in torch's
                                                             precision); alone: the same of rows predicted alone,
                                                             compared with the same rows in batches
    latency, size_bytes, cost_per_1000                       by flavour
    stand_ins.FLAVOUR                                        the form whose outputs are compared where the champion was
                                                             never exported to one
    examples.best|worst|gained|lost                          rows with what each model answered
    judge                                                    where a judge compared answers with the champion's: host,
                                                             model, rows, wins, ties, losses, undecided, win_rate
                                                             (a tie is half a win), agreement of both orders
    general_text                                             where the recipe names texts: rows,
                                                             metrics.ROLE.METRIC (base, champion, candidate) and
                                                             differences.ROLE.METRIC, candidate less ROLE, paired
"""

from __future__ import annotations

import logging
import os
import shutil
from typing import TYPE_CHECKING, Any

from ftcore.context import Context, Outcome
from ftcore.data import snapshot
from ftcore.errors import NotEnoughDataError
from ftcore.evaluation import (
    agreement,
    baselines,
    examples,
    general_text,
    judging_sets,
    measures,
    robustness,
    slices,
    win_rate,
)
from ftcore.evaluation.excluded import TEST
from ftcore.evaluation.predictions import INPUT, SETTINGS, digests, given, known, load, predict, settings, stand_ins
from ftcore.models import base, outputs
from ftcore.progress import busy
from ftcore.recipe.sealed import SEALED
from ftcore.registry import recorded, served
from ftcore.registry.metric_titles import title
from ftcore.serving import model as models
from ftcore.statistics import calibration
from ftcore.statistics.intervals import Estimate
from ftcore.store.store import hash_file, hash_folder, write_json, write_table
from ftcore.tasks.completion import Completion
from ftcore.tracking import registered
from ftcore.tracking.client import Tracking, Version
from ftcore.training import planned
from ftcore.training.readable_rows import by_all

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath

    from ftcore.recipe.model import Recipe

    Columns = dict[tuple[str, str], pa.Array]

log = logging.getLogger(__name__)

NEEDS = ("torch", "transformers", "transformers.modeling_utils", "onnxruntime", "mlflow", "fairlearn.metrics")
PLAIN = Completion()
"""How texts of no task are read: as they stand."""
IN_RECORD = (
    "candidate",
    "champion",
    "snapshot",
    "served",
    "rows",
    "excluded",
    "metrics",
    "latency",
    "size_bytes",
    "cost_per_1000",
)
"""What of the evaluation goes into the step's record; the rest is in the file."""


def run(context: Context) -> Outcome:
    """Write ``evaluation.json`` and ``predictions.parquet``: every metric with its interval, every prediction by row.

    The candidate's predictions are logged to its MLflow run; when it is champion one day, they need not be made again.

    Raises:
        NotEnoughDataError: the test split, or a holdout that a gate judges on, is empty.
        ExportError: candidate or champion was made for other labels than the recipe's, or answers NaN.
        TransientError: the judge cannot be reached.
        ChangedArtefactError: the candidate's bytes or tags are not what ``train`` and ``export`` recorded.
    """
    tracking = Tracking(context.settings, context.recipe.name)
    candidate = recorded.candidate(context, tracking)
    recorded.same_model(context)
    planned.check(context, context.earlier("train"))
    made = _artefacts(context, tracking, candidate)
    champion = served.champion(context.shelf, tracking)
    champion = None if champion and champion.number == candidate.number else champion
    rows, kept_out = judging_sets.read(context, candidate, champion)
    with busy("looking for rows that a model cannot be given", at_once=False):
        rows, unreadable = by_all(context.recipe, tracking, [candidate, champion], rows)
    judging_sets.check(context, candidate.snapshot, rows, kept_out["excluded"])
    sizes = [f"{count:,} {name} rows" for name, count in judging_sets.counts(rows).items()]
    log.info("evaluating on %s", ", ".join(sizes))

    rows = rows.append_column(INPUT, [digests(given(context.recipe, rows))])
    columns, measured = _columns(context, tracking, candidate, champion, rows)
    figures: dict[str, Any] = {
        "candidate": candidate.number,
        "champion": champion.number if champion else None,
        "snapshot": candidate.snapshot,
        "served": models.flavours(context.recipe)[0],
        "labels": list(context.recipe.task.labels),
        "better": dict(context.recipe.metrics),
        "rows": judging_sets.counts(rows),
        **kept_out,
        SETTINGS: settings(tracking, candidate, context.recipe),
        "unreadable": unreadable,
        **_measured(context, tracking, (candidate, champion), *_opened(rows, columns)),
        **measured,
        "size_bytes": context.earlier("export").figures["size_bytes"],
        "cost_per_1000": _cost(context, measured["latency"]),
    }
    path = context.folder / "predictions.parquet"
    with busy("writing predictions and figures to the store and to MLflow"):
        predictions = _table(rows, {f"{role}.{flavour}": made for (role, flavour), made in columns.items()})
        write_table(path, predictions)
        write_json(context.folder / "evaluation.json", figures)
        made["evaluation"] = _log(context, tracking, candidate, predictions, figures)
    return _outcome(context, path, figures, made)


def _artefacts(context: Context, tracking: Tracking, candidate: Version) -> dict[str, str]:
    """SHA-256 of each artefact that is judged, by the records of the steps that logged it.

    What a step of an earlier ftcore logged is judged as it is now.
    """
    known = recorded.of_record(context.earlier("export")) | recorded.of_record(context.earlier("train"))
    tags = registered.run_tags(tracking, candidate.run)
    others = registered.hashes(tags, but=("card", "evaluation", *known))
    return known | {name: hash_folder(served.folder(tracking, candidate, name)) for name in others}


def _measured(
    context: Context, tracking: Tracking, versions: tuple[Version, Version | None], rows: pa.Table, columns: Columns
) -> dict[str, Any]:
    """All that is measured on rows that are not sealed: of the outputs, and by predicting some rows once more."""
    candidate, champion = versions
    with busy("measuring metrics, slices, fairness and calibration"):
        found = measure(context, rows, columns)
    found["robustness"] = _robust(context, tracking, candidate, rows, columns)
    found["agreement"] = agreement.agreement(context, tracking, candidate, rows, columns)
    if context.recipe.evaluate.general_text:
        found["general_text"] = _general(context, tracking, candidate, champion)
    if context.recipe.evaluate.judge and champion:  # last: what it says is paid for
        found["judge"] = _judged(context, tracking, {"candidate": candidate, "champion": champion}, rows, columns)
    return found


def _outcome(context: Context, path: UPath, figures: dict[str, Any], made: dict[str, str]) -> Outcome:
    served, evaluation = figures["served"], context.folder / "evaluation.json"
    metric, first = next(iter(figures["metrics"]["candidate"][served][TEST].items()))
    value, named = Estimate.model_validate(first), title(metric, context.recipe.task.model_dump(mode="json"))
    return Outcome(
        reason=f"version {figures['candidate']} ({served}): {named} {value} of the test split",
        figures={name: figures[name] for name in IN_RECORD},
        inputs={
            "snapshot": figures["snapshot"],
            "predictions": hash_file(path),
            "evaluation": hash_file(evaluation),
            **recorded.inputs(made),
        },
        paths={"predictions": context.written(path), "evaluation": context.written(evaluation)},
    )


def _columns(
    context: Context, tracking: Tracking, candidate: Version, champion: Version | None, rows: pa.Table
) -> tuple[Columns, dict[str, Any]]:
    """What every model says, by role and flavour; the candidate's ``latency``, and what stood in for the champion."""
    made, latency = predict(context, tracking, candidate, rows)
    columns = {("candidate", flavour): column for flavour, column in made.items()}
    measured: dict[str, Any] = {"latency": latency}
    if champion:
        forms = stand_ins(tracking, champion, context.recipe)
        wanted = tuple(dict.fromkeys(forms.values()))
        earlier = known(tracking, champion, context.recipe, wanted)
        made, _ = predict(context, tracking, champion, rows, earlier, wanted)
        columns |= {("champion", flavour): made[form] for flavour, form in forms.items()}
        if others := {flavour: form for flavour, form in forms.items() if flavour != form}:
            measured["stand_ins"] = others
    if context.recipe.generative:
        texts, folder = given(context.recipe, rows), context.recipe_path.parent
        said = baselines.untrained(context.recipe, context.settings, folder, texts)
        columns["baseline", "untrained"] = outputs.column(said)

    def read(split: str) -> pa.Table:
        return snapshot.read(context.shelf, candidate.snapshot, [split], ["text", "label", "source"])

    simple = baselines.of(context.recipe, read, rows)
    columns |= {("baseline", name): outputs.column(said) for name, said in simple.items()}
    return columns, measured


def _opened(rows: pa.Table, columns: Columns) -> tuple[pa.Table, Columns]:
    """Rows and outputs without those of the sealed part of the test split."""
    import pyarrow.compute as pc

    kept = pc.not_equal(rows["dataset"].combine_chunks(), SEALED)
    if pc.all(kept).as_py():
        return rows, columns
    return rows.filter(kept), {name: outputs.filter(kept) for name, outputs in columns.items()}


def measure(context: Context, rows: pa.Table, columns: Columns) -> dict[str, Any]:
    """Everything that follows from rows and predictions: see the module's text."""
    import numpy as np

    recipe, task = context.recipe, context.recipe.task
    said = {name: outputs.of(column) for name, column in columns.items()}
    tallies = {name: task.tallies(rows, one) for name, one in said.items()}
    judged = measures.Judged.of(recipe, rows, tallies)
    served = models.flavours(recipe)[0]
    never = slices.never_predicted(recipe, rows, said["candidate", served])
    if told := [f"{label} ({count:,} rows)" for label, count in never.items() if count]:
        log.warning("the candidate never predicts %s", ", ".join(told))
    dataset = np.array(rows["dataset"].to_pylist())
    groups = slices.groups(recipe, rows)
    own = {name: task.answers(one) for name, one in said.items() if name[0] != "baseline"}
    sure = {name: sure for name, one in own.items() if (sure := calibration.probabilities(one[1])) is not None}
    return {
        **measures.by_part(judged, {name: dataset == name for name in dict.fromkeys(dataset.tolist())}),
        "slices": measures.by_slice(judged, served, slices.masks(groups)),
        "fairness": measures.fairness(judged, served, {n: g for n, g in groups.items() if n != "label"}),
        "calibration": measures.calibrated(sure, judged, dataset == TEST),
        "never_predicted": never,
        "examples": _shown(context, rows, judged, {name: answer for name, answer in own.items() if name[1] == served}),
    }


def _shown(
    context: Context, rows: pa.Table, judged: measures.Judged, answers: dict[tuple[str, str], Any]
) -> dict[str, Any]:
    import numpy as np

    scores = {role: judged.scores(role, flavour, context.recipe.metrics) for role, flavour in answers}
    by_role = {role: answer for (role, _), answer in answers.items()}
    groups = [np.flatnonzero(mask) for mask, _ in judged.scopes(np.ones(rows.num_rows, bool))]
    found: dict[str, list[dict[str, Any]]] = {}
    for places in groups:  # what one part of a task scores is no better or worse than what another does
        said = {role: ([labels[place] for place in places], sure[places]) for role, (labels, sure) in by_role.items()}
        some = {role: score[places] for role, score in scores.items()}
        count = -(-context.recipe.evaluate.examples // len(groups))
        for name, picked in examples.pick(rows.take(places), some, said, count).items():
            found.setdefault(name, []).extend(picked)
    return found


def _robust(
    context: Context, tracking: Tracking, candidate: Version, rows: pa.Table, columns: Columns
) -> dict[str, Any]:
    """How much the candidate's metrics change on the same test rows written otherwise."""
    recipe = context.recipe
    chosen = _drawn(recipe, rows, recipe.evaluate.perturbed_rows)
    if not len(chosen):
        return {}
    served, some = models.flavours(recipe)[0], rows.take(chosen)
    model = load(recipe, tracking, candidate, served)
    return robustness.changes(recipe, model, some, outputs.of(columns["candidate", served].take(chosen)))


def _general(context: Context, tracking: Tracking, candidate: Version, champion: Version | None) -> dict[str, Any]:
    """Base model, champion and candidate on general texts that are not in the snapshot."""
    recipe, config = context.recipe, context.recipe.evaluate.general_text
    assert config is not None, "the caller looked"
    seen = snapshot.read(context.shelf, candidate.snapshot)["text"].to_pylist()
    texts = judging_sets.texts(context, "general_text", config, PLAIN, seen)
    if not texts:
        hint = "every row of the source is in the snapshot or has no text: name another source"
        raise NotEnoughDataError("evaluate.general_text has no text to read", hint=hint)
    folders = {"base": base.resolve(recipe.base, context.settings, context.recipe_path.parent)}
    folders |= {"champion": served.folder(tracking, champion, "model")} if champion else {}
    folders |= {"candidate": served.folder(tracking, candidate, "model")}
    length = recipe.train.max_length_tokens
    likely = {}
    for role, folder in folders.items():
        with busy(f"reading {len(texts):,} general texts with the {role}"):
            likely[role] = recipe.task.plain(folder, length)(texts)
    found = general_text.compared(texts, likely, recipe.evaluate.resamples, recipe.train.seed)
    return {"rows": len(texts), **found}


def _judged(
    context: Context, tracking: Tracking, versions: dict[str, Version], rows: pa.Table, columns: Columns
) -> dict[str, Any]:
    """What a judge says of the answers to some test rows."""
    recipe = context.recipe
    assert recipe.evaluate.judge is not None, "the caller looked"
    chosen = _drawn(recipe, rows, recipe.evaluate.judge.rows)
    some, served = rows.take(chosen), models.flavours(recipe)[0]
    answers = {
        role: win_rate.written(context, tracking, version, some, columns[role, served].take(chosen))
        for role, version in versions.items()
    }
    return win_rate.judged(context, some.to_pylist(), answers, os.environ)


def _drawn(recipe: Recipe, rows: pa.Table, count: int) -> Any:
    """Places of some test rows, the same ones each time."""
    import numpy as np

    test = np.flatnonzero(np.array(rows["dataset"].to_pylist()) == TEST)
    return np.sort(np.random.default_rng(recipe.train.seed).permutation(test)[:count])


def _cost(context: Context, latency: dict[str, Any]) -> dict[str, float]:
    """Cost of a thousand predictions in batches on this machine, by flavour; nothing where no rate is set."""
    rate = context.settings.cost_per_hour
    return {name: rate / 3600 * 1000 / speed["rows_per_s"] for name, speed in latency.items() if rate}


def _log(
    context: Context, tracking: Tracking, candidate: Version, predictions: pa.Table, figures: dict[str, Any]
) -> str:
    """Log the candidate's own predictions and figures to its run; returns the artefact's hash."""
    folder = context.scratch / "evaluation"
    others = [name for name in predictions.column_names if name.startswith(("champion.", "baseline."))]
    own = predictions.drop_columns(others)
    own = own.rename_columns([name.removeprefix("candidate.") for name in own.column_names])
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "predictions.parquet", own)
    write_json(folder / "evaluation.json", figures)
    made = tracking.log_folder(candidate.run, folder, "evaluation")
    shutil.rmtree(folder)
    flat = {
        f"{part.replace(':', '-')}.{flavour}.{name}": e["value"]
        for flavour, parts in figures["metrics"]["candidate"].items()
        for part, estimates in parts.items()
        for name, e in estimates.items()
        if e["value"] is not None
    }
    tracking.log(candidate.run, metrics=flat)
    return made


def _table(rows: pa.Table, columns: dict[str, pa.Array]) -> pa.Table:
    for name, column in columns.items():
        rows = rows.append_column(name, column)
    return rows
