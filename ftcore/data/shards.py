"""How the reading of a recipe's sources is divided, so that many workers can share it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ftcore.context import Context
from ftcore.data import snapshot
from ftcore.errors import FtcoreError
from ftcore.recipe import source_names as _source_names
from ftcore.store.store import digest, read_json

if TYPE_CHECKING:
    from upath import UPath

NAMES = "names.json"
"""In the folder of ``ingest``, or of a shard: files that patterns found, and archives, by their name."""
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Shard:
    """What one worker reads: a source, or some of its pieces."""

    key: str
    """Names it in the run: number and kind of the source, then number and name of its piece; fit for a path."""
    source: int
    """Position among the recipe's sources."""
    pieces: tuple[str, ...] = ()
    """What the source called them, such as paths; empty means the whole source."""


def divided(context: Context) -> list[Shard]:
    """The shards of every source, in the order in which an undivided ingest reads them.

    A source may offer several, see ``shards``; all others are one.

    Raises:
        NotFoundError: what a source reads from is not there.
        TransientError: a server does not answer.
    """
    found = []
    for number, source in enumerate(context.recipe.sources):
        groups = source.shards(context)
        if len(groups) < 2:
            found.append(Shard(f"{number:02d}-{source.kind}", number))
            continue
        for place, (name, pieces) in enumerate(groups):
            key = f"{number:02d}-{source.kind}-{place:03d}-{_UNFIT.sub('-', name)[:60]}"
            found.append(Shard(key, number, tuple(pieces)))
    return found


def planned(context: Context) -> list[Shard]:
    """The shards that the step ``shard`` wrote down for this run, where it did so for this recipe; else ``divided``.

    Raises:
        As ``divided``.
    """
    record = context.shelf.record(context.run_id, "shard")
    if record is None or record.inputs.get("asked") != asked(context):
        return divided(context)
    listed = read_json(context.shelf.root / record.paths["shards"])
    return [Shard(**{**one, "pieces": tuple(one["pieces"])}) for one in listed]


def chosen(shards: Iterable[Shard], key: str) -> Shard:
    """The shard with this key.

    Raises:
        FtcoreError: there is none.
    """
    shards = list(shards)
    for shard in shards:
        if shard.key == key:
            return shard
    raise FtcoreError(f"there is no shard {key!r}", hint=f"known: {', '.join(one.key for one in shards)}")


def asked(context: Context) -> str:
    """Hash of what decides the rows that are read: the sources and what is asked of the run."""
    sources = [source.model_dump(mode="json") for source in context.recipe.sources]
    return digest({"sources": sources, "params": {k: v for k, v in context.params.items() if k != "shard"}})


def identity(context: Context, shard: Shard) -> str:
    """Hash of what one shard reads; a record of it vouches for nothing else."""
    return digest({"asked": asked(context), "shard": asdict(shard)})


def names(folder: UPath) -> dict[str, str]:
    """What an ingest noted in its folder; nothing where an earlier version did not."""
    return dict(read_json(folder / NAMES) or {})


def source_names(context: Context) -> dict[str, str]:
    """What every source that was ever published reads, by name: see ``ftcore.recipe.source_names``."""
    every = [*context.recipe.sources, *context.recipe.evaluate.holdouts.values()]
    found = names(context.shelf.folder(context.run_id, "ingest"))
    return _source_names.known(every, snapshot.source_names(context.shelf), found)
