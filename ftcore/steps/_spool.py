"""Rows on their way through ``prepare``: cleaned part by part, kept in local Arrow files, gathered in any order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore import parts, snapshot
from ftcore._find import find
from ftcore.cleaning import exact, language, normalise, personal
from ftcore.cleaning.exact import Index

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from upath import UPath

    from ftcore.recipe import Recipe
    from ftcore.sections import Prepare

FEW = 4
"""Parts up to which one process is faster than starting two."""


@dataclass(frozen=True)
class Work:
    """One part to clean; plain values, so that another process can do it."""

    source: UPath
    file: Path
    recipe: str
    prepare: Prepare
    target: str = "label"
    """What a row's label is, as its task says."""
    parts: Mapping[str, Any] | None = None
    """A task of several parts, as JSON."""


@dataclass
class Cleaned:
    """What is known of a cleaned part; its rows are in ``file``."""

    file: Path
    index: Index
    side: NDArray[np.int8]
    """Position in ``snapshot.SPLITS`` of each row's split."""
    length: NDArray[np.int32]
    """Characters of each text."""
    dropped: list[int]
    """Positions of rows with personal data that takes the row out."""
    foreign: dict[int, str]
    """Positions of rows in a language that is not wanted, and which."""
    part: NDArray[np.int8]
    """Number of the part of the task that each row belongs to."""
    bad: list[int]
    """Positions of rows whose part of the task cannot learn from their label."""
    personal: Counter[str] = field(default_factory=Counter)


