"""Rows that cannot judge: a model of the comparison was trained or validated on them, or on rows that belong to them.

A row is recognised by its id, by its text (with the context that belongs to it), by its group, and by the similarity of
its text. What judges is streamed against: memory grows with the rows that judge, not with those that were trained on.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot
from ftcore.data.cleaning import near
from ftcore.data.conversations import turns as conversation
from ftcore.progress import progress
from ftcore.registry.verdict import EXCLUDED, excluded
from ftcore.store import parts

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.evaluation.ancestry import Ancestor

log = logging.getLogger(__name__)

TEST = "test"
COLUMNS = ["row_id", "text", "context", "source", "group", "split_key"]
MASK = re.compile(r"\[[A-Z_]+\]")


@dataclass
class Judging:
    """Rows that are to judge, and why some of them cannot."""

    rows: pa.Table
    """With ``COLUMNS`` and ``dataset``."""
    why: dict[int, str] = field(default_factory=dict)
    """Reason by position; what it does not hold judges."""

    def __post_init__(self) -> None:
        """Index the rows by all that they may be recognised by."""
        columns = {name: self.rows[name].to_pylist() for name in [*COLUMNS, "dataset"]}
        self.dataset: list[str] = columns["dataset"]
        self.keys = [text_key(*two) for two in zip(columns["text"], columns["context"], strict=True)]
        self.by_row, self.by_text, self.by_key, self.by_group = (defaultdict[str, list[int]](list) for _ in range(4))
        self.group_of: list[tuple[str, str]] = []
        for place, key in enumerate(self.keys):
            row, source, split_key = (columns[name][place] for name in ("row_id", "source", "split_key"))
            name = group_name(columns["group"][place], source)
            self.by_row[row].append(place)
            self.by_text[key].append(place)
            self.by_key[split_key or ""].append(place)
            self.by_group[name].append(place)
            self.group_of.append((name, split_key or "") if name else ("", ""))
        for index in (self.by_key, self.by_group):
            index.pop("", None)

    def mark(self, places: Iterable[int], reason: str) -> None:
        """Leave rows out, unless there is a reason already that comes first."""
        order = list(EXCLUDED)
        for place in places:
            if place not in self.why or order.index(reason) < order.index(self.why[place]):
                self.why[place] = reason

    def left(self, dataset: Sequence[str] | None = None) -> list[int]:
        """Positions of the rows that judge, of some datasets or all."""
        wanted = set(dataset) if dataset is not None else None
        return [n for n, name in enumerate(self.dataset) if n not in self.why and (wanted is None or name in wanted)]

    def kept(self) -> pa.Table:
        """The rows that judge."""
        return self.take(self.left())

    def take(self, places: Sequence[int]) -> pa.Table:
        """Rows at some positions."""
        import pyarrow as pa

        return self.rows.take(pa.array(places, pa.int64()))

    def counts(self) -> dict[str, dict[str, int]]:
        """Rows that were left out by dataset and reason; a dataset that lost none has no entry."""
        found: dict[str, Counter[str]] = {}
        for place, reason in self.why.items():
            found.setdefault(self.dataset[place], Counter())[reason] += 1
        order = list(EXCLUDED)
        return {name: {one: found[name][one] for one in order if found[name][one]} for name in sorted(found)}


def text_key(text: str | None, context: str | None) -> str:
    """What equal texts share, each with the context that belongs to it."""
    return snapshot.text_key(text or "") + (f"\x00{snapshot.text_key(context)}" if context else "")


def group_name(group: str | None, source: str | None) -> str:
    """A row's group without the source before it, as snapshots of earlier versions have it; empty where there is none.

    A group that is a mask stands for everybody whose name was masked, and tells nobody apart.
    """
    name = (group or "").removeprefix(f"{source}:")
    return "" if MASK.search(name) else name


def exclude(judging: Judging, ancestors: Sequence[Ancestor], own: str, threshold: float | None) -> None:
    """Mark every row that a compared model was trained or validated on, or whose group or near duplicate it was.

    Args:
        judging: rows of the test split and of the holdouts.
        ancestors: the compared models, and those behind them.
        own: id of the snapshot that the test split is of; its near duplicates left the training rows already.
        threshold: Jaccard similarity from which texts count as near duplicates; None looks for equal ones only.
    """
    _repeats(judging)
    distinct = list({(one.shelf.name, one.snapshot): one for one in ancestors if one.snapshot}.values())
    total = sum(_count(one) for one in distinct)
    with progress("comparing with the rows trained on", total) as advance:
        for one in distinct:
            known_since = one.snapshot == own
            named: dict[str, set[str]] = defaultdict(set)
            for batch in one.batches(COLUMNS):
                _mark_batch(judging, batch, named, groups_known=known_since)
                advance(batch.num_rows)
            _mark_named(judging, one, named)
    if threshold is not None:
        for one in distinct:
            datasets = [name for name in dict.fromkeys(judging.dataset) if name != TEST or one.snapshot != own]
            _near(judging, one, judging.left(datasets), threshold)
    for name, reasons in judging.counts().items():
        log.info("left out of the evaluation: %s", excluded(name, reasons))


def _count(one: Ancestor) -> int:
    """Rows that a model was trained or validated on, as far as the manifest says."""
    splits = snapshot.manifest(one.shelf, one.snapshot).get("splits") or {}
    return sum(int(splits.get(name, 0)) for name in ("train", "validation"))


def _repeats(judging: Judging) -> None:
    """Mark rows of holdouts that the test split has."""
    columns = zip(judging.dataset, judging.rows["row_id"].to_pylist(), judging.keys, strict=True)
    both = list(columns)
    rows = {row for name, row, _ in both if name == TEST}
    texts = {key for name, _, key in both if name == TEST}
    judging.mark(
        (n for n, (name, row, key) in enumerate(both) if name != TEST and (row in rows or key in texts)), "test_split"
    )


def _mark_batch(judging: Judging, batch: pa.Table, named: dict[str, set[str]], *, groups_known: bool) -> None:
    """Mark what some trained rows rule out.

    Where a model was trained before rows had the groups that they have now, a row that it was trained on brings its
    whole group with it. Groups that are known by their name alone are collected in ``named``, with the split keys of
    their trained rows.
    """
    columns = (batch[name].to_pylist() for name in COLUMNS)
    for row, text, context, source, group, split_key in zip(*columns, strict=True):
        same_row = judging.by_row.get(row, ())
        same_text = judging.by_text.get(text_key(text, context), ())
        name = group_name(group, source)
        if same_row or same_text:
            judging.mark(same_row, "row")
            judging.mark(same_text, "text")
            if not groups_known and not name:
                for place in {*same_row, *same_text}:
                    name_here, key_here = judging.group_of[place]
                    judging.mark(judging.by_group.get(name_here, ()), "group")
                    judging.mark(judging.by_key.get(key_here, ()), "group")
        judging.mark(judging.by_key.get(split_key or "", ()), "group")
        if name in judging.by_group:
            if split_key:
                named[name].add(split_key)
            else:
                judging.mark(judging.by_group[name], "group")


def _mark_named(judging: Judging, one: Ancestor, named: dict[str, set[str]]) -> None:
    """Mark groups that have trained rows of their own.

    A prompt that many groups share has one split key, so that a group may have such a row on the other side: that makes
    no group a trained one.
    """
    owner: dict[str, str | None] = {}
    wanted = set().union(*named.values())
    for batch in one.batches(["source", "group", "split_key"]) if wanted else ():
        for source, group, key in zip(*(batch[n].to_pylist() for n in ("source", "group", "split_key")), strict=True):
            if key in wanted:
                name = group_name(group, source)
                owner[key] = name if owner.setdefault(key, name) == name else None
    for name, keys in named.items():
        if any(owner.get(key) == name for key in keys):
            judging.mark(judging.by_group[name], "group")


def _near(judging: Judging, one: Ancestor, places: list[int], threshold: float) -> None:
    """Mark rows whose text is nearly one that a model was trained or validated on."""
    if not places:
        return
    texts = _folded(judging.take(places))
    with progress(f"looking for near duplicates of {len(places):,} rows", _count(one)) as advance:

        def reference() -> Iterator[list[bytes]]:
            for batch in one.batches(["text", "context"]):
                for start in range(0, batch.num_rows, parts.ROWS // 5):
                    some = batch.slice(start, parts.ROWS // 5)
                    yield _folded(some)
                    advance(some.num_rows)

        found = near.matches(texts, reference(), threshold)
    judging.mark((place for place, score in zip(places, found.tolist(), strict=True) if score), "near_duplicate")


def _folded(rows: pa.Table) -> list[bytes]:
    """Folded texts, each with its context, as ``prepare`` compares them."""
    both: Any = zip(rows["text"].to_pylist(), rows["context"].to_pylist(), strict=True)
    plain = ((conversation.plain(text), more) for text, more in both)
    return [snapshot.text_key(f"{text} {more}" if more else text).encode() for text, more in plain]
