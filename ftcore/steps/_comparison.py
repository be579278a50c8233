"""A new snapshot beside the one before it: label shares, volume, age."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ftcore.snapshot import label_shares

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.sections import Validation


@dataclass
class Tally:
    """Counts of rows, taken table by table."""

    rows: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    labelled: bool = True
    """Whether labels are counted; texts that somebody wrote are not."""
    newest: datetime | None = None
    """Latest ``observed_at``; None where no row has one."""

    def add(self, rows: pa.Table) -> None:
        """Count some rows."""
        import pyarrow.compute as pc

        self.rows += rows.num_rows
        counters = {"split": self.splits, "source": self.sources} | ({"label": self.labels} if self.labelled else {})
        for name, counter in counters.items():
            counter.update({row["values"]: row["counts"] for row in rows[name].value_counts().to_pylist()})
        latest = pc.max(rows["observed_at"]).as_py()
        if latest and (self.newest is None or latest > self.newest):
            self.newest = latest


@dataclass
class Odd:
    """What is unusual about a snapshot, a sentence with numbers each."""

    rejections: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def odd(limits: Validation, before: dict[str, Any] | None, tally: Tally, at: datetime) -> Odd:
    """Compare with the snapshot before and with the clock.

    Args:
        limits: what the recipe allows.
        before: manifest of the snapshot before; None for the first one, which has nothing to differ from.
        tally: counts of the new one.
        at: the time now.
    """
    found = Odd()
    changed = found.rejections if limits.change.on_failure == "reject" else found.warnings
    if before:
        changed += _moved(limits, before, tally) + _shrunk(limits, before, tally)
    if limits.max_age_days is not None:
        stale = found.rejections if limits.on_stale == "reject" else found.warnings
        if tally.newest is None:
            stale.append("no row says when it was observed, so nobody can tell how old the data is")
        elif (age := (at - tally.newest).total_seconds() / 86_400) > limits.max_age_days:
            stale.append(f"the newest row is {age:.1f} days old, {limits.max_age_days:g} are allowed")
    return found


def _moved(limits: Validation, before: dict[str, Any], tally: Tally) -> list[str]:
    if limits.change.label_share is None:
        return []
    old, new = label_shares(before["labels"]), label_shares(tally.labels)
    return [
        f"the share of label {label!r} went from {old.get(label, 0):.1%} in snapshot {before['snapshot']} to "
        f"{new.get(label, 0):.1%}, a change of {limits.change.label_share:.1%} is allowed"
        for label in sorted({*old, *new})
        if abs(new.get(label, 0) - old.get(label, 0)) > limits.change.label_share
    ]


def _shrunk(limits: Validation, before: dict[str, Any], tally: Tally) -> list[str]:
    if limits.change.fewer_rows is None or not before["rows"]:
        return []
    gone = 1 - tally.rows / before["rows"]
    if gone <= limits.change.fewer_rows:
        return []
    return [
        f"{tally.rows:,} rows, {gone:.1%} fewer than the {before['rows']:,} of snapshot {before['snapshot']}, "
        f"{limits.change.fewer_rows:.1%} fewer are allowed"
    ]
