"""True labels that production collected, joined to the predictions they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftcore.data import snapshot
from ftcore.data.sources import _labels
from ftcore.data.sources._base import Source

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.context import Context


class Feedback(Source):
    """The recipe's own feedback log."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "feedback"}

    kind: Literal["feedback"] = "feedback"

    def tables(self, context: Context) -> Iterator[pa.Table]:
        """Every labelled prediction as a row; where a request was labelled twice, the later label counts.

        A label belongs to the newest prediction of its request that is not younger than the label. Where a task has
        several parts, the source of a row also names its part. One table a file of the prediction log; only the labels
        are held in memory.
        """
        import pyarrow as pa

        for requests in _labels.joined(context.shelf):
            rows = [
                {
                    "row_id": snapshot.row_id("feedback", request["key"]),
                    "text": request["text"],
                    "context": request.get("context"),
                    "label": request["label"],
                    "source": f"feedback:{request['part']}" if request.get("part") else "feedback",
                    "source_id": request["request_id"],
                    "origin": f"feedback on the request {request['request_id']}",
                    "group": snapshot.source_key(request["group"]) if request["group"] else None,
                    "split_key": request.get("split_key"),
                    "observed_at": request["at"],
                }
                for request in requests
            ]
            yield pa.Table.from_pylist(rows, schema=snapshot.schema())
