"""What this source reads, in one sentence: it is what `ftcore ls` shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftcore.data import snapshot
from ftcore.data.sources._base import Source

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.context import Context


class Template(Source):
    """What a recipe says about this source."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "NAME", "where": "somewhere"}

    kind: Literal["NAME"] = "NAME"
    where: str
    """Say what it means and in which unit."""

    def tables(self, context: Context) -> Iterator[pa.Table]:
        """All rows, as tables with the columns of ``snapshot.schema()``; as they come, rather than all at once.

        Raises:
            NotFoundError: what is read from is not there.
            DataRejectedError: what is there cannot be read.
        """
        import pyarrow as pa

        text = f"one row from {self.where}"
        row = {"row_id": snapshot.row_id("NAME", text), "text": text, "label": None, "source": "NAME"}
        rows = pa.Table.from_pylist([row | {"group": None, "observed_at": None}], schema=snapshot.schema())
        yield rows  # a source of columns inherits from Mapped
