"""watch: compare the predictions since the last look with the champion's reference."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ftcore.context import Context, Outcome
from ftcore.data.conversations import turns as conversation
from ftcore.models import outputs
from ftcore.monitoring.windows import comparable
from ftcore.registry import served
from ftcore.serving import model as models
from ftcore.store import ledger
from ftcore.store.store import hash_file, read_table, upload, write_table
from ftcore.store.times import moment
from ftcore.tracking.client import Tracking, Version

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from ftcore.monitoring.findings import Finding

log = logging.getLogger(__name__)

NEEDS = ("pandas", "pyarrow.parquet", "evidently", "mlflow")


def run(context: Context) -> Outcome:
    """Write the Evidently report ``drift.html`` and ``drift.json`` of the window, and what each detector found.

    The window is every prediction since the last decision; too small a one is left to grow.
    """
    recipe = context.recipe
    champion = served.champion(context.shelf, Tracking(context.settings, recipe.name))
    if champion is None:
        return Outcome(reason="there is no champion to watch yet", proceed=False)
    since = ledger.looked_until(context.shelf, context.run_id)
    window = context.shelf.read_log("predictions", since)
    rows = 0 if window is None else window.num_rows
    if window is None or rows < recipe.watch.min_rows:
        after = f" since {moment(since)}" if since else ""
        reason = f"{rows:,} predictions{after}, waiting for {recipe.watch.min_rows:,}"
        return Outcome(reason=reason, proceed=False, figures={"rows": rows})
    path = context.folder / "window.parquet"
    write_table(path, window)
    reference = _reference(context, champion)
    log.info("comparing %s predictions with %s reference rows", f"{rows:,}", f"{len(reference):,}")
    found = _compare(context, reference, comparable(context, champion, window))
    findings = [asdict(finding) for finding in found]
    alarms = [finding for finding in found if finding.alarm]
    reports = {name: context.folder / f"drift.{name}" for name in ("html", "json")}
    figures = {
        "rows": rows,
        "since": since.isoformat() if since else None,
        "until": max(window["at"].to_pylist()).isoformat(),
        "champion": champion.number,
        "snapshot": champion.snapshot,
        "findings": findings,
        "alarms": len(alarms),
        "performance": _performance(context, window),
    }
    measured = sum(finding.score is not None for finding in found)
    words = "; ".join(finding.summary for finding in found)
    return Outcome(
        reason=f"{len(alarms)} of {measured} detectors raise an alarm on {rows:,} predictions of version "
        f"{champion.number}, {_span(window)}: {words}",
        figures=figures,
        inputs={
            "window": hash_file(path),
            "reference": champion.snapshot,
            **{path.name: hash_file(path) for path in reports.values() if path.exists()},
        },
        paths={name: context.written(path) for name, path in reports.items() if path.exists()},
    )


def _span(window: pa.Table) -> str:
    """From when to when the predictions of a window were made."""
    times = window["at"].to_pylist()
    return f"made from {moment(min(times))} to {moment(max(times))}"


def _reference(context: Context, champion: Version) -> pd.DataFrame:
    """The champion's own test rows as it predicted them: text, label and score of rows that it was never trained on."""
    import pandas as pd
    import pyarrow.compute as pc

    tracking = Tracking(context.settings, context.recipe.name)
    with served.opened(tracking, champion, "evaluation") as folder:
        table = read_table(folder / "predictions.parquet")
    table = table.filter(pc.equal(table["dataset"], "test"))
    task, said = context.recipe.task, outputs.of(table[models.flavours(context.recipe)[0]])
    labels, scores = task.answers(said)
    found = {"text": table["text"].to_pylist(), "label": labels, "score": scores}
    owners = {"part": [task.part(one) for one in table["source"].to_pylist()]} if context.recipe.parts else {}
    return pd.DataFrame({**found, **owners})


def _mixed_alike(reference: pd.DataFrame, parts: list[str], seed: int) -> pd.DataFrame:
    """Reference rows with the parts of a task in the shares that the window has: another mix is no drift."""
    import pandas as pd

    there, asked = reference["part"].value_counts(), pd.Series(parts).value_counts()
    asked = asked[[part for part in asked.index if part in there.index]]
    most = min((there[part] / count for part, count in asked.items()), default=0)
    drawn = [
        reference[reference["part"] == part].sample(int(most * count), random_state=seed)
        for part, count in asked.items()
    ]
    return pd.concat(drawn) if drawn else reference


def _compare(context: Context, reference: pd.DataFrame, window: pa.Table) -> list[Finding]:
    from ftcore.monitoring.drift import compare

    current = window.select(["text", "label", "score"]).to_pandas()
    if context.recipe.parts:
        reference = _mixed_alike(reference, window["part"].to_pylist(), context.recipe.train.seed)
    # Words of JSON tell nothing, and its escapes look like words of their own.
    sides = (side.assign(text=[conversation.plain(text) for text in side["text"]]) for side in (reference, current))
    reference, current = sides
    folder = context.scratch / "report"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found = compare(reference, current, context.recipe.watch.detectors, folder=folder, seed=context.recipe.train.seed)
    upload(folder, context.folder)
    shutil.rmtree(context.scratch)
    return found


def _performance(context: Context, window: pa.Table) -> dict[str, Any] | None:
    """Accuracy on those rows of the window whose true label has come back; None while there are none.

    Two texts that say the same need not be equal: of tasks that choose no label nothing is said.
    """
    feedback = context.shelf.read_log("feedback")
    if feedback is None:
        return None
    recipe, asked = context.recipe, window["request_id"].to_pylist()
    parts = window["part"].to_pylist() if recipe.parts else [None] * len(asked)
    chosen = [recipe.task_of(part).TARGET == "label" for part in parts]
    feedback = feedback.sort_by("at")
    truth = dict(zip(feedback["request_id"].to_pylist(), feedback["label"].to_pylist(), strict=True))
    said = zip(asked, window["label"].to_pylist(), chosen, strict=True)
    right = [truth[identity] == label for identity, label, counts in said if counts and identity in truth]
    return {"rows": len(right), "accuracy": sum(right) / len(right)} if right else None
