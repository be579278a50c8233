"""ingest: read every source of the recipe, as a stream, into parts of raw rows."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from ftcore.context import Context, Outcome
from ftcore.data import carry, history, period, snapshot, split, split_keys, suppression, watermarks
from ftcore.data import shards as _shards
from ftcore.errors import DataRejectedError, RecipeError, TransientError
from ftcore.store import parts
from ftcore.store.store import digest, hash_file, write_json

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.data.shards import Shard
    from ftcore.data.suppression import Suppression
    from ftcore.recipe.sections import Source
    from ftcore.store.records import Record

log = logging.getLogger(__name__)

NEEDS = ("pyarrow.parquet",)


def state(context: Context) -> dict[str, str]:
    """What else decides the result: who was forgotten in the meantime."""
    forgotten = suppression.load(context.shelf, os.environ)
    return {"forgotten": forgotten.state} if forgotten.entries else {}


def run(context: Context) -> Outcome:
    """Write ``parts/`` with all sources' rows, in the recipe's order of sources.

    With the parameter ``shard`` only that shard's rows are read, into a folder of its own. Without it the rows of every
    shard that has a record are taken over and those of all others read, so the parts, bytes and all, are the same
    however the work was shared.

    A source with a watermark gives the rows that its last published snapshot holds and those that came since. The
    watermark itself only goes into the record: ``validate`` commits it with the snapshot. With the parameters ``since``
    and ``until`` only rows observed in that period are taken, and no watermark is read or left. Rows of subjects that
    were forgotten are left out, wherever they come from, and counted as ``suppressed``. Rows that the ``where`` of a
    source leaves out are no fault: they are counted as ``filtered``, by source.

    Raises:
        DataRejectedError: the sources have no row at all, or one cannot be read.
        RecipeError: two incremental sources have one name.
        ConfigurationError: the secret behind the suppression is not set.
        TransientError: a server went away, or the disk is full.
    """
    _one_name_each(context)
    shards, asked = _shards.planned(context), period.asked(context.params)
    if context.shard:
        shards = [_shards.chosen(shards, context.shard)]
    # A record from before must not vouch for parts that are being replaced.
    (context.folder / "record.json").unlink(missing_ok=True)
    writer, marks = parts.Writer(context.folder / "parts", snapshot.schema()), dict[str, Any]()
    known = None if context.shard else _Identified(context)
    forgotten = suppression.load(context.shelf, os.environ)
    try:
        counts, filtered = _write(context, shards, writer, marks, forgotten, known)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        said = f"no room is left for the rows in {writer.folder}"
        raise TransientError(said, hint="make room, then run again") from error
    if not writer.rows and not context.shard:
        when = f" observed from {asked.since} to before {asked.until}" if asked else ""
        zeros = [
            f"{name}: 0 rows" + (f", `where` filtered {filtered[name]:,}" if name in filtered else "")
            for name in counts
        ]
        raise DataRejectedError(f"the sources of {context.recipe.name} hold no row{when}", zeros)
    figures = {"rows": writer.rows, "by_source": counts, "suppressed": forgotten.suppressed, "watermarks": marks}
    if known:
        split_keys.write_read(context.folder, known.rows, known.said)
    write_json(context.folder / _shards.NAMES, context.named)
    inputs = {"rows": digest(writer.hashes), "forgotten": forgotten.state}
    what = f"shard {context.shard}" if context.shard else f"{len(counts)} sources"
    return Outcome(
        reason=f"read {writer.rows:,} rows from {what}",
        figures=figures
        | ({"filtered": filtered} if filtered else {})
        | (known.figures() if known else {})
        | ({"period": asked.figures()} if asked else {}),
        inputs=inputs | ({"shard": _shards.identity(context, shards[0])} if context.shard else {}),
        paths={"rows": context.written(writer.folder)},
    )


class _Identified:
    """Gives every row its split key: the one that it was published with, else that of its raw group or text."""

    def __init__(self, context: Context) -> None:
        self.keys, current = split.load(context.shelf), history.current(context.shelf)
        grouped = any(one.mapping and one.mapping.group for one in context.recipe.sources)
        if self.keys.guessable and current is None and grouped:
            log.warning(
                "groups are hashed with a key that anybody can derive: set %s before the first ingest where they are "
                "personal data",
                split.SECRET_VARIABLE,
            )
        self.past = history.published(context.shelf, self.keys, current)
        self.current, self.history = current, current if self.past and self.past.manifest else None
        self.rows, self.said = list[Any](), list[Any]()
        if self.past and (said := split.redrawn(self.past.manifest, context.recipe.prepare)):
            log.warning("%s", said)
        self.grouped_by: dict[str, str] = {}

    def fill(self, rows: pa.Table, source: Source) -> pa.Table:
        """Rows with their split keys."""
        self.grouped_by |= history.grouped_by(source, rows["source"].unique().to_pylist())
        raw = self.keys.raw(rows)
        said = split_keys.said(rows, raw)
        self.rows.append(split_keys.row_numbers(rows["row_id"]))
        self.said.append(said)
        rows = self.keys.fill(rows, raw)
        return self.past.keep(rows, said, self.grouped_by) if self.past else rows

    def figures(self) -> dict[str, Any]:
        """What the record says of it."""
        redrawn = dict(self.past.redrawn) if self.past else {}
        for source, rows in redrawn.items():
            log.warning(
                "%s rows of %s are drawn anew: the recipe groups them otherwise than snapshot %s did",
                f"{rows:,}", source, self.history,
            )  # fmt: skip
        reused = dict(self.past.reused) if self.past else {}
        for source, rows in reused.items():
            log.warning(
                "reused_ids: %s rows of %s have the id of a published row, but another text and another group: they "
                "are taken for other rows. Name a column of ids that are never given twice as `id` of the source",
                f"{rows:,}", source,
            )  # fmt: skip
        return {
            history.GROUPED: self.grouped_by,
            "history": self.history,
            "current": self.current,
            "split_keys": self.keys.state,
            "redrawn": redrawn,
            "reused_ids": reused,
        }


def _write(
    context: Context,
    shards: list[Shard],
    writer: parts.Writer,
    marks: dict[str, Any],
    forgotten: Suppression,
    known: _Identified | None,
) -> tuple[dict[str, int], dict[str, int]]:
    """Write the shards' rows; returns how many each source gave, and how many its ``where`` left out."""
    counts: dict[str, int] = {}
    filtered: dict[str, int] = {}
    for number, mine in groupby(shards, lambda shard: shard.source):
        source, before, left_out = context.recipe.sources[number], writer.rows, context.filtered.total()
        # Every row of every source passes here, on its way into a shard's parts and once more into the run's. Only the
        # second time the forgotten are left out: after the cap, so that it takes the same rows however work is shared.
        # Only then it gets its split key, too, from what is still raw: nothing behind this may take it anew.
        for table in _source(source, list(mine), context, marks, forgotten):
            writer.add(known.fill(forgotten.keep(table), source) if known else table)
        counts[name := f"{number}:{source.kind}"] = writer.rows - before
        if more := context.filtered.total() - left_out:
            filtered[name] = more
        log.info("read %s rows from %s", f"{counts[name]:,}", context.shard or name)
    writer.close()
    return counts, filtered


