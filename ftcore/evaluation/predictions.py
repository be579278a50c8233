"""What candidate and champion say about the same rows; nothing is predicted twice.

An output of an earlier evaluation is used again only where the model would be given the very same: the row's text, its
context, its answer where the task is told it, and the same files, labels, limits, template and settings of the task.
Beside the outputs stands a digest of the one by row, in ``INPUT``, and of the other by flavour, in ``evaluation.json``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftcore.context import Context
from ftcore.errors import ExportError
from ftcore.models import outputs
from ftcore.progress import busy, progress
from ftcore.recipe.canonical import canonical, sha256
from ftcore.registry import served
from ftcore.registry.verdict import TORCH
from ftcore.serving import model as models
from ftcore.store.store import digest, read_json, read_table
from ftcore.tracking import registered
from ftcore.tracking.client import HASH_TAG, Tracking, Version

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from ftcore.recipe.model import Recipe

log = logging.getLogger(__name__)

INPUT = "input_sha256"
"""Column with the digest of what the model is given of a row."""
SETTINGS = "prediction_settings"
"""Key of ``evaluation.json``: by flavour the digest of all else that decides the candidate's outputs."""
TIMED, TIMED_S = 100, 5.0
"""Single texts whose latency is measured, and seconds after which fewer do."""


def predict(
    context: Context,
    tracking: Tracking,
    version: Version,
    rows: pa.Table,
    known: pa.Table | None = None,
    flavours: Sequence[str] = (),
) -> tuple[dict[str, pa.Array], dict[str, Any]]:
    """Outputs of a version by flavour, a row each; where nothing was known before, also the latency by flavour.

    Args:
        context: of the step.
        tracking: the registry.
        version: which version predicts.
        rows: with ``row_id`` and ``text``.
        known: predictions that this version made earlier, of ``known``; what is there is not made again. None for a
            candidate.
        flavours: which forms of it; by default all that the recipe makes.

    Raises:
        ExportError: a candidate's outputs are not all numbers: an argmax would take NaN for the first label.
    """
    made, latency = {}, {}
    texts = given(context.recipe, rows)
    keys = _keys(rows, digests(texts))
    for flavour in flavours or models.flavours(context.recipe):
        there = known is not None and flavour in known.column_names
        have = _places(known) if known is not None and there else {}
        missing = [number for number, key in enumerate(keys) if key not in have]
        fresh = None
        if missing:
            model = load(context.recipe, tracking, version, flavour)
            clock = time.perf_counter()
            with progress(f"version {version.number} as {flavour}", len(missing)) as advance:
                said = model.outputs([texts[number] for number in missing], advance)
            if known is None:
                _check_numbers(version, flavour, said)
            fresh = outputs.column(said)
            rows_per_s = len(missing) / (time.perf_counter() - clock)
            rows_per_s = round(rows_per_s, 1) if rows_per_s >= 10 else float(f"{rows_per_s:.3g}")
            sizes = f"{len(missing):,} rows, {rows_per_s:,g} rows/s"
            log.info("version %d as %s: %s", version.number, flavour, sizes)
            if known is None:
                with busy(f"timing single texts with {flavour}", at_once=False):
                    latency[flavour] = {**_latency(model, texts), "rows_per_s": rows_per_s}
        earlier = known[flavour].combine_chunks() if there else None  # type: ignore[index]
        made[flavour] = _joined(keys, earlier, have, fresh)
    return made, latency


def load(recipe: Recipe, tracking: Tracking, version: Version, flavour: str) -> models.Model:
    """One form of a version; see ``models.load``."""
    with busy(f"loading version {version.number} as {flavour}", at_once=False):
        return models.load(recipe, tracking, version, flavour)


def stand_ins(tracking: Tracking, version: Version, recipe: Recipe) -> dict[str, str]:
    """By flavour the form of a version whose outputs count as its: ``torch`` where it was never exported to a form.

    A recipe may get another export while a champion is in place that was never exported to it.
    """
    made = registered.hashes(registered.run_tags(tracking, version.run))
    others = {one: TORCH for one in models.flavours(recipe) if made and models.artefact(one) not in made}
    if others:
        names = ", ".join(others)
        log.warning("version %d was never exported as %s: torch stands in for it", version.number, names)
    return {flavour: others.get(flavour, flavour) for flavour in models.flavours(recipe)}


def _check_numbers(version: Version, flavour: str, said: outputs.Outputs) -> None:
    import numpy as np

    broken = sum(bool(np.isnan(row).any()) for row in map(_numbers, said))
    if broken:
        raise ExportError(
            f"version {version.number} as {flavour} answers {broken:,} of {len(said):,} rows with NaN",
            hint="train with a lower train.learning_rate; where torch is sound, export with another precision",
        )


