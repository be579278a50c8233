"""What this source reads, in one sentence: it is what `ftcore ls` shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from ftcore.data import snapshot
from ftcore.data.sources._mapping import Sampled, sampled

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.context import Context

EXAMPLE = {"kind": "NAME", "where": "somewhere"}


class Config(Sampled):
    """What a recipe says about this source."""

    kind: Literal["NAME"] = "NAME"
    where: str
    """Say what it means and in which unit."""


def read(config: Config, context: Context) -> Iterator[pa.Table]:
    """Rows as tables with the columns of ``snapshot.schema()``; yield as they come, rather than all at once.

    Raises:
        NotFoundError: what is read from is not there.
        DataRejectedError: what is there cannot be read.
    """
    import pyarrow as pa

    text = f"one row from {config.where}"
    row = {"row_id": snapshot.row_id("NAME", text), "text": text, "label": None, "source": "NAME"}
    rows = pa.Table.from_pylist([row | {"group": None, "observed_at": None}], schema=snapshot.schema())
    # A source that can be divided among workers also has ``shards`` and ``read_shard``, as ``files`` does.
    yield from sampled(config, [rows])  # weight and max_rows; a source of columns starts from Mapped and Mapper
