"""Labels of a recipe and how many rows have each, by split, for every task with a fixed set of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ftcore.data.snapshot import SPLITS

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.recipe.sections import Task

SHOWN = 20
"""Labels that a message names."""


def listed(task: Task) -> tuple[str, ...]:
    """The labels that a recipe's task lists; of several parts as ``PART/LABEL``."""
    if task.parts:
        return tuple(f"{name}/{label}" for name, part in task.parts.items() for label in part.labels)
    return task.labels


def of(task: Task, label: str | None, source: str | None) -> Iterable[str]:
    """The labels that one row counts for, once each."""
    if not task.parts:
        return task.labels_in(label)
    part = task.part(source)
    return [f"{part}/{one}" for one in of(task.parts[part], label, source)]


def counts(task: Task, rows: pa.Table) -> Counter[tuple[str, str]]:
    """Rows by split and label.

    Args:
        task: the recipe's.
        rows: with ``split``, ``label`` and ``source``.
    """
    found: Counter[tuple[str, str]] = Counter()
    if not listed(task):
        return found
    names = ["split", "label", *(["source"] if task.parts else [])]
    for one in rows.select(names).group_by(names).aggregate([([], "count_all")]).to_pylist():
        for label in of(task, one["label"], one.get("source")):
            found[one["split"], label] += one["count_all"]
    return found


def table(task: Task, found: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Rows of each label of the recipe by split, in the recipe's order; labels that no row has are there, too."""
    every = dict.fromkeys([*listed(task), *sorted({label for _, label in found})])
    return {label: {split: found.get((split, label), 0) for split in SPLITS} for label in every}


def absent(by_label: Mapping[str, Mapping[str, int]]) -> dict[str, Mapping[str, int]]:
    """Labels without a row in some split, with their rows in each."""
    return {label: rows for label, rows in by_label.items() if not all(rows.get(split) for split in SPLITS)}


def warning(by_label: Mapping[str, Mapping[str, int]]) -> str:
    """What to know of labels without a row in some split, and what can be done; empty where there is none."""
    rare = absent(by_label)
    if not rare:
        return ""
    words = [f"{label!r} {_rows(rows)}" for label, rows in list(rare.items())[:SHOWN]]
    more = f" and {len(rare) - SHOWN:,} more" if len(rare) > SHOWN else ""
    unseen = [label for label, rows in rare.items() if not rows.get("train")]
    never = f"; no model can learn {_names(unseen)}, which has no row in train" if unseen else ""
    unjudged = [label for label, rows in rare.items() if not rows.get("test")]
    blind = f"; no row of test evaluates {_names(unjudged)}" if unjudged else ""
    return (
        f"labels without a row in some split: {', '.join(words)}{more}{never}{blind}. Add rows with them, join labels "
        "with label_map in the sources, change prepare.validation, prepare.test or group, or take them out of labels"
    )


def unlearnable(
    task: Task, by_label: Mapping[str, Mapping[str, int]], parts: Mapping[tuple[str, str], int]
) -> list[str]:
    """Why the training of a snapshot cannot start, in words; ``plan`` would say the same.

    Args:
        task: the recipe's.
        by_label: rows by label and split.
        parts: rows by split and part of the task; the part of a task without parts is empty.
    """
    found = []
    for name, own in (task.parts or {"": task}).items():
        words = f"part {name}: " if name else ""
        found += [f"{words}the {split} split has no row" for split in SPLITS if not parts.get((split, name))]
        prefix = f"{name}/" if name else ""
        there = [
            label.removeprefix(prefix) for label, rows in by_label.items() if label.startswith(prefix) and rows["train"]
        ]
        if parts.get(("train", name)) and (why := own.nothing_to_learn(there)):
            found.append(f"{words}{why}")
    return found


def rows_of_parts(task: Task, rows: pa.Table) -> Counter[tuple[str, str]]:
    """Rows by split and part of the task; the part of a task without parts is empty."""
    names = ["split", "source"]
    found: Counter[tuple[str, str]] = Counter()
    for one in rows.select(names).group_by(names).aggregate([([], "count_all")]).to_pylist():
        found[one["split"], task.part(one["source"])] += one["count_all"]
    return found


def _rows(rows: Mapping[str, int]) -> str:
    return "(" + ", ".join(f"{split} {rows.get(split, 0):,}" for split in SPLITS) + ")"


def _names(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - SHOWN:,} more" if len(labels) > SHOWN else ""
    return ", ".join(map(repr, labels[:SHOWN])) + more
