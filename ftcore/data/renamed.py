"""Rows that came again under another name of their source, and so under other row ids."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot
from ftcore.errors import DataRejectedError

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.store.store import RecipeStore

log = logging.getLogger(__name__)

KNOWN = 0.5
"""Share of a lost source's texts that must have come again for it to count as renamed."""


def warnings(
    shelf: RecipeStore, before: Mapping[str, Any] | None, sources: Collection[str], tables: Iterable[pa.Table]
) -> list[str]:
    """Sentences on sources whose rows are known under another name: a file, or a member of an archive, was renamed.

    Rows are only read where a source of the snapshot before is gone while another one came.

    Args:
        shelf: has the snapshot before.
        before: its manifest; None where there is none.
        sources: names that the rows of the new snapshot carry.
        tables: the new rows.
    """
    if before is None:
        return []
    earlier = set(before.get("sources", ()))
    gone, came = earlier - set(sources), set(sources) - earlier
    if not gone or not came:
        return []
    try:
        lost = _texts(snapshot.batches(shelf, before["snapshot"], columns=["source", "text"]), gone)
    except (DataRejectedError, OSError) as error:  # what happened to an old snapshot stops no new one
        log.warning("%s", error)
        return []
    new = _texts(tables, came)
    return [said for name in sorted(gone) if (said := _renamed(before["snapshot"], name, lost[name], new))]


def _renamed(identity: str, name: str, lost: set[int], new: Mapping[str, set[int]]) -> str:
    """What to say of a source that is gone; empty where its texts are gone, too."""
    again = Counter({other: len(lost & texts) for other, texts in new.items()})
    other, count = again.most_common(1)[0]
    if not lost or count < KNOWN * len(lost):
        return ""
    return (
        f"no row of {name} in snapshot {identity} came again, but {count:,} of its {len(lost):,} texts are new rows of "
        f"{other}: a row's identity holds the name of its source; give the source a `name` that stays when files are "
        "renamed"
    )


def _texts(tables: Iterable[pa.Table], sources: Collection[str]) -> dict[str, set[int]]:
    """64 bits of each text, by source."""
    found: dict[str, set[int]] = {name: set() for name in sources}
    for table in tables:
        for source, text in zip(table["source"].to_pylist(), table["text"].to_pylist(), strict=True):
            if source in found:
                found[source].add(int.from_bytes(hashlib.blake2b((text or "").encode(), digest_size=8).digest()))
    return found
