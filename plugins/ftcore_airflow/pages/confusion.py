"""Which labels a version takes for which: a matrix where there are few, the commonest mix-ups where there are many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ftcore.store.store import read_table

if TYPE_CHECKING:
    import numpy as np
    from upath import UPath

    from ftcore.store.store import RecipeStore

FEW = 12
"""Labels up to which a matrix can be read."""
SHOWN = 20
"""Mix-ups that are listed."""
HEATS = 5


@dataclass(frozen=True)
class Cell:
    """Rows of one label that were predicted as one label."""

    rows: int
    share: float | None
    """Of the rows that have the label, 0 to 1; None where there are none."""

    @property
    def heat(self) -> int:
        """How dark it is drawn, 0 to 5: only a cell without rows has none."""
        return 0 if not self.rows or self.share is None else 1 + min(int(self.share * HEATS), HEATS - 1)


@dataclass(frozen=True)
class ByLabel:
    """One label against all others."""

    label: str
    rows: int
    """Rows that have it."""
    predicted: int
    """Rows for which it is predicted."""
    right: int

    @property
    def recall(self) -> float | None:
        """Share of the rows that have it for which it is predicted; None without such rows."""
        return self.right / self.rows if self.rows else None

    @property
    def precision(self) -> float | None:
        """Share of the rows for which it is predicted that have it; None without such rows."""
        return self.right / self.predicted if self.predicted else None


@dataclass(frozen=True)
class MixUp:
    """A label that is predicted for rows of another."""

    truth: str
    predicted: str
    rows: int
    share: float
    """Of the rows of the true label, 0 to 1."""


@dataclass(frozen=True)
class Confusion:
    """What a version predicts on the rows of one dataset."""

    dataset: str
    form: str
    rows: int
    labels: Sequence[str]
    matrix: Sequence[Sequence[Cell]]
    """A row for each true label, a column for each predicted one; empty beyond ``FEW`` labels."""
    by_label: Sequence[ByLabel]
    mix_ups: Sequence[MixUp]
    """The commonest first."""

    @property
    def right(self) -> int:
        """Rows that are predicted right."""
        return sum(one.right for one in self.by_label)


def confusion(shelf: RecipeStore, run_id: str, form: str, labels: Sequence[str]) -> list[Confusion]:
    """What a version predicts, by dataset, the test split first; nothing where its task chooses no label.

    Args:
        shelf: of the recipe.
        run_id: the run that evaluated it.
        form: which form of the model.
        labels: of the task as it was evaluated.

    Raises:
        FtcoreError: the run id could leave the store.
        OSError: the predictions cannot be read.
        ValueError: they are no Parquet.
    """
    if not labels or not form:
        return []
    path = shelf.folder(run_id, "evaluate") / "predictions.parquet"
    try:
        return _read(path, path.stat().st_mtime, form, tuple(labels))
    except FileNotFoundError:
        return []


@lru_cache(maxsize=32)
def _read(path: UPath, _changed: float, form: str, labels: tuple[str, ...]) -> list[Confusion]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = f"candidate.{form}"
    with path.open("rb") as file:
        names = pq.read_schema(file).names
    if not {name, "label", "dataset"} <= set(names):
        return []
    table = read_table(path, ["dataset", "label", name])
    outputs = table[name].combine_chunks()
    if not pa.types.is_list(outputs.type) or not pa.types.is_floating(outputs.type.value_type):
        return []
    scores = np.array(outputs.to_pylist(), float)
    if scores.ndim != 2 or scores.shape[1] != len(labels):
        return []
    places = {label: place for place, label in enumerate(labels)}
    truth = [places.get(str(label)) for label in table["label"].to_pylist()]
    datasets = np.array(table["dataset"].to_pylist(), object)
    if any(one is None for one in truth):  # rows with several labels are told by another page
        return []
    found = []
    for dataset in dict.fromkeys(datasets.tolist()):
        chosen = datasets == dataset
        counts = np.zeros((len(labels), len(labels)), int)
        np.add.at(counts, (np.array(truth)[chosen].astype(int), scores[chosen].argmax(1)), 1)
        found.append(_made(str(dataset), form, labels, counts))
    return sorted(found, key=lambda one: one.dataset != "test")


def _made(dataset: str, form: str, labels: Sequence[str], counts: np.ndarray) -> Confusion:
    there, said = counts.sum(1).tolist(), counts.sum(0).tolist()
    matrix = [
        [Cell(rows, rows / there[place] if there[place] else None) for rows in line]
        for place, line in enumerate(counts.tolist())
    ]
    by_label = [
        ByLabel(label, there[place], said[place], int(counts[place, place])) for place, label in enumerate(labels)
    ]
    mixed = [
        MixUp(labels[a], labels[b], int(counts[a, b]), int(counts[a, b]) / there[a])
        for a, b in zip(*counts.nonzero(), strict=True)
        if a != b
    ]
    mixed.sort(key=lambda one: (-one.rows, one.truth, one.predicted))
    few = matrix if len(labels) <= FEW else []
    return Confusion(dataset, form, int(counts.sum()), labels, few, by_label, mixed[:SHOWN])