def _source(
    source: Source, shards: list[Shard], context: Context, marks: dict[str, Any], forgotten: Suppression
) -> Iterator[pa.Table]:
    """Rows of one source, from its shards; what caps it caps it as a whole, and within the period."""
    asked, config = period.asked(context.params), source
    if asked:
        config = source.model_copy(update={"max_rows": None})
    tables = chain.from_iterable(_shard(config, shard, context, marks, forgotten) for shard in shards)
    if asked:
        tables = _within(asked, tables, source.kind)  # type: ignore[assignment]
    whole = len(shards) == 1 and not asked
    yield from tables if whole else source.sampled(tables)


def _shard(
    source: Source, shard: Shard, context: Context, marks: dict[str, Any], forgotten: Suppression
) -> Iterator[pa.Table]:
    """Rows of one shard: those that a worker of this run has read already, or from the source itself."""
    done = None if context.shard else context.shelf.record(context.run_id, context.step, shard.key)
    if done and _vouches(done, context, shard, forgotten):
        log.info("took over %s rows of shard %s", f"{done.figures['rows']:,}", shard.key)
        marks |= done.figures["watermarks"]
        context.filtered.update(done.figures.get("filtered", {}))
        context.named.update(_shards.names(context.shelf.folder(context.run_id, context.step, shard.key)))
        yield from parts.read(context.shelf.root / done.paths["rows"])
    elif shard.pieces:
        yield from source.read_shard(context, shard.pieces)
    else:
        yield from _rows(source, context, marks, forgotten)