def clean(work: Work) -> Cleaned:
    """Clean the rows of one part: normalise, draw the side, replace personal data, and index what is left."""
    import numpy as np
    import pyarrow as pa

    cleaner = personal.cleaner(work.prepare.personal_data, os.environ, work.recipe)
    results, schema = [], snapshot.schema()
    with pa.OSFile(str(work.file), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for table in parts.read(work.source):
            result, rows = _clean(table.select(schema.names).cast(schema), work, cleaner)
            writer.write_table(rows)
            results.append(result)
        if not results:
            result, _ = _clean(schema.empty_table(), work, cleaner)
            results.append(result)
    start, dropped, bad = 0, list[int](), list[int]()
    foreign: dict[int, str] = {}
    for one in results:
        dropped += [start + place for place in one.dropped]
        bad += [start + place for place in one.bad]
        foreign |= {start + place: name for place, name in one.foreign.items()}
        start += len(one.side)
    side, length, part = (np.concatenate([getattr(one, n) for one in results]) for n in ("side", "length", "part"))
    index = exact.join([one.index for one in results])
    return Cleaned(work.file, index, side, length, dropped, foreign, part, bad, cleaner.counts)


def written(target: str) -> tuple[str, ...]:
    """Columns beside ``text`` that hold what people wrote; a label of a fixed set is none of them."""
    return ("context", "label", "rejected") if target == "text" else ("context",)


def tidy(
    table: pa.Table, prepare: Prepare, target: str, cleaner: personal.Cleaner
) -> tuple[pa.Table, list[str], list[int]]:
    """Normalise texts, draw each row's side, and replace personal data; what snapshots and holdouts both go through.

    Returns:
        The rows, the split of each, and the positions of rows with personal data that takes the row out.
    """
    lines = target in {"text", "none"}
    texts = [normalise.clean(text, lines=lines) for text in table["text"].to_pylist()]
    groups = table["group"].to_pylist()
    # Sides are drawn before personal data goes: they stay the same whatever the recipe masks, and holdouts agree.
    sides = [snapshot.side(group, text, prepare) for group, text in zip(groups, texts, strict=True)]
    texts, dropped = cleaner.clean(texts)
    table = _with(table, "text", texts)
    for name in (name for name in written(target) if table[name].null_count < table.num_rows):
        there = [(place, text) for place, text in enumerate(table[name].to_pylist()) if text is not None]
        cleaned, out = cleaner.clean([normalise.clean(text, lines=lines) for _, text in there])
        dropped = sorted({*dropped, *(there[place][0] for place in out)})
        values: list[str | None] = [None] * table.num_rows
        for (place, _), text in zip(there, cleaned, strict=True):
            values[place] = text
        table = _with(table, name, values)
    if table["group"].null_count < table.num_rows:
        named = sorted({group for group in groups if group})
        instead = dict(zip(named, cleaner.clean(named)[0], strict=True))
        table = _with(table, "group", [instead.get(group, group) for group in groups])
    return table, sides, dropped


def _clean(table: pa.Table, work: Work, cleaner: personal.Cleaner) -> tuple[Cleaned, pa.Table]:
    import numpy as np

    table, drawn, dropped = tidy(table, work.prepare, work.target, cleaner)
    sides, texts = [snapshot.SPLITS.index(side) for side in drawn], table["text"].to_pylist()
    foreign: dict[int, str] = {}
    if work.prepare.languages:
        foreign = language.foreign(texts, work.prepare.languages, work.prepare.language_confidence)
    lengths = np.fromiter(map(len, texts), np.int32, len(texts))
    part, bad = np.zeros(table.num_rows, np.int8), list[int]()
    if work.parts:
        index, part, bad = _of_parts(table, work.parts)
    else:
        index = exact.index(table, _keys(table, work.target))
    return Cleaned(work.file, index, np.array(sides, np.int8), lengths, dropped, foreign, part, bad), table


def _keys(table: pa.Table, target: str) -> list[str]:
    """What rows share that say the same. An empty text says nothing: it is kept apart by its row id."""
    columns = (table[name].to_pylist() for name in ("text", "row_id", *written(target)))
    return [
        "\x00".join(snapshot.text_key(one or "") for one in (text, *more)) if text else f"\x00{row}"
        for text, row, *more in zip(*columns, strict=True)
    ]


def _of_parts(table: pa.Table, parts: Mapping[str, Any]) -> tuple[Index, NDArray[np.int8], list[int]]:
    """Index of rows of several parts: what two of them say of one text is neither alike nor at odds.

    Returns:
        The index, the number of each row's part, and the positions of rows that their part cannot learn from.
    """
    import numpy as np

    task = find("tasks", parts["kind"]).Config.model_validate(parts)
    names, labels = [task.part(source) for source in table["source"].to_pylist()], table["label"].to_pylist()
    keys, owners, bad = [""] * len(names), np.zeros(len(names), np.int8), list[int]()
    for number, (name, part) in enumerate(task.parts.items()):
        places, kind = [place for place, one in enumerate(names) if one == name], find("tasks", part.kind)
        owners[places] = number
        for place, key in zip(places, _keys(table.take(places), kind.TARGET), strict=True):
            keys[place] = f"{name}\x00{key}"
        bad += [place for place in places if not kind.valid(part, labels[place])]
    told = [None if label is None else f"{name}\x00{label}" for name, label in zip(names, labels, strict=True)]
    return exact.index(_with(table, "label", told), keys), owners, sorted(bad)


def _with(table: pa.Table, name: str, values: Sequence[str | None]) -> pa.Table:
    import pyarrow as pa

    return table.set_column(table.column_names.index(name), table.schema.field(name), pa.array(values, pa.string()))


def clean_all(source: UPath, scratch: Path, recipe: Recipe) -> list[Cleaned]:
    """Clean every part, several at once where there are many."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    prepare, target = recipe.prepare, find("tasks", recipe.task.kind).TARGET
    task = recipe.task.model_dump(mode="json") if recipe.parts else None
    work = [
        Work(file, scratch / f"{number:05d}.arrow", recipe.name, prepare, target, task)
        for number, file in enumerate(parts.files(source))
    ]
    workers = min(prepare.workers, os.cpu_count() or 1)
    if len(work) <= FEW or workers == 1:
        return [clean(one) for one in work]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(clean, work))


@dataclass
class Spool:
    """All cleaned rows, by their position."""

    cleaned: list[Cleaned]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Position of each file's first row, and the number of rows."""
        import numpy as np

        return np.cumsum([0, *(len(one.side) for one in self.cleaned)])

    def column(self, name: str) -> NDArray[Any]:
        """``side``, ``length`` or ``part`` of all rows."""
        import numpy as np

        return np.concatenate([getattr(one, name) for one in self.cleaned])

    def flagged(self, name: str) -> list[int]:
        """Positions of the rows that are ``dropped``, ``foreign`` or ``bad``."""
        return [
            int(s) + place for s, one in zip(self.starts, self.cleaned, strict=False) for place in getattr(one, name)
        ]

    def languages(self) -> dict[int, str]:
        """Languages of the foreign rows, by position."""
        return {
            int(s) + place: name
            for s, one in zip(self.starts, self.cleaned, strict=False)
            for place, name in one.foreign.items()
        }

    def take(self, places: NDArray[np.int64], columns: list[str] | None = None) -> pa.Table:
        """Rows at some positions, in that order; meant for a part's worth."""
        import numpy as np
        import pyarrow as pa

        order = np.argsort(places, kind="stable")
        ranked = places[order]
        cuts = np.searchsorted(ranked, self.starts)
        schema = snapshot.schema()
        tables = [schema.empty_table()]
        for number, (low, high) in enumerate(pairwise(cuts)):
            if high > low:
                with pa.memory_map(str(self.cleaned[number].file)) as mapped:
                    table = pa.ipc.open_file(mapped).read_all()
                    tables.append(table.take(pa.array(ranked[low:high] - self.starts[number])))
        rows = pa.concat_tables(tables).combine_chunks()
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        rows = rows.take(pa.array(back))
        return rows.select(columns) if columns else rows

    def batches(self, places: NDArray[np.int64], columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The same for any number of rows, a part at a time."""
        for start in range(0, len(places), parts.ROWS):
            yield self.take(places[start : start + parts.ROWS], columns)
