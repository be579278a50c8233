"""True labels that production collected, joined to the predictions they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from ftcore import snapshot
from ftcore.sources._mapping import Sampled, sampled
from ftcore.store import read_table

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.context import Context

EXAMPLE = {"kind": "feedback"}


class Config(Sampled):
    """The recipe's own feedback log."""

    kind: Literal["feedback"] = "feedback"


def read(config: Config, context: Context) -> Iterator[pa.Table]:
    """Every labelled prediction as a row; where a request was labelled twice, the later label counts.

    Where a task has several parts, the source of a row also names the one that was asked.
    """
    yield from sampled(config, _tables(context))


def _tables(context: Context) -> Iterator[pa.Table]:
    """One table a file of the prediction log; only the labels are held in memory."""
    import pyarrow as pa

    feedback = context.shelf.read_log("feedback")
    if feedback is None:
        return
    labels = {row["request_id"]: row["label"] for row in feedback.sort_by("at").to_pylist()}
    for file in context.shelf.log_files("predictions"):
        rows = [
            {
                "row_id": snapshot.row_id("feedback", request["request_id"]),
                "text": request["text"],
                "context": request.get("context"),
                "label": labels[request["request_id"]],
                "source": f"feedback:{request['part']}" if request.get("part") else "feedback",
                "group": snapshot.source_key(request["group"]) if request["group"] else None,
                "split_key": request.get("split_key"),
                "observed_at": request["at"],
            }
            for request in read_table(file).to_pylist()
            if request["request_id"] in labels
        ]
        if rows:
            yield pa.Table.from_pylist(rows, schema=snapshot.schema())