def _vouches(done: Record, context: Context, shard: Shard, forgotten: Suppression) -> bool:
    """Whether a shard's record is of this very shard, nobody was forgotten since, and its rows are still there."""
    same = done.inputs.get("shard") == _shards.identity(context, shard)
    folder = context.shelf.root / done.paths["rows"]
    told = done.inputs.get("forgotten", "") == forgotten.state
    return same and told and folder.exists() and parts.digest(folder) == done.inputs["rows"]


def _within(asked: period.Period, tables: Iterator[pa.Table], kind: str) -> Iterator[pa.Table]:
    rows = untimed = 0
    for table in tables:
        rows, untimed = rows + table.num_rows, untimed + table["observed_at"].null_count
        yield asked.keep(table)
    if untimed:
        log.warning("%s of %s rows of %s do not say when they were observed: left out", untimed, rows, kind)


def _rows(source: Source, context: Context, marks: dict[str, Any], forgotten: Suppression) -> Iterator[pa.Table]:
    """Rows of one source; of an incremental one what is new first, then what came earlier: see ``_carry``."""
    if not source.incremental or period.asked(context.params):
        yield from source.read(context)
        return
    # A subject that snapshots hold under a mask only changes the hash, so that the source is read anew.
    told = {"forgotten": forgotten.rereads} if forgotten.rereads else {}
    name, config = str(source.source_name()), digest(source.model_dump(mode="json") | told)
    mark, rules = _mark(context, name, config), _rules(context)
    # By other rules rows may be kept that were left out before, and what is masked must be seen raw: all are read anew.
    # What the source no longer has still comes from the snapshot.
    known = mark is not None and mark.rules == rules
    cursor = watermarks.Cursor(since=mark.value if mark and known else None, reached=mark.value if mark else None)
    if mark and not known:
        log.info("the rules of %s changed since snapshot %s: %s is read anew", context.recipe.name, mark.snapshot, name)
    fresh = source.read_since(context, cursor)
    if mark:
        there = source.present(context)
        # The cap holds for old and new rows together, so it is applied to both once more.
        fresh = source.sampled(carry.grown(context.shelf, name, fresh, mark, cursor, there))
    yield from fresh
    if cursor.reached is not None:
        marks[name] = watermarks.figure(cursor.reached, config, rules)


def _mark(context: Context, name: str, config: str) -> watermarks.Mark | None:
    """Where the last published read of a source ended; None where it is read from the beginning."""
    mark = watermarks.load(context.shelf, name, config) if context.params.get("reread") != "always" else None
    if mark and not (snapshot.folder(context.shelf, mark.snapshot) / "manifest.json").exists():
        log.warning("snapshot %s is gone: %s is read from the beginning", mark.snapshot, name)
        return None
    return mark


def _rules(context: Context) -> str:
    """Hash of what decides which rows are kept and how they are cleaned; not of how they are shared among splits."""
    recipe = context.recipe
    prepare = recipe.prepare.model_dump(mode="json", exclude={"validation", "test", "workers", "label_errors"})
    suite = context.settings.suite(recipe.suite)
    return digest(
        {
            "prepare": prepare,
            "text_length": recipe.validation.text_length,
            "suite": hash_file(suite) if suite.exists() else "",
            "task": recipe.task.model_dump(mode="json"),
        }
    )


def _one_name_each(context: Context) -> None:
    names: dict[str, int] = {}
    faults = []
    for number, source in enumerate(context.recipe.sources):
        if source.incremental:
            name = str(source.source_name())
            if names.setdefault(name, number) != number:
                faults.append((f"sources[{number}].name", f"sources[{names[name]}] is called {name} already"))
    if faults:
        raise RecipeError(str(context.recipe_path), faults, hint="give each a name of its own")
