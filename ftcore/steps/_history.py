"""What the snapshot before says of rows and texts that come again: where they have been, there they stay.

A row keeps the split key with which it was published, whatever became of its text or group since; a text keeps the one
of the row that it was published with, although another row, of another group, brings it now. Only where the recipe
ties a source's rows together by something else than before are they drawn anew.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftcore import snapshot
from ftcore.context import log
from ftcore.errors import DataRejectedError
from ftcore.records import sha256
from ftcore.sections import Prepare

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from ftcore.sections import Part
    from ftcore.split import SplitKeys
    from ftcore.store import Shelf

UNREADABLE = "rows are drawn without looking at where they have been: %s"
GROUPED = "grouped_by"
"""Figure of ``ingest``, and key of the manifest: what ties the rows of each source together."""


@dataclass
class Published:
    """Rows of a snapshot, 16 bytes each, in the order of their ids."""

    row: NDArray[np.uint64]
    """First 64 bits of each row id."""
    key: NDArray[np.uint64]
    """Split key."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    redrawn: Counter[str] = field(default_factory=Counter)
    """By source, how many rows have another key than they were published with, as they are grouped otherwise."""

    def keep(self, rows: pa.Table, grouped_by: Mapping[str, str]) -> pa.Table:
        """Rows with the split keys that they were published with; all others keep the key that they have.

        Args:
            rows: with a split key each.
            grouped_by: what ties the rows of each source together now.
        """
        import numpy as np
        import pyarrow as pa

        if not rows.num_rows or not len(self.row):
            return rows
        ids = row_numbers(rows["row_id"].to_pylist())
        place = np.minimum(np.searchsorted(self.row, ids), len(self.row) - 1)
        there = self.row[place] == ids
        keys = rows["split_key"].to_pylist()
        differs = np.flatnonzero(there & (self.key[place] != key_numbers(keys)))
        if not len(differs):
            return rows
        sources = rows["source"].to_pylist()
        for number in differs.tolist():
            if self._grouped_otherwise(sources[number], grouped_by):
                self.redrawn[sources[number]] += 1
            else:
                keys[number] = f"{int(self.key[place[number]]):016x}"
        column = rows.column_names.index("split_key")
        return rows.set_column(column, rows.schema.field("split_key"), pa.array(keys, pa.string()))

    def _grouped_otherwise(self, source: str, now: Mapping[str, str]) -> bool:
        was = (self.manifest.get(GROUPED) or {}).get(source)
        return was is not None and was != now.get(source)


@dataclass
class Texts:
    """What a snapshot's rows say, as far as it decides where texts belong; 32 bytes a row."""

    row: NDArray[np.uint64]
    text: NDArray[np.uint64]
    """64 bits of what rows share that say the same: see ``exact.Index``."""
    prompt: NDArray[np.uint64]
    """The same of what a model is given, without its answer."""
    key: NDArray[np.uint64]


def row_numbers(row_ids: Sequence[str | bytes]) -> NDArray[np.uint64]:
    """The first 64 bits of each row id."""
    import numpy as np

    try:
        return np.fromiter((int(row[:16], 16) for row in row_ids), np.uint64, len(row_ids))
    except (TypeError, ValueError):  # a source with ids of its own making, or none
        hashed = (sha256(row if isinstance(row, str) else (row or b"").decode()) for row in row_ids)
        return np.fromiter((int(one[:16], 16) for one in hashed), np.uint64, len(row_ids))


def key_numbers(keys: list[str]) -> NDArray[np.uint64]:
    """Split keys as numbers, which are their 64 bits."""
    import numpy as np

    return np.fromiter((int(key, 16) for key in keys), np.uint64, len(keys))


def group_numbers(groups: Sequence[str | None], keys: SplitKeys) -> NDArray[np.uint64]:
    """64 bits of each row's group; 0 where it has none."""
    import numpy as np

    known = {group: int(keys.of_group(group) or "0", 16) for group in set(groups)}
    return np.fromiter((known[group] for group in groups), np.uint64, len(groups))


def grouped_by(source: Part, names: list[str]) -> dict[str, str]:
    """What ties together the rows of a source, by the names that they carry."""
    spec = [getattr(source, name, None) for name in ("group", "group_scope")]
    return dict.fromkeys(names, json.dumps(spec))


def published(shelf: Shelf, keys: SplitKeys, identity: str | None) -> Published | None:
    """Split keys of a snapshot's rows; rows of an earlier version get keys that fit them.

    Returns:
        None where there is no snapshot, or it was damaged: a new one is published all the same. Only rows whose text or
        group changed since may be drawn elsewhere then; all others have the same keys anew.
    """
    try:
        return None if identity is None else _published(shelf, keys, identity)
    except (DataRejectedError, OSError) as error:
        log.warning(UNREADABLE, error)
        return None


def _published(shelf: Shelf, keys: SplitKeys, identity: str) -> Published:
    import numpy as np

    manifest = snapshot.manifest(shelf, identity)
    rows, made = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for table in snapshot.batches(shelf, identity, columns=["row_id", "group", "split_key", "split"]):
        rows.append(row_numbers(table["row_id"].to_pylist()))
        made.append(_keys_of(table, keys, manifest))
    row = np.concatenate(rows)
    order = np.argsort(row, kind="stable")
    return Published(row[order], np.concatenate(made)[order], manifest)


def texts(shelf: Shelf, keys: SplitKeys, identity: str, said: Callable[[pa.Table], tuple[Any, Any]]) -> Texts:
    """What each row of a snapshot says.

    Args:
        shelf: the recipe's part of the store.
        keys: the recipe's split keys.
        identity: the snapshot.
        said: gives of a table's rows 64 bits of their text and of their prompt.
    """
    import numpy as np

    manifest, empty = snapshot.manifest(shelf, identity), np.empty(0, np.uint64)
    columns: list[tuple[Any, ...]] = [(empty,) * 4]
    wanted = ["row_id", *snapshot.TEXTS, "source", "group", "split_key", "split"]
    columns += (
        (row_numbers(table["row_id"].to_pylist()), *said(table), _keys_of(table, keys, manifest))
        for table in snapshot.batches(shelf, identity, columns=wanted)
    )
    return Texts(*map(np.concatenate, zip(*columns, strict=True)))


def current(shelf: Shelf) -> str | None:
    """Id of the snapshot whose rows stay where they are: the current one, if it is still there."""
    identity = snapshot.current(shelf)
    if identity and not (snapshot.folder(shelf, identity) / "manifest.json").exists():
        log.warning(UNREADABLE, f"snapshot {identity} is gone")
        return None
    return identity


def _keys_of(table: pa.Table, keys: SplitKeys, manifest: Mapping[str, Any]) -> NDArray[np.uint64]:
    given = table["split_key"].to_pylist()
    if not all(given):
        shares = _shares(manifest)
        more = zip(*(table[name].to_pylist() for name in ("split", "group", "row_id")), strict=True)
        given = [
            key or keys.within(name or "train", group or row, shares)
            for key, (name, group, row) in zip(given, more, strict=True)
        ]
    return key_numbers(given)


def _shares(manifest: Mapping[str, Any]) -> Prepare:
    """Shares with which a snapshot was drawn."""
    settings = (manifest.get("settings") or {}).get("prepare") or {}
    return Prepare(**{name: settings[name] for name in ("validation", "test") if name in settings})
