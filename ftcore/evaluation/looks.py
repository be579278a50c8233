"""Which rows earlier verdicts judged on, so that the error rate of promotion holds over the life of a champion.

::

    STORE/RECIPE/looks/champion-N/ID.parquet     one look: the groups of rows that it judged on, as hashes
    STORE/RECIPE/ledger/look--RUN--ID.json       that it was taken, and how many were taken before it

A look is one comparison of one candidate with one champion on some rows. Made again it is the same look, in whatever
run; another candidate, other rows or other settings of the comparison make another one. Its ID is the hash of all
these, so that a file says by itself whether it is what was written. A group is known by a hash of its split key, or of
its row id where it has none.

Nothing that is lost or changed by hand gives error rate back. Looks are known from three places that are written apart:
the files, the ledger's lines, and the candidates that were judged against the champion by the verdicts in ledger and
registry. A look whose rows are not known any more counts for all rows, and the verdict says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ftcore.recipe.canonical import canonical
from ftcore.store.store import log, write_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from upath import UPath

    from ftcore.store.store import RecipeStore

KIND = "look"
"""Of the ledger's lines, and name of the lock."""
ABOUT = b"ftcore.look"
"""Metadata of a file: ``[candidate, champion, how]`` as JSON."""


@dataclass(frozen=True)
class Look:
    """A comparison of a candidate with a champion on some rows."""

    candidate: int
    champion: int
    how: str
    """All else that makes it this comparison: the settings of the gates that compare, and which part of the rows."""
    hashes: NDArray[np.uint64]
    """Of each row's group, ``[rows]``; a file has each group once."""

    @classmethod
    def at(cls, candidate: int, champion: int, how: str, keys: Sequence[str]) -> Look:
        """The look at some rows; ``keys`` name each row's group, or the row itself, ``[rows]``."""
        import numpy as np

        hashes = [int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) for key in keys]
        return cls(candidate, champion, how, np.array(hashes, np.uint64))

    @property
    def about(self) -> str:
        """What is compared and how, as JSON."""
        return canonical([self.candidate, self.champion, self.how])

    @cached_property
    def groups(self) -> NDArray[np.uint64]:
        """Each group once, in order."""
        import numpy as np

        return np.unique(self.hashes)

    @cached_property
    def identity(self) -> str:
        """The same for the same comparison of the same candidate on the same groups of rows."""
        return hashlib.sha256(self.about.encode() + self.groups.tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Before:
    """What there was before a look."""

    counts: NDArray[np.int_]
    """Earlier looks against the same champion at each row's group, ``[rows]``."""
    lost: tuple[str, ...] = ()
    """Earlier looks whose rows are not known any more, named for people; each counts for all rows."""


def take(shelf: RecipeStore, run_id: str, look: Look, judged: Collection[int], timeout_s: float) -> Before:
    """Count a look, once, and say what there was before it.

    Args:
        shelf: the recipe's part of the store.
        run_id: of the verdict, for the ledger.
        look: what is looked at.
        judged: candidates that were judged against this champion, as far as ledger and registry know.
        timeout_s: seconds to wait for another process that counts.

    Raises:
        BusyError: another process counts, and does not come to an end.
    """
    with shelf.lock(KIND, timeout_s):
        lines = {str(line.get("look")): line for line in shelf.ledger(KIND) if line.get("champion") == look.champion}
        files = _files(shelf, look.champion)
        order = {name: (int(line.get("number", 0)), name) for name, line in lines.items()}
        number, _ = order.get(look.identity, (1 + max(order.values(), default=(0, ""))[0], ""))
        earlier = {name for name in {*lines, *files} if name not in order or order[name] < (number, look.identity)}
        known = {name: files.get(name) for name in sorted(earlier - {look.identity})}
        found = _counted(look, known, lines, judged)
        if files.get(look.identity) is None:
            _write(_folder(shelf, look.champion) / f"{look.identity}.parquet", look)
        if look.identity not in lines:
            _note(shelf, run_id, look, number, found)
    if found.lost:
        log.warning("%s: counted for all rows, since it is not known any more which", ", ".join(found.lost))
    return found


def _counted(
    look: Look, known: dict[str, Look | None], lines: dict[str, dict[str, Any]], judged: Collection[int]
) -> Before:
    """Earlier looks at each row: those whose rows are known, and those that are lost, which count for all."""
    import numpy as np

    there = [one for one in known.values() if one is not None]
    lost = [f"look {name} (version {lines.get(name, {}).get('candidate', '?')})" for name in known if not known[name]]
    accounted = {one.candidate for one in there} | {line.get("candidate") for line in lines.values()}
    lost += [f"the look at version {one}" for one in sorted({*judged} - accounted - {look.candidate})]
    counts = np.full(len(look.hashes), len(lost))
    for one in there:
        counts += np.isin(look.hashes, one.groups)
    return Before(counts, tuple(lost))


def _folder(shelf: RecipeStore, champion: int) -> UPath:
    return shelf.root / "looks" / f"champion-{champion}"


def _files(shelf: RecipeStore, champion: int) -> dict[str, Look | None]:
    """Every look of which there is a file, by its identity; None where the file is not what was written."""
    folder = _folder(shelf, champion)
    paths = [path for path in folder.iterdir() if path.suffix == ".parquet"] if folder.exists() else []
    return {path.stem: _read(path) for path in paths}


def _read(path: UPath) -> Look | None:
    import io

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = path.read_bytes()  # a store that does not answer is an error, a damaged file is none
    try:
        table = pq.read_table(io.BytesIO(data), columns=["key"])
        candidate, champion, how = json.loads(table.schema.metadata[ABOUT])
        look = Look(candidate, champion, how, table["key"].to_numpy().astype(np.uint64))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return None
    return look if look.identity == path.stem else None


def _write(path: UPath, look: Look) -> None:
    import pyarrow as pa

    table = pa.table({"key": pa.array(look.groups, pa.uint64())})
    write_table(path, table.replace_schema_metadata({ABOUT: look.about}))


def _note(shelf: RecipeStore, run_id: str, look: Look, number: int, before: Before) -> None:
    """Write the ledger's line."""
    share = 1 + float(before.counts.mean()) if len(before.counts) else 1.0
    reason = (
        f"version {look.candidate} is compared with champion {look.champion} on {len(look.hashes):,} rows in "
        f"{len(look.groups):,} groups: look {share:.3g} at these rows"
    )
    facts = {"look": look.identity, "number": number, "candidate": look.candidate, "champion": look.champion}
    lost = {"lost": list(before.lost)} if before.lost else {}
    shelf.add_to_ledger(KIND, run_id, "counted", reason, key=look.identity, **facts, **lost)
