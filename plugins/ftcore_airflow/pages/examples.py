"""Rows on which candidate and champion disagree, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ftcore.data.conversations import turns as conversation
from ftcore.store.store import read_table

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath

    from ftcore.store.store import RecipeStore
    from ftcore_airflow.pages.reading import Product

PER_PAGE = 20
GIVEN = frozenset({"row_id", "text", "label", "source", "dataset"})
KINDS = {
    "worse": "The champion was right, the candidate is wrong",
    "better": "The candidate is right, the champion was wrong",
    "other": "They differ, and neither is right",
    "both": "Both are wrong",
    "wrong": "The candidate is wrong",
}
"""What one may look at; ``wrong`` is for a candidate that has nobody beside it."""


@dataclass(frozen=True)
class Answer:
    """What a model said about a row."""

    text: str
    sure: float | None
    """Its probability, 0 to 1; None where the model gives none."""
    right: bool


@dataclass(frozen=True)
class Example:
    """One row with both answers."""

    text: str
    truth: str
    dataset: str
    source: str
    candidate: Answer
    champion: Answer | None

    @property
    def kind(self) -> str:
        """Which of ``KINDS`` it is; empty where there is nothing to see."""
        mine, other = self.candidate, self.champion
        if other is None:
            return "" if mine.right else "wrong"
        if mine.text == other.text:
            return "" if mine.right else "both"
        return "better" if mine.right else "worse" if other.right else "other"


@dataclass(frozen=True)
class Examples:
    """One page of examples."""

    shown: Sequence[Example]
    kind: str
    dataset: str
    form: str
    counts: Mapping[str, int]
    """Rows of each kind there is."""
    datasets: Sequence[str]
    rows: int
    total: int
    page: int
    pages: int


def examples(
    shelf: RecipeStore, product: Product, run_id: str, *, kind: str = "", dataset: str = "", page: int = 1
) -> Examples | None:
    """Rows that tell the two models apart, those of which the candidate is most sure first; None without predictions.

    Raises:
        FtcoreError: the run id could leave the store.
        ValueError: the predictions are not what they should be.
    """
    path = shelf.folder(run_id, "evaluate") / "predictions.parquet"
    try:
        form, every = _every(path, path.stat().st_mtime, product.labels)
    except FileNotFoundError:
        return None
    here = [one for one in every if dataset in ("", one.dataset)]
    counts = {name: sum(one.kind == name for one in here) for name in KINDS}
    counts = {name: count for name, count in counts.items() if count or name in ("worse", "better", kind)}
    if all(one.champion is None for one in every):
        counts = {"wrong": counts.get("wrong", 0)}
    kind = kind if kind in counts else next(iter(counts))
    taken = [one for one in here if one.kind == kind]
    pages = max(1, -(-len(taken) // PER_PAGE))
    page = min(max(page, 1), pages)
    shown = taken[(page - 1) * PER_PAGE : page * PER_PAGE]
    datasets = list(dict.fromkeys(one.dataset for one in every))
    return Examples(shown, kind, dataset, form, counts, datasets, len(here), len(taken), page, pages)


@lru_cache(maxsize=16)
def _every(path: UPath, _changed: float, labels: tuple[str, ...]) -> tuple[str, list[Example]]:
    table = read_table(path)
    forms = [name.removeprefix("candidate.") for name in table.column_names if name.startswith("candidate.")]
    if not forms or not {"text", "label"} <= set(table.column_names):
        raise ValueError("predictions.parquet has no predictions of the candidate")
    names = {role: f"{role}.{forms[0]}" for role in ("candidate", "champion")}
    answers = {role: _answers(table, name, labels) for role, name in names.items() if name in table.column_names}
    given = table.select([name for name in table.column_names if name in GIVEN]).to_pylist()
    found = [_example(row, {role: said[place] for role, said in answers.items()}) for place, row in enumerate(given)]
    return forms[0], sorted(found, key=lambda one: -(one.candidate.sure or 0))


def _example(row: Mapping[str, Any], said: Mapping[str, tuple[str, float | None]]) -> Example:
    truth = str(row["label"])
    made = {role: Answer(text, sure, text == truth) for role, (text, sure) in said.items()}
    place = (str(row.get("dataset") or ""), str(row.get("source") or ""))
    return Example(conversation.readable(str(row["text"])), truth, *place, made["candidate"], made.get("champion"))


def _answers(table: pa.Table, name: str, labels: tuple[str, ...]) -> list[tuple[str, float | None]]:
    """What a column of predictions says: a label of its probabilities, or the text that it holds."""
    found: list[tuple[str, float | None]] = []
    for value in table[name].to_pylist():
        if isinstance(value, list) and value and all(isinstance(one, float) for one in value):
            best = max(range(len(value)), key=value.__getitem__)
            found.append((labels[best] if len(labels) == len(value) else f"label {best}", float(value[best])))
        elif isinstance(value, list):
            found.append((" ".join(map(str, value)), None))
        else:
            found.append((str(value), None))
    return found
