"""True labels that production collected, joined to the predictions they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from ftcore import snapshot
from ftcore._find import Config as Base

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.context import Context

EXAMPLE = {"kind": "feedback"}


class Config(Base):
    """The recipe's own feedback log; it takes no settings."""

    kind: Literal["feedback"] = "feedback"


def read(config: Config, context: Context) -> Iterator[pa.Table]:
    """Every labelled prediction as a row; where a request was labelled twice, the later label counts."""
    import pyarrow as pa

    del config
    predictions = context.shelf.read_log("predictions")
    feedback = context.shelf.read_log("feedback")
    if predictions is None or feedback is None:
        return
    labels = {row["request_id"]: row["label"] for row in feedback.sort_by("at").to_pylist()}
    rows = [
        {
            "row_id": snapshot.row_id("feedback", request["request_id"]),
            "text": request["text"],
            "label": labels[request["request_id"]],
            "source": "feedback",
            "group": request["group"],
            "observed_at": request["at"],
        }
        for request in predictions.select(["request_id", "text", "group", "at"]).to_pylist()
        if request["request_id"] in labels
    ]
    yield pa.Table.from_pylist(rows, schema=snapshot.schema())