def _numbers(output: Any) -> np.ndarray:
    """The numbers in one row's output; none where it is words."""
    import numpy as np

    values = [one for one in output.values() if one is not None] if isinstance(output, dict) else [output]
    flat = np.asarray(values[0] if values else [])
    return flat.ravel() if np.issubdtype(flat.dtype, np.floating) else np.zeros(0)


def given(recipe: Recipe, rows: pa.Table) -> list[outputs.Text]:
    """Rows as the task's model takes them."""
    answers = recipe.task.TARGET == "text"
    return outputs.given(rows, answers=answers, sources=bool(recipe.parts))


def digests(texts: Sequence[outputs.Text]) -> list[str]:
    """SHA-256 of each row as the task's model takes it, whatever other rows are given with it."""
    return [sha256(canonical(list(one))) for one in outputs.examples(texts)]


def settings(tracking: Tracking, version: Version, recipe: Recipe) -> dict[str, str]:
    """By flavour a digest of what decides a version's outputs beside the rows: its files and the task's settings."""
    tags = registered.run_tags(tracking, version.run)
    task = recipe.task.model_dump(mode="json")
    return {
        flavour: digest({"task": task, "flavour": flavour, "files": tags.get(f"{HASH_TAG}{models.artefact(flavour)}")})
        for flavour in models.flavours(recipe)
    }


def known(tracking: Tracking, version: Version, recipe: Recipe, flavours: Sequence[str] = ()) -> pa.Table:
    """Predictions that a version made when it was candidate: a column for each flavour that can be used again.

    Args:
        tracking: the registry.
        version: whose predictions.
        recipe: as it is today.
        flavours: forms that are wanted; by default all that the recipe makes.

    Raises:
        FtcoreError: they are gone.
        ExportError: they were made for other labels than the recipe's.
    """
    with served.opened(tracking, version, "evaluation") as folder:
        figures = read_json(folder / "evaluation.json") or {}
        table = read_table(folder / "predictions.parquet")
    labels = list(recipe.task.labels)
    theirs = figures.get("labels", labels)
    if theirs != labels:
        raise ExportError(
            f"champion {version.number} of {tracking.name} knows the labels {', '.join(theirs)}, the recipe "
            f"{', '.join(labels)}: they cannot be compared",
            hint="restore task.labels, or give the changed recipe a name of its own",
        )
    before, today = figures.get(SETTINGS) or {}, settings(tracking, version, recipe)
    today = {name: value for name, value in today.items() if name in (flavours or today)}
    same = [name for name, value in today.items() if name in table.column_names and before.get(name) == value]
    if INPUT not in table.column_names:
        same = []
    if other := [name for name in today if name not in same]:
        log.info(
            "version %d predicts all rows again as %s: its earlier outputs were made with other settings, or do not "
            "name them",
            version.number,
            ", ".join(other),
        )
    return table.select(["row_id", *([INPUT] if same else []), *same])


def _joined(keys: list[str], earlier: pa.Array | None, have: Mapping[str, int], fresh: pa.Array | None) -> pa.Array:
    """One output a row: the earlier one where there is one, else the next fresh one."""
    import pyarrow as pa

    if fresh is None:
        return earlier.take([have[key] for key in keys])  # type: ignore[union-attr]
    if earlier is None:
        return fresh
    following = iter(range(len(earlier), len(earlier) + len(fresh)))
    places = [have[key] if key in have else next(following) for key in keys]
    if pa.types.is_struct(earlier.type):  # of several parts, some of which may have had no row
        both = pa.array([*earlier.to_pylist(), *fresh.to_pylist()])
    else:
        both = pa.concat_arrays([earlier, fresh.cast(earlier.type)])
    return both.take(pa.array(places, pa.int64()))


def _keys(rows: pa.Table, inputs: Sequence[str]) -> list[str]:
    """A row by its id and what the model is given, so that a source that changes it gets a new prediction."""
    return [f"{row}\x00{one}" for row, one in zip(rows["row_id"].to_pylist(), inputs, strict=True)]


def _places(known: pa.Table) -> dict[str, int]:
    """Position of each earlier prediction by its key."""
    return {key: place for place, key in enumerate(_keys(known, known[INPUT].to_pylist()))}


def _latency(model: models.Model, texts: list[outputs.Text]) -> dict[str, float]:
    """Milliseconds for one text at a time, median and 95th percentile."""
    import numpy as np

    taken: list[float] = []
    for text in texts[:TIMED]:
        if len(taken) >= 10 and sum(taken) > TIMED_S * 1000:
            break
        clock = time.perf_counter()
        model.predict([text])
        taken.append((time.perf_counter() - clock) * 1000)
    p50, p95 = (round(float(value), 3) for value in np.percentile(taken, [50, 95]))
    return {"p50_ms": p50, "p95_ms": p95, "timed": len(taken)}
