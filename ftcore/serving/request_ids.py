"""Request ids: each names one request, for ever; they are the caller's, and logged as they are."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.data.cleaning import groups, personal, phones
from ftcore.errors import DataRejectedError
from ftcore.store.store import read_table

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.recipe.sections import PersonalData
    from ftcore.store.store import RecipeStore

log = logging.getLogger(__name__)

LOOKED_AT = 1000
"""Request ids of a file that are looked at for personal data."""


def logged(shelf: RecipeStore, identities: Collection[str], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Predictions that have one of the request ids, the oldest first.

    Of the files of the log only the ids are read, and more of those alone that have one of them.

    Args:
        shelf: where the log is.
        identities: request ids.
        columns: what of the predictions is read, besides ``request_id`` and ``at``.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not identities:
        return []
    wanted = pa.array(list(identities), pa.string())
    tables: list[pa.Table] = []
    for file in shelf.log_files("predictions"):
        found = pc.is_in(read_table(file, ["request_id"])["request_id"], value_set=wanted)
        if pc.any(found).as_py():
            tables.append(_read(file, ["request_id", "at", *columns]).filter(found))
    rows = pa.concat_tables(tables, promote_options="default").sort_by("at").to_pylist() if tables else []
    return list(rows)


def check(file: Path, shelf: RecipeStore, rows: Sequence[dict[str, Any]]) -> set[str]:
    """Check that no request id of a file names another request in the log already.

    Args:
        file: what was handed in, for the message.
        shelf: where the log is.
        rows: requests as they will be logged: ``request_id``, ``text``, ``context`` and ``part``.

    Returns:
        The request ids of those that the log has a prediction for.

    Raises:
        DataRejectedError: an id was used with another text; with the time of the first.
    """
    asked = {row["request_id"]: _asked(row) for row in rows}
    first: dict[str, datetime] = {}
    known = logged(shelf, asked, ["text", "context", "part"])
    for row in known:
        if _asked(row) != asked[row["request_id"]]:
            first.setdefault(row["request_id"], row["at"])
    if first:
        raise DataRejectedError(
            f"{file}: {len(first):,} request ids name other requests already",
            [f"request_id {name}: another text, scored at {at:%Y-%m-%d %H:%M:%S}Z" for name, at in first.items()],
            hint="a request id names one request for ever, or labels would come back to the wrong text; "
            "--new-ids makes ids instead of those of the file",
        )
    return {row["request_id"] for row in known}


def warn(file: Path, rows: Sequence[dict[str, Any]], config: PersonalData) -> None:
    """Say once where request ids look like personal data: they stay as they are, since labels come back by them.

    Args:
        file: what was handed in, for the message.
        rows: requests; the first thousand are looked at.
        config: what is personal data.
    """
    finder = personal.finder(config, [entity for entity, action in config.actions.items() if action != "keep"])
    some = [row["request_id"] for row in rows[:LOOKED_AT]]
    among = phones.sources((("", one) for one in some), finder)
    if found := len({*groups.telling(some, finder), *(one for one in some if phones.is_one(one, "", among))}):
        log.warning(
            "%s: %s of the first %s request ids look like personal data; the prediction log keeps the caller's ids as "
            "they are: --new-ids makes others",
            file, f"{found:,}", f"{min(len(rows), LOOKED_AT):,}",
        )  # fmt: skip


def _asked(row: dict[str, Any]) -> tuple[str | None, ...]:
    return row["text"], row["context"], row["part"]


def _read(file: Any, columns: list[str]) -> pa.Table:
    """Columns of a file of the log; what one of an earlier version does not have is null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with file.open("rb") as opened:
        there = pq.ParquetFile(opened).schema_arrow.names
    table = read_table(file, [name for name in columns if name in there])
    for name in columns:
        if name not in there:
            table = table.append_column(name, pa.nulls(table.num_rows))
    return table.select(columns)
