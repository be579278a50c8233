"""shard: divide the reading of the sources, so that many workers can share it."""

from __future__ import annotations

from dataclasses import asdict

from ftcore.context import Context, Outcome
from ftcore.data import shards as _shards
from ftcore.store.store import write_json


def run(context: Context) -> Outcome:
    """Write ``shards.json``: what each ``ingest --param shard=KEY`` of this run reads.

    Files are listed once here, so that the workers of one run agree on them whatever is added meanwhile.

    Raises:
        NotFoundError: what a source reads from is not there.
        TransientError: a server does not answer.
    """
    shards = _shards.divided(context)
    path = context.folder / "shards.json"
    write_json(path, [asdict(shard) for shard in shards])
    sources = len(context.recipe.sources)
    return Outcome(
        reason=f"{len(shards)} shard{'s' * (len(shards) != 1)} of {sources} source{'s' * (sources != 1)}",
        figures={"shards": [shard.key for shard in shards]},
        inputs={"asked": _shards.asked(context)},
        paths={"shards": context.written(path)},
    )
