"""Rows of a source that judge: their split is drawn first, and only what judges is cleaned, once.

Cleaned rows are kept in the store until the source's rows, the recipe's cleaning, or the list of forgotten subjects
change; forgetting a subject empties the cache.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ftcore.context import Context
from ftcore.data import snapshot, split, split_keys, suppression
from ftcore.data.cleaning import personal, phones
from ftcore.data.spool import normalize_and_mask
from ftcore.progress import busy, progress
from ftcore.recipe.canonical import canonical, sha256
from ftcore.settings import REPOSITORY
from ftcore.store import parts
from ftcore.store.records import git_commit, versions
from ftcore.store.store import digest

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.recipe import sections

log = logging.getLogger(__name__)

BATCH = 500
"""Rows that are cleaned at once, between two steps of the progress bar."""
SHOWN = 3
"""Reasons that a log line names."""


@dataclass(frozen=True)
class Source:
    """A source that judges, by its name in the recipe."""

    name: str
    config: sections.Source
    task: sections.Task
    """By which its rows are read, cleaned and checked."""
    split: str | None = "test"
    """Only rows on this side of the split; None takes all."""


def read(context: Context, source: Source) -> pa.Table:
    """Rows of a source as a snapshot would hold them, without those of forgotten subjects or that cannot be used."""
    forgotten = suppression.load(context.shelf, os.environ)
    with busy(f"reading {source.name}"):
        raw = _raw(context, source, forgotten)
        key = _key(context, source, raw, forgotten)
    if (cached := context.shelf.cached(f"holdout-{source.name}", key)) is not None:
        return cached
    cleaned = _cleaned(context, source, raw)
    context.shelf.keep_cached(f"holdout-{source.name}", key, cleaned)
    return cleaned


def raw(context: Context, source: Source) -> pa.Table:
    """Rows of a source as they came, without those of forgotten subjects: at least as many as can be used."""
    return _raw(context, source, suppression.load(context.shelf, os.environ))


def _raw(context: Context, source: Source, forgotten: suppression.Suppression) -> pa.Table:
    """The source's own rows on the wanted side of the split."""
    import pyarrow as pa

    schema, keys, total = snapshot.schema(), split.load(context.shelf), 0
    tables = [schema.empty_table()]
    for table in source.config.read(context):
        rows = keys.fill(forgotten.keep(table.select(schema.names).cast(schema)))
        total += rows.num_rows
        if source.split:
            drawn = split.assign_splits(split_keys.key_numbers(rows["split_key"]), context.recipe.prepare)
            rows = rows.filter(pa.array(drawn == snapshot.SPLITS.index(source.split), pa.bool_()))
        tables.append(rows)
    found = pa.concat_tables(tables).combine_chunks()
    if source.split:
        some, every = f"{found.num_rows:,}", f"{total:,}"
        log.info("%s: %s of %s rows are on the %s side of the split", source.name, some, every, source.split)
    return found


def _cleaned(context: Context, source: Source, raw: pa.Table) -> pa.Table:
    import pyarrow as pa

    recipe = context.recipe
    cleaner = personal.cleaner(recipe.prepare.personal_data, os.environ, recipe.name)
    cleaner = replace(cleaner, phones=phones.sources(phones.bare(raw), cleaner.finder))
    keys = split.load(context.shelf)
    tables, unusable = [raw.slice(0, 0)], Counter[str]()
    with progress(f"cleaning {source.name}", raw.num_rows) as advance:
        for start in range(0, raw.num_rows, BATCH):
            batch = raw.slice(start, BATCH)
            tidied = normalize_and_mask(batch, source.task, cleaner, keys)
            why = dict(tidied.faults) | dict.fromkeys(tidied.dropped, "personal data that takes the row out")
            for place, text in enumerate(tidied.table["text"].to_pylist()):
                if not text:
                    why.setdefault(place, "the row has no text")
            unusable.update(why.values())
            good = [place not in why for place in range(batch.num_rows)]
            tables.append(tidied.table.filter(pa.array(good, pa.bool_())))
            advance(batch.num_rows)
    if unusable:
        named = "; ".join(f"{why} ({count:,})" for why, count in unusable.most_common(SHOWN))
        log.warning("%s: %s rows cannot be used: %s", source.name, f"{unusable.total():,}", named)
    return pa.concat_tables(tables).combine_chunks()


def _key(context: Context, source: Source, raw: pa.Table, forgotten: suppression.Suppression) -> str:
    """Hash of all that decides what cleaning gives."""
    rows = sha256(canonical([_hashed(table) for table in _batches(raw)]))
    settings = context.recipe.prepare.model_dump(mode="json")
    return digest(
        {
            "rows": rows,
            "prepare": settings,
            "task": source.task.model_dump(mode="json"),
            "split": source.split,
            "forgotten": forgotten.state,
            "split_keys": split.load(context.shelf).state,
            "secret": sha256(f"cache\x00{os.environ.get(personal.KEY_VARIABLE, '')}"),
            "code": [git_commit(str(REPOSITORY)), versions()],
        }
    )


def _hashed(rows: pa.Table) -> str:
    columns = [rows[name].to_pylist() for name in snapshot.COLUMNS]
    return sha256(canonical(list(zip(*columns, strict=True))))


def _batches(rows: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, rows.num_rows, parts.ROWS):
        yield rows.slice(start, parts.ROWS)


def valid(context: Context) -> Callable[[str | None, str | None], bool]:
    """Tells whether a row of a source can be judged, by its source and its label."""

    def judge(source: str | None, label: str | None) -> bool:
        own = context.recipe.task_of(source)
        return own.valid(label)

    return judge
