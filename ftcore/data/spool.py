"""Rows on their way through ``prepare``: cleaned part by part, kept in local Arrow files, gathered in any order."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot, split, split_keys
from ftcore.data.cleaning import exact, groups, language, normalise, personal, phones, rows
from ftcore.data.cleaning.exact import Index
from ftcore.data.cleaning.rows import Cleaned as Tidied
from ftcore.data.conversations import turns as conversation
from ftcore.errors import DataRejectedError
from ftcore.progress import progress
from ftcore.store import parts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
    from upath import UPath

    from ftcore.data.split import SplitKeys
    from ftcore.recipe.model import Recipe
    from ftcore.recipe.sections import Prepare, Task

AT_ONCE = 2_000
"""Rows that are cleaned between two steps of the progress bar where personal data is looked for: a second or two."""
FEW = 4
"""Parts up to which one process is faster than starting two."""


@dataclass(frozen=True)
class Work:
    """One part to clean; plain values, so that another process can do it."""

    source: UPath
    file: Path
    recipe: str
    prepare: Prepare
    task: Task
    """The recipe's task."""
    keys: SplitKeys
    phones: frozenset[str]
    """Sources whose rows' own ids are phone numbers."""


@dataclass
class Cleaned:
    """What is known of a cleaned part; its rows are in ``file``."""

    file: Path
    index: Index
    side: NDArray[np.int8]
    """Position in ``snapshot.SPLITS`` of each row's split."""
    key: NDArray[np.uint64]
    """Split key of each row, as the number that it is."""
    group: NDArray[np.uint64]
    """64 bits of each row's group; 0 where it has none."""
    prompt: NDArray[np.uint64] | None
    """64 bits of what a model is given of each row; None where nobody writes an answer, as the index says it then."""
    length: NDArray[np.int32]
    """Characters of each text."""
    dropped: list[int]
    """Positions of rows with personal data that takes the row out."""
    foreign: dict[int, str]
    """Positions of rows in a language that is not wanted, and which."""
    part: NDArray[np.int8]
    """Number of the part of the task that each row belongs to."""
    faults: dict[int, str]
    """Positions of rows that the task cannot use, and why."""
    personal: Counter[str] = field(default_factory=Counter)


