"""Any two versions on the rows that both were judged on: metrics, and differences with the intervals of pairs.

An evaluation compares a candidate with the champion of its day. Of two other versions the predictions are kept, a row
each, so that they can be compared without any model: on rows of one id with the same input and label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.evaluation import measures
from ftcore.evaluation.predictions import INPUT
from ftcore.models import outputs
from ftcore.recipe.sealed import SEALED
from ftcore.statistics import resampling
from ftcore.store.store import read_table

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.recipe.model import Recipe
    from ftcore.store.store import RecipeStore

FORM = "served"
"""Name of the forms that are compared, in what is returned: each version's may be called otherwise."""

KEY = ("dataset", "row_id", INPUT, "label")


def compare(shelf: RecipeStore, recipe: Recipe, before: tuple[str, str], after: tuple[str, str]) -> dict[str, Any]:
    """Compare two versions on the rows of both.

    Args:
        shelf: of the recipe.
        recipe: tells task, metrics and resamples; both versions must have its labels.
        before: run that evaluated the one, and its form that serves.
        after: the same of the other.

    Returns:
        ``metrics`` by role (``candidate`` is ``after``), ``FORM`` and dataset; ``differences``, after less before, and
        ``mcnemar`` by ``FORM`` and dataset; ``rows`` by dataset. Empty mappings where no row is shared.

    Raises:
        FtcoreError: predictions of one are gone, or do not tell what the model was given.
    """
    import numpy as np

    sides = [_read(shelf, *one) for one in (before, after)]
    places = _shared(*(_keys(side) for side in sides))
    if not places[0]:
        return {"metrics": {}, "differences": {}, "mcnemar": {}, "rows": {}}
    tables = [side.take(some) for side, some in zip(sides, places, strict=True)]
    said = [outputs.of(table[f"candidate.{form}"]) for table, (_, form) in zip(tables, (before, after), strict=True)]
    rows = tables[1]
    roles = dict(zip((("champion", FORM), ("candidate", FORM)), said, strict=True))
    tallies = {name: recipe.task.tallies(rows, one) for name, one in roles.items()}
    judged = measures.Judged.of(recipe, rows, tallies)
    dataset = np.array(rows["dataset"].to_pylist(), object)
    parts = {name: dataset == name for name in dict.fromkeys(dataset.tolist())}
    try:
        return {**measures.by_part(judged, parts), "rows": {name: int(mask.sum()) for name, mask in parts.items()}}
    finally:
        resampling.forget()  # Airflow's web process shows such a comparison now and then, and lives for weeks


def _read(shelf: RecipeStore, run_id: str, form: str) -> pa.Table:
    import pyarrow.compute as pc

    path = shelf.folder(run_id, "evaluate") / "predictions.parquet"
    try:
        table = read_table(path)
    except FileNotFoundError as error:
        raise FtcoreError(f"the predictions of run {run_id} are not in the store") from error
    missing = {*KEY, f"candidate.{form}"} - set(table.column_names)
    if missing:
        raise FtcoreError(f"the predictions of run {run_id} do not have {', '.join(sorted(missing))}")
    return table.filter(pc.not_equal(table["dataset"], SEALED))


def _keys(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in KEY), strict=True))


def _shared(before: Sequence[tuple[Any, ...]], after: Sequence[tuple[Any, ...]]) -> tuple[list[int], list[int]]:
    """Positions of the rows that both have, in the order of the second."""
    there = {key: place for place, key in enumerate(before)}
    both = [(there[key], place) for place, key in enumerate(after) if key in there]
    return [old for old, _ in both], [new for _, new in both]
