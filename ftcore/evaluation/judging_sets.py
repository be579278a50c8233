"""The datasets that judge: the test split and each holdout, without rows that a compared model was trained on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ftcore.context import Context
from ftcore.data import holdouts, snapshot, suppression
from ftcore.errors import NotEnoughDataError
from ftcore.evaluation import ancestry
from ftcore.evaluation import excluded as _excluded
from ftcore.evaluation.excluded import TEST
from ftcore.progress import busy
from ftcore.recipe import sealed
from ftcore.registry import verdict

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.tracking.client import Version

JUDGED = ("row_id", *snapshot.TEXTS, "source", "group", "split_key")
"""Columns that a task may look at, and those that name a row's group; ``dataset`` says which rows they are."""


def read(context: Context, candidate: Version, champion: Version | None) -> tuple[pa.Table, dict[str, Any]]:
    """The rows that judge, and what ``evaluation.json`` tells of those that do not.

    The column ``dataset`` is ``test``, ``sealed`` for the sealed part of the test split, or a holdout's name.
    """
    import pyarrow as pa

    recipe, identity = context.recipe, candidate.snapshot
    # A subject that was forgotten since the snapshot was published must not come back in an evaluation.
    forgotten = suppression.load(context.shelf, os.environ)
    with busy(f"reading the test split of snapshot {identity}", at_once=False):
        test = forgotten.keep(snapshot.read(context.shelf, identity, [TEST]))
    tables, valid = [_named(TEST, test)], holdouts.valid(context)
    for name, config in recipe.evaluate.holdouts.items():
        found = holdouts.read(context, holdouts.Source(name, config, recipe.task))
        usable = [valid(*two) for two in zip(found["source"].to_pylist(), found["label"].to_pylist(), strict=True)]
        tables.append(_named(name, found.filter(pa.array(usable, pa.bool_()))))
    behind = ancestry.ancestors(context.settings, recipe.name, [one for one in (candidate, champion) if one])
    judging = _excluded.Judging(pa.concat_tables(tables).combine_chunks())
    _excluded.exclude(judging, behind, identity, recipe.prepare.near_duplicates)
    rows = sealed.seal(judging.kept(), recipe.evaluate.sealed)
    return rows, {"excluded": judging.counts(), "trained_on": ancestry.described(behind)}


def texts(context: Context, name: str, config: Any, task: Any, seen: Iterable[str]) -> list[str]:
    """Distinct texts of a source, on whatever side of the split, that are not among those that were seen."""
    found = holdouts.read(context, holdouts.Source(name, config, task, split=None))["text"].to_pylist()
    known = {snapshot.text_key(text) for text in seen}
    return [text for text in dict.fromkeys(found) if snapshot.text_key(text) not in known]


def counts(rows: pa.Table) -> dict[str, int]:
    """Rows by dataset."""
    return {row["values"]: row["counts"] for row in rows["dataset"].value_counts().to_pylist()}


def _named(name: str, rows: pa.Table) -> pa.Table:
    import pyarrow as pa

    return rows.select(list(JUDGED)).append_column("dataset", pa.array([name] * rows.num_rows, pa.string()))


def check(context: Context, identity: str, rows: pa.Table, excluded: dict[str, dict[str, int]]) -> None:
    """Whether there are rows to judge by.

    Raises:
        NotEnoughDataError: the test split, or a holdout that a gate judges on, has none.
    """
    there = counts(rows)
    if TEST not in there:
        if TEST in excluded:
            raise NotEnoughDataError(
                f"no row of snapshot {identity} can judge; left out are {verdict.excluded(TEST, excluded[TEST])}",
                hint="add new rows, or set prepare.test and prepare.validation back to what they were",
            )
        if sealed.SEALED in there:
            raise NotEnoughDataError(
                f"all {there[sealed.SEALED]:,} test rows of snapshot {identity} are sealed, so that none is left to "
                "measure on",
                hint="add rows, or lower evaluate.sealed",
            )
        hint = "add rows, or raise prepare.test: it decides which rows are kept apart"
        raise NotEnoughDataError(f"snapshot {identity} has no test row to judge by", hint=hint)
    for gate in context.recipe.gates:
        if empty := [name for name in gate.named().get("datasets", ()) if name not in there]:
            raise NotEnoughDataError(
                f"the gate {gate.kind} judges on {', '.join(empty)}, which has no row on the test side that is new",
                hint=f"add rows to evaluate.holdouts.{empty[0]}, or take it out of the gate's datasets",
            )