def clean(work: Work, advance: Callable[[int], object] = lambda rows: None) -> Cleaned:
    """Clean the rows of one part: normalise, draw the side, replace personal data, and index what is left."""
    import numpy as np
    import pyarrow as pa

    cleaner = replace(personal.cleaner(work.prepare.personal_data, os.environ, work.recipe), phones=work.phones)
    results, schema = [], snapshot.schema()
    at_once = AT_ONCE if cleaner.finder.entities else parts.ROWS
    with pa.OSFile(str(work.file), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for table in parts.read(work.source):
            for begin in range(0, max(table.num_rows, 1), at_once):
                some = table.slice(begin, at_once)
                result, cleaned = _clean(some.select(schema.names).cast(schema), work, cleaner)
                writer.write_table(cleaned)
                results.append(result)
                advance(some.num_rows)
        if not results:
            result, _ = _clean(schema.empty_table(), work, cleaner)
            results.append(result)
    start, dropped = 0, list[int]()
    foreign, faults = dict[int, str](), dict[int, str]()
    for one in results:
        dropped += [start + place for place in one.dropped]
        faults |= {start + place: why for place, why in one.faults.items()}
        foreign |= {start + place: name for place, name in one.foreign.items()}
        start += len(one.side)
    names = ["side", "key", "group", "length", "part", *(["prompt"] if results[0].prompt is not None else [])]
    columns: dict[str, Any] = {"prompt": None}
    columns |= {name: np.concatenate([getattr(one, name) for one in results]) for name in names}
    index = exact.join([one.index for one in results])
    return Cleaned(
        work.file, index, dropped=dropped, foreign=foreign, faults=faults, personal=cleaner.counts, **columns
    )


def written(target: str) -> tuple[str, ...]:
    """Columns beside ``text`` that hold what people wrote; a label of a fixed set is none of them."""
    return ("context", "label", "rejected") if target == "text" else ("context",)


def normalize_and_mask(table: pa.Table, task: Task, cleaner: personal.Cleaner, keys: SplitKeys) -> Tidied:
    """Read, clean and check rows by their task; snapshots and holdouts both go through this.

    Args:
        table: rows with their split keys, see ``split.SplitKeys.fill``: they stay as they are.
        task: the recipe's task.
        cleaner: replaces personal data as the recipe says.
        keys: give the names that stand for groups which are personal data.
    """
    tidied = rows.clean(table, task, cleaner)
    if not cleaner.finder.entities:
        return tidied
    if table["group"].null_count < table.num_rows:
        named = groups.pseudonymous(table["group"].to_pylist(), cleaner, keys)
        tidied = replace(tidied, table=_with(tidied.table, "group", named))
    if {"source_id", "origin"} <= set(table.column_names):
        own, origins, sources = (table[name].to_pylist() for name in ("source_id", "origin", "source"))
        own, origins = groups.traced(own, origins, sources, cleaner, keys)
        tidied = replace(tidied, table=_with(_with(tidied.table, "source_id", own), "origin", origins))
    return tidied


def _clean(table: pa.Table, work: Work, cleaner: personal.Cleaner) -> tuple[Cleaned, pa.Table]:
    import numpy as np
    import pyarrow.compute as pc

    tidied = normalize_and_mask(table, work.task, cleaner, work.keys)
    table, dropped = tidied.table, tidied.dropped
    foreign: dict[int, str] = {}
    if work.prepare.languages:
        plain = [conversation.plain(text) for text in table["text"].to_pylist()]
        foreign = language.foreign(plain, work.prepare.languages, work.prepare.language_confidence)
    said, part, told = _said(table, work.task)
    keys = split_keys.key_numbers(table["split_key"])
    return Cleaned(
        work.file,
        exact.index(told, said),
        split.assign_splits(keys, work.prepare),
        keys,
        work.keys.group_numbers(table["group"]),
        _prompts(table, work.task),
        pc.utf8_length(table["text"]).to_numpy().astype(np.int32),
        dropped,
        foreign,
        part,
        tidied.faults,
    ), table


def said(table: pa.Table, task: Task) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """64 bits of what each cleaned row says, as in its index, and of its prompt, shape ``(rows,)`` each."""
    import numpy as np

    keys, _, _ = _said(table, task)
    digests = b"".join(hashlib.blake2b(key.encode(), digest_size=16).digest() for key in keys)
    text = np.ascontiguousarray(np.frombuffer(digests, np.uint64).reshape(-1, 2)[:, 0])
    prompt = _prompts(table, task)
    return text, text if prompt is None else prompt


def _said(table: pa.Table, task: Task) -> tuple[list[str], NDArray[np.int8], pa.Table]:
    """What rows share that say the same, the number of each row's part, and the rows with labels that tell apart."""
    import numpy as np

    if task.parts:
        return _of_parts(table, task)
    target = task.TARGET
    return _keys(table, target), np.zeros(table.num_rows, np.int8), _folded(table, target)


def _prompts(table: pa.Table, task: Task) -> NDArray[np.uint64] | None:
    """64 bits of what a model is given of each row: rows with one prompt belong on one side, whatever is answered.

    None where nobody writes an answer: rows that say the same have the same prompt then.
    """
    import numpy as np

    if task.parts or task.TARGET != "text":
        return None
    asked = zip(*(table[name].to_pylist() for name in ("text", "context", "row_id")), strict=True)
    keys = ["\x00".join(map(snapshot.text_key, filter(None, one))) if one[0] else f"\x00{row}" for *one, row in asked]
    digests = b"".join(hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(digests, np.uint64)


def _keys(table: pa.Table, target: str) -> list[str]:
    """What rows share that say the same. An empty text says nothing: it is kept apart by its row id."""
    # What people wrote as an answer is left as it is; other texts have been normalized on their way here.
    fold = normalise.clean if target == "text" else _same
    columns = [_text_keys(table[name], fold) for name in ("text", *written(target))]
    keys = list(map("\x00".join, zip(*columns, strict=True)))
    for place in [place for place, text in enumerate(columns[0]) if not text]:
        if not table["text"][place].as_py():
            keys[place] = f"\x00{table['row_id'][place].as_py()}"
    return keys


def _text_keys(column: pa.ChunkedArray, fold: Callable[[str | None], str]) -> list[str]:
    if column.null_count == len(column):
        return [""] * len(column)
    return [snapshot.text_key(fold(text)) for text in column.to_pylist()]


def _same(text: str | None) -> str:
    return text or ""


def _folded(table: pa.Table, target: str) -> pa.Table:
    """The table with answers by which rows are compared: they stay as written, and may differ in quotes or entities."""
    if target != "text":
        return table
    return _with(table, "label", [one and normalise.clean(one) for one in table["label"].to_pylist()])


def _of_parts(table: pa.Table, task: Task) -> tuple[list[str], NDArray[np.int8], pa.Table]:
    """The same of rows of several parts.

    What two parts say of one text is neither alike nor at odds.
    """
    import numpy as np
    import pyarrow as pa

    owner = {source: _owner(task, source) for source in table["source"].unique().to_pylist()}
    names, labels = [owner[source] for source in table["source"].to_pylist()], table["label"].to_pylist()
    keys, owners = [""] * len(names), np.zeros(len(names), np.int8)
    for number, name in enumerate(["", *task.parts]):
        places = [place for place, one in enumerate(names) if one == name]
        target = task.parts[name].TARGET if name else "text"
        owners[places] = max(number - 1, 0)
        mine = table.take(pa.array(places, pa.int64()))
        for place, key, label in zip(
            places, _keys(mine, target), _folded(mine, target)["label"].to_pylist(), strict=True
        ):
            keys[place], labels[place] = f"{name}\x00{key}", label
    told = [None if label is None else f"{name}\x00{label}" for name, label in zip(names, labels, strict=True)]
    return keys, owners, _with(table, "label", told)


def _owner(task: Task, source: str) -> str:
    """Name of the part that a source's rows belong to; empty where there is none."""
    try:
        return str(task.part(source))
    except DataRejectedError:
        return ""


def _with(table: pa.Table, name: str, values: Sequence[str | None]) -> pa.Table:
    import pyarrow as pa

    return table.set_column(table.column_names.index(name), table.schema.field(name), pa.array(values, pa.string()))


def clean_all(source: UPath, scratch: Path, recipe: Recipe, keys: SplitKeys) -> list[Cleaned]:
    """Clean every part, several at once where there are many."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    prepare = recipe.prepare
    finder = personal.cleaner(prepare.personal_data, os.environ, recipe.name).finder
    named = (row for table in parts.read(source, ["source", "source_id"]) for row in phones.bare(table))
    called = phones.sources(named, finder)
    work = [
        Work(file, scratch / f"{number:05d}.arrow", recipe.name, prepare, recipe.task, keys, called)
        for number, file in enumerate(parts.files(source))
    ]
    workers = min(prepare.workers, os.cpu_count() or 1)
    looked_for = any(action != "keep" for action in prepare.personal_data.actions.values())
    what = "looking for personal data" if looked_for else "cleaning"
    with progress(what, parts.count(source)) as advance:
        if len(work) <= FEW or workers == 1:
            return [clean(one, advance) for one in work]
        cleaned = []
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for one in pool.map(clean, work):
                advance(len(one.side))
                cleaned.append(one)
    return cleaned


@dataclass
class CleanedRows:
    """All cleaned rows, by their position."""

    cleaned: list[Cleaned]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Position of each file's first row, and the number of rows."""
        import numpy as np

        return np.cumsum([0, *(len(one.side) for one in self.cleaned)])

    def column(self, name: str) -> NDArray[Any]:
        """``side``, ``key``, ``group``, ``prompt``, ``length`` or ``part`` of all rows."""
        import numpy as np

        return np.concatenate([getattr(one, name) for one in self.cleaned])

    def flagged(self, name: str) -> list[int]:
        """Positions of the rows that are ``dropped``, ``foreign`` or have ``faults``."""
        return [
            int(s) + place for s, one in zip(self.starts, self.cleaned, strict=False) for place in getattr(one, name)
        ]

    def reasons(self, name: str) -> dict[int, str]:
        """Languages of the ``foreign`` rows, or ``faults``, by position."""
        return {
            int(s) + place: why
            for s, one in zip(self.starts, self.cleaned, strict=False)
            for place, why in getattr(one, name).items()
        }

    def take(self, places: NDArray[np.int64], columns: list[str] | None = None) -> pa.Table:
        """Rows at some positions, in that order; meant for a part's worth."""
        import numpy as np
        import pyarrow as pa

        order = np.argsort(places, kind="stable")
        ranked = places[order]
        cuts = np.searchsorted(ranked, self.starts)
        names = columns or snapshot.schema().names
        tables = [snapshot.schema().empty_table().select(names)]
        for number, (low, high) in enumerate(pairwise(cuts)):
            if high > low:
                with pa.memory_map(str(self.cleaned[number].file)) as mapped:
                    table = pa.ipc.open_file(mapped).read_all().select(names)
                    tables.append(table.take(pa.array(ranked[low:high] - self.starts[number])))
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pa.concat_tables(tables).combine_chunks().take(pa.array(back))

    def labelled(self, places: NDArray[np.int64], label_of: NDArray[np.int64]) -> pa.Table:
        """Rows with the label that counts: the row seen first keeps its identity and so its side, whatever its label.

        Args:
            places: positions of the rows.
            label_of: for each the position of the row whose label counts.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        rows, others = self.take(places), places != label_of
        if not others.any():
            return rows
        theirs = self.take(label_of[others], ["label"])["label"].combine_chunks()
        column = pc.replace_with_mask(rows["label"].combine_chunks(), pa.array(others), theirs)
        return rows.set_column(rows.column_names.index("label"), rows.schema.field("label"), column)

    def batches(self, places: NDArray[np.int64], columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The same for any number of rows, a part at a time."""
        for start in range(0, len(places), parts.ROWS):
            yield self.take(places[start : start + parts.ROWS], columns)
