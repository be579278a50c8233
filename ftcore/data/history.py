"""What the snapshot before says of rows and texts that come again: where they have been, there they stay.

A row keeps the split key with which it was published, whatever became of its text or its group since. Where both are
others, its id was given to another row; and where the recipe ties a source's rows together by something else than
before, they are drawn anew.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot, split_keys
from ftcore.errors import DataRejectedError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from ftcore.data.split import SplitKeys
    from ftcore.data.split_keys import Keys
    from ftcore.recipe.sections import Source
    from ftcore.store.store import RecipeStore

log = logging.getLogger(__name__)

UNREADABLE = "rows are drawn without looking at where they have been: %s"
GROUPED = "grouped_by"
"""Figure of ``ingest``, and key of the manifest: what ties the rows of each source together."""


@dataclass
class Published:
    """Keys of all rows that were published, and what tied the rows of the current snapshot together."""

    keys: Keys
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """Of the current snapshot; empty where it cannot be read."""
    redrawn: Counter[str] = field(default_factory=Counter)
    """By source, how many rows have another key than they were published with, as they are grouped otherwise."""
    reused: Counter[str] = field(default_factory=Counter)
    """By source, how many rows are others than those that were published under their ids."""

    def keep(self, rows: pa.Table, said: NDArray[np.uint64], grouped_by: Mapping[str, str]) -> pa.Table:
        """Rows with the split keys that they were published with; all others keep the key that they have.

        Args:
            rows: with a split key each.
            said: see ``_keys.said``; a row whose text and group are both others is another row.
            grouped_by: what ties the rows of each source together now.
        """
        import numpy as np
        import pyarrow as pa

        if not rows.num_rows:
            return rows
        there, place = self.keys.among(split_keys.row_numbers(rows["row_id"]))
        differs = np.flatnonzero(there)
        differs = differs[self.keys.key[place[differs]] != split_keys.key_numbers(rows["split_key"])[differs]]
        if not len(differs):
            return rows
        keys, sources = rows["split_key"].to_pylist(), rows["source"].to_pylist()
        for number in differs.tolist():
            if self._grouped_otherwise(sources[number], grouped_by):
                self.redrawn[sources[number]] += 1
            elif split_keys.other_row(int(self.keys.said[place[number]]), int(said[number])):
                self.reused[sources[number]] += 1
            else:
                keys[number] = f"{int(self.keys.key[place[number]]):016x}"
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


def grouped_by(source: Source, names: list[str]) -> dict[str, str]:
    """What ties together the rows of a source, by the names that they carry."""
    mapping = source.mapping
    spec = [mapping.group, mapping.group_scope] if mapping else [None, None]
    return dict.fromkeys(names, json.dumps(spec))


def published(shelf: RecipeStore, keys: SplitKeys, identity: str | None) -> Published | None:
    """Split keys of all rows that were published; rows of an earlier version get keys that fit them.

    Returns:
        None where no row was ever published. Where the current snapshot is damaged, a new one is published all the
        same, with what is known beside it.
    """
    known, manifest = split_keys.load(shelf, keys), dict[str, Any]()
    if identity is not None:
        try:
            known, manifest = (
                known.with_(split_keys.keys_of_snapshot(shelf, keys, identity)),
                snapshot.manifest(shelf, identity, proven=True),
            )
        except (DataRejectedError, OSError) as error:
            log.warning(UNREADABLE, error)
    return Published(known, manifest) if len(known.row) or manifest else None


def texts(shelf: RecipeStore, keys: SplitKeys, identity: str, said: Callable[[pa.Table], tuple[Any, Any]]) -> Texts:
    """What each row of a snapshot says.

    Args:
        shelf: the recipe's part of the store.
        keys: the recipe's split keys.
        identity: the snapshot.
        said: gives of a table's rows 64 bits of their text and of their prompt.
    """
    import numpy as np

    manifest, empty = snapshot.manifest(shelf, identity, proven=True), np.empty(0, np.uint64)
    columns: list[tuple[Any, ...]] = [(empty,) * 4]
    wanted = ["row_id", *snapshot.TEXTS, "source", "group", "split_key", "split"]
    columns += (
        (split_keys.row_numbers(table["row_id"]), *said(table), split_keys.key_numbers_of(table, keys, manifest))
        for table in snapshot.batches(shelf, identity, columns=wanted)
    )
    return Texts(*map(np.concatenate, zip(*columns, strict=True)))


def current(shelf: RecipeStore) -> str | None:
    """Id of the snapshot whose rows stay where they are: the current one, if it is still there."""
    identity = snapshot.current(shelf)
    if identity and not (snapshot.folder(shelf, identity) / "manifest.json").exists():
        log.warning(UNREADABLE, f"snapshot {identity} is gone")
        return None
    return identity
