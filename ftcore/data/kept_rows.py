"""The rows of a draft that its suite leaves, table by table; no more than one part's worth is held at once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot
from ftcore.data.tally import DatasetSummary
from ftcore.store import parts

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from upath import UPath

    from ftcore.recipe.sections import Task


@dataclass(frozen=True)
class Kept:
    """A draft's rows without those that failed."""

    source: UPath
    """Folder of the rows that ``prepare`` wrote."""
    failures: dict[int, list[str]] = field(default_factory=dict)
    """Why rows are left out, by their positions."""

    def tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Rows that stay; some columns of them, or all."""
        for rows, failed in self._tables(columns):
            yield _without(rows, failed)

    def frame(self, columns: list[str]) -> pd.DataFrame:
        """Rows that stay, as Great Expectations takes them."""
        # All at once: frames of the parts would be copied to be joined. Equal values of a column are one object.
        return concatenated(self.tables(columns)).select(columns).to_pandas(split_blocks=True, self_destruct=True)

    def look(self, task: Task) -> tuple[pa.Table, DatasetSummary]:
        """The rows that failed, each with its reasons, and counts of those that stay.

        Args:
            task: the recipe's.
        """
        import pyarrow as pa

        tally, moved = DatasetSummary(labelled=task.TARGET == "label", task=task), []
        schema = snapshot.schema().append(pa.field("reason", pa.string()))
        for rows, failed in self._tables():
            tally.add(_without(rows, failed))
            reasons = pa.array(["; ".join(failed[place]) for place in sorted(failed)], pa.string())
            taken = rows.take(pa.array(sorted(failed), pa.int64())).drop_columns(["split"])
            moved.append(taken.append_column("reason", reasons).cast(schema))
        return concatenated([schema.empty_table(), *moved]), tally

    def content(self, prepared: Mapping[str, Any], written: str) -> str | None:
        """Id of the snapshot of these rows, where ``prepare`` made it of the very same; None where it must be made.

        Args:
            prepared: figures of ``prepare``.
            written: hash of the parts that are there, see ``parts.digest``.
        """
        return prepared["content"] if not self.failures and prepared.get("parts") == written else None

    def _tables(self, columns: list[str] | None = None) -> Iterator[tuple[pa.Table, dict[int, list[str]]]]:
        start, positions = 0, sorted(self.failures)
        for rows in parts.read(self.source, columns):
            here = positions[bisect_left(positions, start) : bisect_left(positions, start + rows.num_rows)]
            yield rows, {place - start: self.failures[place] for place in here}
            start += rows.num_rows


def concatenated(tables: Iterable[pa.Table]) -> pa.Table:
    """One table of several."""
    import pyarrow as pa

    return pa.concat_tables(tables)


def _without(rows: pa.Table, failed: Mapping[int, list[str]]) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    if not failed:
        return rows
    stays = np.ones(rows.num_rows, bool)
    stays[list(failed)] = False
    return rows.filter(pa.array(stays))
