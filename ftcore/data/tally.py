"""Counts of rows, taken table by table: splits, labels, sources, lengths, days."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from ftcore.data import labels

if TYPE_CHECKING:
    import pyarrow as pa

STEPS = 6
"""Bars from one power of ten of the length to the next."""
MOST_BARS = 48
"""Days, then months, then years are counted, whatever gives no more bars than this."""


@dataclass
class DatasetSummary:
    """What a snapshot looks like as a whole."""

    rows: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    balance: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By split and label."""
    lengths: Counter[int] = field(default_factory=Counter)
    """By characters of the text."""
    days: Counter[date] = field(default_factory=Counter)
    """By day of ``observed_at``; rows that have none are not in it."""
    labelled: bool = True
    """Whether labels are counted; texts that somebody wrote are not."""
    task: Any = None
    """The recipe's task, by which ``by_label`` and ``by_part`` are counted; without it they are empty."""
    by_label: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rows by split and label, for every task with a fixed set of labels."""
    by_part: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rows by split and part of the task."""
    newest: datetime | None = None
    """Latest ``observed_at``; None where no row has one."""

    def add(self, rows: pa.Table) -> None:
        """Count some rows."""
        import pyarrow as pa
        import pyarrow.compute as pc

        self.rows += rows.num_rows
        self.splits.update(_counts(rows["split"]))
        self.sources.update(_counts(rows["source"]))
        if self.labelled:
            self.labels.update(_counts(rows["label"]))
            for (split, label), count in together(rows, "split", "label").items():
                self.balance[split, str(label)] += count
        if self.task is not None:
            self.by_label.update(labels.counts(self.task, rows))
            self.by_part.update(labels.rows_of_parts(self.task, rows))
        self.lengths.update(_counts(pc.utf8_length(rows["text"].drop_null())))
        seen = rows["observed_at"].drop_null()
        self.days.update(_counts(seen.cast(pa.date32(), safe=False)))
        latest = pc.max(seen).as_py()
        if latest and (self.newest is None or latest > self.newest):
            self.newest = latest

    @property
    def shape(self) -> dict[str, Any]:
        """What plots are drawn from, as JSON values.

        Returns:
            ``balance``: rows by split and label; ``lengths``: ``[from, below, rows]`` in characters, the bars' borders
            the same for all snapshots; ``days``: ``[day, month or year, rows]``; ``undated``: rows without a time.
        """
        balance: dict[str, dict[str, int]] = {}
        for (split, label), count in sorted(self.balance.items()):
            balance.setdefault(split, {})[label] = count
        return {
            "balance": balance,
            "lengths": _bars(self.lengths),
            "days": _periods(self.days),
            "undated": self.rows - sum(self.days.values()),
        }


def tally(tables: Iterable[pa.Table], *, labelled: bool = True) -> DatasetSummary:
    """Count all rows of some tables."""
    total = DatasetSummary(labelled=labelled)
    for rows in tables:
        total.add(rows)
    return total


def together(rows: pa.Table, *names: str) -> Counter[tuple[Any, ...]]:
    """Rows by their values in some columns."""
    found = rows.select(names).group_by(list(names)).aggregate([([], "count_all")])
    return Counter({tuple(one[name] for name in names): one["count_all"] for one in found.to_pylist()})


def _counts(column: pa.ChunkedArray) -> dict[Any, int]:
    return {row["values"]: row["counts"] for row in column.value_counts().to_pylist()}


def _bars(lengths: Counter[int]) -> list[list[int]]:
    """Rows by length, in bars as wide as a sixth of a power of ten."""
    if not lengths:
        return []
    edges = [0, 1]
    while edges[-1] <= max(lengths):
        exponent = 1
        while (wider := round(10 ** (exponent / STEPS))) <= edges[-1]:
            exponent += 1
        edges.append(wider)
    counts = [0] * (len(edges) - 1)
    place = 0
    for length, count in sorted(lengths.items()):
        while length >= edges[place + 1]:
            place += 1
        counts[place] += count
    bars = [[low, below, count] for low, below, count in zip(edges, edges[1:], counts, strict=False)]
    first = next(place for place, bar in enumerate(bars) if bar[2])
    return bars[first:]


def _periods(days: Counter[date]) -> list[list[Any]]:
    """Rows by day, month or year; periods between the first and the last without a row are there, too."""
    for form in ("%Y-%m-%d", "%Y-%m", "%Y"):
        counts: Counter[str] = Counter()
        for day, count in days.items():
            counts[day.strftime(form)] += count
        if counts and len(names := _between(min(days), max(days), form)) <= MOST_BARS:
            return [[name, counts[name]] for name in names]
    return [[name, count] for name, count in sorted(counts.items())][-MOST_BARS:]


def _between(first: date, last: date, form: str) -> list[str]:
    if form == "%Y":
        return [str(year) for year in range(first.year, last.year + 1)]
    if form == "%Y-%m":
        months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
        return [f"{month // 12:04d}-{month % 12 + 1:02d}" for month in months]
    return [date.fromordinal(day).isoformat() for day in range(first.toordinal(), last.toordinal() + 1)]
