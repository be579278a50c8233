"""The demo's production: people send tweets and product reviews to a model that has only ever read movie reviews."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ftcore.data.sources.vader import Vader
from ftcore.recipe.canonical import sha256

if TYPE_CHECKING:
    from ftcore.context import Context

REQUESTS = {"tweets": 1000, "amazon": 500}
"""Requests by domain."""
LABELLED = 0.6
"""Share of the requests whose true label comes back."""


def write(context: Context, folder: Path, sent: Mapping[str, int]) -> tuple[Path, Path]:
    """Write ``requests.csv`` (request_id, text, group) and ``labels.csv`` (request_id, label) for some of them.

    ``sent`` says how many requests come from each domain.

    Which rows are sent and which labels come back is drawn from the row ids, so that every demo sends the same.
    """
    import pyarrow as pa
    from pyarrow import csv

    rows = []
    for domain, count in sent.items():
        (table,) = Vader.model_validate({"domain": domain}).read(context)
        found = [row for row in table.to_pylist() if row["text"].strip()]
        rows += sorted(found, key=lambda row: sha256(f"request\x00{row['row_id']}"))[:count]
    requests = [{"request_id": row["row_id"], "text": row["text"], "group": row["group"]} for row in rows]
    labels = [{"request_id": row["row_id"], "label": row["label"]} for row in rows if _comes_back(row["row_id"])]
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "requests.csv", folder / "labels.csv"
    for path, content in zip(paths, (requests, labels), strict=True):
        csv.write_csv(pa.Table.from_pylist(content), path)
    return paths


def _comes_back(row_id: str) -> bool:
    return int(sha256(f"label\x00{row_id}")[:8], 16) / 16**8 < LABELLED
