"""Look at a published snapshot again for the personal data that its recipe removes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot
from ftcore.data.cleaning import groups, phones
from ftcore.data.cleaning.personal import Finding, finder
from ftcore.data.conversations import turns as conversation
from ftcore.recipe.sections import PersonalData

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.data.cleaning.personal import Finder
    from ftcore.store.store import RecipeStore

SHOWN = 20


def audit(shelf: RecipeStore, identity: str) -> dict[str, Any]:
    """Scan every text, group, id and origin of a snapshot: its splits, its quarantine and its review.

    Returns:
        ``snapshot``; ``entities``, what was looked for; ``rows``, texts scanned; ``found``, counts per entity, empty in
        a clean snapshot; ``row_ids`` of up to 20 rows that hold something. Never a value.

    Raises:
        DataRejectedError: there is no such snapshot, or it was changed.
    """
    manifest = snapshot.manifest(shelf, identity)
    config = PersonalData.model_validate(manifest["settings"]["prepare"]["personal_data"])
    look = finder(config, manifest["removed_entities"])
    found: Counter[str] = Counter()
    row_ids: list[str] = []
    scanned = 0
    # A label of a fixed set, or a number, is none that people wrote.
    answers = () if manifest.get("target") in ("label", "labels", "number") else ("label",)
    columns = ("text", "context", *answers, "rejected", "group", "like_text")
    among = phones.sources(_named(_tables(shelf, identity, manifest)), look)
    for table in _tables(shelf, identity, manifest):
        ids = table["row_id"].to_pylist()
        for column in columns:
            if column in table.column_names and table[column].null_count < table.num_rows:
                texts = [text or "" for text in table[column].to_pylist()]
                scanned += len(texts)
                pieces, rows = conversation.flat(texts)
                for place, findings in look.find(pieces).items():
                    found.update(one.entity for one in findings)
                    row_ids.append(ids[rows[place]])
        for place, findings in _traces(table, look, among):
            found.update(one.entity for one in findings)
            row_ids.append(ids[place])
    return {
        "snapshot": identity,
        "entities": list(manifest["removed_entities"]),
        "rows": scanned,
        "found": dict(sorted(found.items())),
        "row_ids": row_ids[:SHOWN],
    }


def _traces(table: pa.Table, look: Finder, among: frozenset[str]) -> Iterator[tuple[int, list[Finding]]]:
    """What the rows' own ids and origins hold, by position, as ``prepare`` looks for it.

    Args:
        table: the rows.
        look: finds it.
        among: sources whose ids are phone numbers.
    """
    if not {"source_id", "origin"} <= set(table.column_names):
        return
    own, origins = table["source_id"].to_pylist(), table["origin"].to_pylist()
    telling = groups.telling(own, look)
    found = {telling[place]: findings for place, findings in look.find(telling).items()}
    yield from ((place, found[one]) for place, one in enumerate(own) if one in found)
    for place, (one, source) in enumerate(zip(own, table["source"].to_pylist(), strict=True)):
        if phones.is_one(one, source, among) and one not in found:
            yield place, [Finding("PHONE_NUMBER", 0, len(one), 1.0)]
    yield from groups.in_origins(origins, own, look)


def _named(tables: Iterator[pa.Table]) -> Iterator[tuple[str | None, str | None]]:
    """Source and own id of each row."""
    for table in tables:
        if "source_id" in table.column_names:
            yield from zip(table["source"].to_pylist(), table["source_id"].to_pylist(), strict=True)


def _tables(shelf: RecipeStore, identity: str, manifest: dict[str, Any]) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    yield from snapshot.batches(shelf, identity)
    for name in ("quarantine.parquet", "review.parquet"):
        if name in manifest["files"]:
            yield pq.read_table(io.BytesIO(snapshot.path(shelf, identity, name).read_bytes()))
