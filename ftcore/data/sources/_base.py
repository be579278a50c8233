"""What every source has: rows, and a name that they carry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from ftcore.data import snapshot
from ftcore.data.credentials import holds_secret
from ftcore.recipe.kinds import Config

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from ftcore.context import Context
    from ftcore.data.sources._options import Mapped
    from ftcore.data.watermarks import Cursor


class Source(Config, ABC):
    """Where rows come from; its fields are what a recipe may set. Which rows are taken, only their row ids decide."""

    EXAMPLE: ClassVar[dict[str, Any]]
    """A valid entry of a recipe's ``sources``."""
    kind: str
    weight: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the rows that are taken, 0 to 1. A row that is in at one weight is in at every larger one."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """Take only this many rows: those with the lowest row ids, so that the choice does not depend on their order."""

    @model_validator(mode="before")
    @classmethod
    def _keeps_no_secret(cls, values: Any) -> Any:
        # Raised on the whole mapping: a fault of one field would repeat the field's value in its message.
        if holds_secret(values):
            raise ValueError(
                "holds a URL with credentials; they belong into the environment, such as FTCORE_CONNECTION_NAME"
            )
        return values

    @abstractmethod
    def tables(self, context: Context) -> Iterator[pa.Table]:
        """All rows, as tables with the columns of ``snapshot.schema()``; as they come, some thousands at a time.

        Raises:
            FtcoreError: what is read from is not there, or not installed.
            DataRejectedError: what is there cannot be read, or lacks a column.
            TransientError: a server does not answer.
        """

    def read(self, context: Context) -> Iterator[pa.Table]:
        """The rows that ``weight`` and ``max_rows`` let through.

        Raises:
            As ``tables``.
        """
        return self.sampled(self.tables(context))

    def source_name(self) -> str | None:
        """Name that all rows of this source carry; None where they carry several."""
        return None

    @property
    def mapping(self) -> Mapped | None:
        """The source itself where a recipe maps its columns to fields; None where rows come with their fields."""
        return None

    @property
    def location(self) -> str | None:
        """Path or URL that is read; None where it is no file or folder."""
        return None

    @property
    def incremental(self) -> bool:
        """Whether ``read_since`` reads only what is new."""
        return False

    def read_since(self, context: Context, cursor: Cursor) -> Iterator[pa.Table]:
        """Rows from a cursor on; ``cursor.reached`` and ``cursor.deleted`` follow.

        Raises:
            As ``read``.
        """
        return self.read(context)

    def present(self, context: Context) -> Iterator[list[str]] | None:
        """Row ids of all that the source holds now, some thousands at a time; None where rows that are gone are kept.

        Raises:
            As ``read``.
        """
        return None

    def shards(self, context: Context) -> list[tuple[str, list[str]]]:
        """Pieces that several workers can read, in groups of about one size, each with a name; fewer than two: one can.

        Raises:
            As ``read``.
        """
        return []

    def read_shard(self, context: Context, pieces: Sequence[str]) -> Iterator[pa.Table]:
        """Rows of one group of ``shards``; all groups in order are what ``read`` reads.

        Raises:
            As ``read``.
        """
        raise NotImplementedError(f"{self.kind} has no shards")

    def missing(self, folder: Path) -> str:
        """Why there is nothing to read on this machine, as far as a look tells; empty where there is.

        Args:
            folder: the recipe's.
        """
        return ""

    def identity(self) -> dict[str, Any]:
        """What is read, without how its columns are mapped and how many rows are taken."""
        shared = {name for base in type(self).__mro__[1:] for name in getattr(base, "model_fields", ())}
        return self.model_dump(mode="json", exclude=shared - {"kind"})

    def sampled(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The rows that ``weight`` and ``max_rows`` let through; holds twice ``max_rows`` rows at most.

        With ``max_rows`` the rows come in the order of their row ids, else as they came.
        """
        import pyarrow as pa

        if self.weight < 1:
            limit = f"{int(self.weight * 16**13):013x}"
            tables = (t.filter(pa.array([i[:13] < limit for i in t["row_id"].to_pylist()], pa.bool_())) for t in tables)
        if self.max_rows is None:
            yield from tables
            return
        kept, waiting = snapshot.schema().empty_table(), 0
        for table in tables:
            kept, waiting = pa.concat_tables([kept, table]), waiting + table.num_rows
            if waiting >= max(self.max_rows, 50_000):
                kept, waiting = _lowest(kept, self.max_rows), 0
        yield _lowest(kept, self.max_rows)


def _lowest(table: pa.Table, count: int) -> pa.Table:
    import pyarrow.compute as pc

    return table.take(pc.sort_indices(table, [("row_id", "ascending")])[:count]).combine_chunks()
