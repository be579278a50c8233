"""Groups of evaluated rows: by source, label, language or length of the text."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ftcore.data import labels
from ftcore.data.cleaning import language
from ftcore.data.conversations import turns as conversation

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from ftcore.models.outputs import Outputs
    from ftcore.recipe.model import Recipe

LENGTHS = (50, 150, 500)
"""Characters at which a new bucket of lengths starts, less one."""


def groups(recipe: Recipe, rows: pa.Table) -> dict[str, np.ndarray]:
    """The group of each row ``[rows]``, by each column that the recipe slices by; a task without labels has none."""
    import numpy as np

    made = {"source": _column, "label": _column, "language": _languages, "length": _lengths}
    labelled = recipe.task.TARGET == "label"
    wanted = [name for name in recipe.evaluate.slices if name != "label" or labelled]
    return {name: np.array(made[name](rows, name), object) for name in wanted}


def clusters(rows: pa.Table) -> np.ndarray:
    """Of each row an id of its group, ``[rows]``: rows of one group are not independent, and are resampled together.

    A group is known by the split key, which is one for all rows of a group whatever source they came by; where an older
    snapshot has none, by the column ``group``. A row without either is a group of its own.
    """
    import numpy as np

    there = [rows[name].to_pylist() for name in ("split_key", "group") if name in rows.column_names]
    named = [next((name for name in names if name), None) for names in zip(*there, strict=True)]
    named = named or [None] * rows.num_rows
    keys = [f"row {place}" if name is None else f"group {name}" for place, name in enumerate(named)]
    _, ids = np.unique(np.array(keys, object).astype(str), return_inverse=True)
    return np.asarray(ids, np.int64)


def never_predicted(recipe: Recipe, rows: pa.Table, outputs: Outputs) -> dict[str, int]:
    """Labels that a model predicts for none of some rows, each with the rows that have it."""
    task = recipe.task
    answers, _ = task.answers(outputs)
    sources, there = rows["source"].to_pylist(), Counter[str]()
    said: set[str] = set()
    for label, answer, source in zip(rows["label"].to_pylist(), answers, sources, strict=True):
        there.update(labels.of(task, label, source))
        said.update(labels.of(task, answer, source))
    return {label: there[label] for label in labels.listed(task) if label not in said} if rows.num_rows else {}


def masks(groups: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each slice, such as ``source=feedback``, as a mask ``[rows]``."""
    return {
        f"{column}={name}": names == name for column, names in groups.items() for name in sorted(set(names.tolist()))
    }


def _column(rows: pa.Table, name: str) -> list[str]:
    return [str(value) for value in rows[name].to_pylist()]


def _languages(rows: pa.Table, name: str) -> list[str]:
    return language.guess([conversation.plain(text) for text in rows["text"].to_pylist()])


def _lengths(rows: pa.Table, name: str) -> list[str]:
    starts = [1, *(length + 1 for length in LENGTHS)]
    ends = [*map(str, LENGTHS), ""]
    return [
        f"{starts[place]}-{ends[place]}" if ends[place] else f"{starts[place]}+"
        for place in (bisect.bisect_left(LENGTHS, len(conversation.plain(text))) for text in rows["text"].to_pylist())
    ]
