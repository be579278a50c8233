"""Columns of a source as the fields of rows."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot
from ftcore.data.cleaning import label_names
from ftcore.data.sources import _templates
from ftcore.data.sources._base import Mapped
from ftcore.data.sources._templates import HoleError
from ftcore.data.values import BROKEN, STRUCTURES, moment, plain, storable, structured
from ftcore.errors import DataRejectedError

if TYPE_CHECKING:
    import datetime as dt
    from collections import Counter

    import pyarrow as pa

    from ftcore.context import Context

log = logging.getLogger(__name__)
EXCERPT = 200
"""How much of a row that cannot be mapped is kept, in characters."""
_FIELDS = ("text", "context", "label", "rejected", "id", "group")
_NEEDED = ("text", "label", "rejected")
"""Fields whose template must not fail: without them a row is none. Without the others it is a row like any other."""
_ON, _OFF = frozenset({"1", "1.0", "true", "yes", "y", "x"}), frozenset({"", "0", "0.0", "false", "no", "n"})


@dataclass
class Batch:
    """Some consecutive rows of a source, as lists by column name."""

    columns: Mapping[str, Sequence[Any]]
    where: str
    """What was read, for messages; never with credentials."""
    places: Sequence[int]
    """Line or row number of each row, from 1."""
    unit: str = "line"
    """What ``places`` counts."""
    spoiled: dict[int, str] = field(default_factory=dict)
    """Rows that cannot be read: position in the batch and what is wrong, with the start of what stands there."""
    ids: Sequence[str] | None = None
    """The source's own id of each row, where it has one whatever the recipe says."""

    def take(self, positions: Sequence[int], columns: Iterable[str]) -> Batch:
        """Some of the rows, with some of their columns."""
        spoiled = {new: self.spoiled[old] for new, old in enumerate(positions) if old in self.spoiled}
        return Batch(
            {name: [self.columns[name][place] for place in positions] for name in columns},
            self.where,
            [self.places[place] for place in positions],
            self.unit,
            spoiled,
            self.ids and [self.ids[place] for place in positions],
        )

    def at(self, position: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.where}, {self.unit} {self.places[position]}"


@dataclass
class _Template:
    """How one field's template fared so far."""

    rows: int = 0
    failed: int = 0
    first: tuple[str, str] = ("", "")
    """Where it failed first, and why."""


class Mapper:
    """Turns batches into tables of ``snapshot.schema()``."""

    def __init__(
        self,
        config: Mapped,
        source: str,
        *,
        answered: bool = False,
        structures: Collection[str] | None = None,
        filtered: Counter[str] | None = None,
    ) -> None:
        """Compile the templates.

        Args:
            config: what is what.
            source: the name that the rows carry.
            answered: whether labels are texts that somebody wrote, so that rows may differ in them alone.
            structures: fields that may be a list or an object, see ``structures``; None for every field of a text.
            filtered: where rows that ``where`` leaves out are counted, by source.
        """
        self.config, self.source, self.answered = config, source, answered
        self.structures = frozenset(("text", "context", "label", "rejected") if structures is None else structures)
        self._scope = (
            "" if config.group_scope == "recipe" else f"{config.source_name() or f'{config.kind}:{config.location}'}:"
        )
        self._names = label_names.Names(config.label_map)
        self.columns = config.needs((*_FIELDS, "observed_at", "where"))
        """Columns that the source must have."""
        self._fared: dict[str, _Template] = {}
        self._filtered, self._left_out = [0, 0], filtered

    @classmethod
    def reading(cls, config: Mapped, context: Context, name: str) -> Mapper:
        """For rows that a step reads from a source, which carry this name."""
        own, fields = answered(context, name), structures(context, name)
        return cls(config, name, answered=own, structures=fields, filtered=context.filtered)

    def table(self, batch: Batch) -> pa.Table:
        """Rows of a batch. A row that cannot be read has a text that starts with ``BROKEN`` and says why."""
        import pyarrow as pa

        batch = self._chosen(batch)
        texts: list[str] = [text or "" for text in self.values("text", batch)]
        contexts, labels = self.values("context", batch), self.values("label", batch)
        rejected, times = self.values("rejected", batch), self._times(batch)
        keys, groups = self.values("id", batch), self.values("group", batch)
        own = keys if batch.ids is None else [key or own for key, own in zip(keys, batch.ids, strict=True)]
        row_keys = list(keys)
        for position, reason in batch.spoiled.items():  # what could not be read has no column to take these from
            texts[position] = storable([f"{BROKEN} {reason}"])[0] or BROKEN
            contexts[position] = labels[position] = rejected[position] = groups[position] = times[position] = None
            row_keys[position] = keys[position] or f"{batch.where}\x00{batch.places[position]}"
        answers = labels if self.answered else [None] * len(labels)
        columns = {
            "row_id": [
                snapshot.row_id(self.source, (key and snapshot.source_key(key)) or _key(*row))
                for key, *row in zip(row_keys, texts, contexts, answers, rejected, strict=True)
            ],
            "text": texts,
            "context": contexts,
            "label": self._labels(labels),
            "rejected": rejected,
            "source": pa.repeat(self.source, len(texts)),
            "group": [
                self._scope + named if group and (named := snapshot.source_key(group)) else None for group in groups
            ],
            "split_key": pa.nulls(len(texts), pa.string()),
            "source_id": own,
            "origin": [batch.at(position) for position in range(len(texts))],
            "observed_at": times,
        }
        return pa.table(columns, schema=snapshot.schema())

    def _labels(self, labels: list[str | None]) -> list[str | None]:
        """What ``label_map`` makes of labels."""
        if not self.config.label_map:
            return labels
        found = [None if label is None else self._names.find(label) for label in labels]
        return [label if name is None else name for label, name in zip(labels, found, strict=True)]

    def values(self, name: str, batch: Batch) -> list[str | None]:
        """One field of all rows as text; a list or an object is JSON, or spoils its row where the task takes none.

        Args:
            name: ``text``, ``context``, ``label``, ``rejected``, ``id`` or ``group``.
            batch: the rows; what cannot be mapped is added to ``batch.spoiled``.
        """
        spec = self.config.column_of(name)
        if name == "label" and self.config.label_columns:
            values: list[Any] = self._one_hot(self.config.label_columns, batch)
        elif spec is None:
            return [None] * len(batch.places)
        elif _templates.is_template(spec):
            values = self._rendered(name, _templates.template(spec), batch)
        else:
            values = list(batch.columns[spec])
        return self._as_texts(name, spec or name, values, batch)

    def _as_texts(self, name: str, spec: str, values: list[Any], batch: Batch) -> list[str | None]:
        for position, value in enumerate(values):
            if type(value) is str or value is None:
                continue
            if not isinstance(value, STRUCTURES):
                values[position] = plain(value)
            elif name in self.structures:
                values[position] = structured(value)
            else:
                kind = "an object" if isinstance(value, Mapping) else "a list"
                batch.spoiled.setdefault(position, f"[{spec} is {kind}] {structured(value)[:EXCERPT]}")
                values[position] = None
        return storable(values)

    def column(self, name: str, batch: Batch) -> list[str | None]:
        """One column of all rows as text; a list or an object spoils its row."""
        return self._as_texts(name, name, list(batch.columns[name]), batch)

    def finish(self) -> None:
        """Check what only the whole source tells: a template that failed in every row is a fault of the recipe.

        Rows that ``where`` left out are counted here.

        Raises:
            DataRejectedError: naming the template and the first row.
        """
        left_out, rows = self._filtered
        if left_out:
            log.info("%s: `where` filtered %s of %s rows", self.source, f"{left_out:,}", f"{rows:,}")
            if self._left_out is not None:
                self._left_out[self.source] += left_out
        for name, fared in self._fared.items():
            if fared.failed and fared.failed == fared.rows:
                where, why = fared.first
                raise DataRejectedError(
                    f"{where}: {why}; `{name}: {getattr(self.config, name)}` fails in every row ({fared.rows:,} rows)",
                    hint=f"correct `{name}` in the recipe; {{{{ field | default('') }}}} where rows may lack it",
                )

    def of(self, source: str) -> Mapper:
        """The same for rows that carry another name; what fails is counted together."""
        other = copy(self)
        other.source = source
        return other

    def _chosen(self, batch: Batch) -> Batch:
        """The rows of a batch for which ``where`` holds."""
        if self.config.where is None:
            return batch
        condition = _templates.condition(self.config.where)
        chosen = []
        for position, row in _rows(condition.names, batch):
            try:
                if position in batch.spoiled or condition.holds(row):
                    chosen.append(position)
            except HoleError as error:
                self._hole("where", batch, position, str(error), row)
                chosen.append(position)
        self._fared.setdefault("where", _Template()).rows += len(batch.places)
        self._filtered[0] += len(batch.places) - len(chosen)
        self._filtered[1] += len(batch.places)
        return batch if len(chosen) == len(batch.places) else batch.take(chosen, self.columns)

    def _rendered(self, name: str, template: _templates.Template, batch: Batch) -> list[str | None]:
        fared = self._fared.setdefault(name, _Template())
        fared.rows += len(batch.places) - len(batch.spoiled)
        texts: list[str | None] = []
        for position, row in _rows(template.names, batch):
            text = None
            try:
                if position not in batch.spoiled or name == "id":
                    text = template.render(row)
                    if text is None and name == "text":
                        self._hole(name, batch, position, template.blank(row), row)
            except HoleError as error:
                if position not in batch.spoiled:
                    self._hole(name, batch, position, str(error), row)
            texts.append(text)
        return texts

    def _hole(self, name: str, batch: Batch, position: int, why: str, row: Mapping[str, Any]) -> None:
        """Note that a row lacks something; without it the row is spoiled, or only has no such field."""
        fared = self._fared.setdefault(name, _Template())
        fared.failed += 1
        fared.first = (batch.at(position), why) if fared.failed == 1 else fared.first
        if name not in {"context", "id", "group"}:
            batch.spoiled.setdefault(position, f"[{name}: {why}] {structured(dict(row))[:EXCERPT]}")

    def _one_hot(self, names: Sequence[str], batch: Batch) -> list[Any]:
        """The labels whose column holds 1, as a list, or the one where the task takes one."""
        labels: list[Any] = []
        for position, row in _rows(names, batch):
            said = {name: (plain(value) or "").strip().lower() for name, value in row.items() if _single(value)}
            doubtful = [name for name in names if said.get(name, "[]") not in _ON | _OFF]
            found = [name for name in names if said.get(name) in _ON]
            several = "label" not in self.structures and len(found) > 1
            if position not in batch.spoiled and (doubtful or several):
                why = f"column {doubtful[0]!r} holds neither 1 nor 0" if doubtful else f"{len(found)} columns hold 1"
                batch.spoiled[position] = f"[label: {why}] {structured(row)[:EXCERPT]}"
            chosen = [self.config.label_map.get(name, name) for name in found]
            labels.append(chosen if "label" in self.structures else next(iter(chosen), None))
        return labels

    def _times(self, batch: Batch) -> list[dt.datetime | None]:
        column = self.config.observed_at
        if column is None:
            return [None] * len(batch.places)
        fared = self._fared.setdefault("observed_at", _Template())
        fared.rows += len(batch.places) - len(batch.spoiled)
        times: list[dt.datetime | None] = []
        for position, value in enumerate(batch.columns[column]):
            times.append(None)
            try:
                times[position] = None if position in batch.spoiled else moment(value)
            except (ValueError, TypeError, OverflowError):
                said = str(value)[:60]
                self._hole(
                    "observed_at",
                    batch,
                    position,
                    f"column {column!r} holds something that is no ISO 8601 time: {said!r}",
                    {column: said},
                )
        return times


def _single(value: Any) -> bool:
    return not isinstance(value, STRUCTURES)


def _rows(names: Sequence[str], batch: Batch) -> Iterator[tuple[int, dict[str, Any]]]:
    """Some columns of each row, with its position."""
    columns = [batch.columns[name] for name in names]
    rows = zip(*columns, strict=True) if names else iter([()] * len(batch.places))
    return ((position, dict(zip(names, row, strict=True))) for position, row in enumerate(rows))


def answered(context: Context, source: str) -> bool:
    """Whether the task of a source's rows is to write a text rather than to choose a label."""
    return context.recipe.task_of(source).TARGET == "text"


def structures(context: Context, source: str) -> tuple[str, ...]:
    """Fields of a source's rows that the task can read as a list or an object: they reach it as JSON."""
    return context.recipe.task_of(source).STRUCTURES


def require(where: str, wanted: Iterable[str], there: Sequence[str], hint: str = "") -> None:
    """Check that columns are there, each once.

    Args:
        where: what was read.
        wanted: columns that it must have.
        there: columns that it has.
        hint: what to do, where more is known than that the recipe and the columns do not agree.

    Raises:
        DataRejectedError: naming those that are not.
    """
    wanted = list(wanted)
    if missing := [name for name in wanted if name not in there]:
        folded = {str(name).strip().casefold(): str(name) for name in there}
        alike = [folded[name.casefold()] for name in missing if name.casefold() in folded]
        general = "name the columns in the recipe: text, label (null for none), id, group, observed_at"
        named = f"{general}; letters count as they are written: {', '.join(map(repr, alike))}"
        raise DataRejectedError(
            f"{where} has no column {', '.join(map(repr, missing))}; it has {', '.join(map(str, there))}",
            hint=hint or (named if alike else general),
        )
    if twice := [name for name in wanted if there.count(name) > 1]:
        raise DataRejectedError(f"{where} has more than one column {', '.join(map(repr, twice))}")


def _key(*texts: str | None) -> str:
    """What a row without a key of its own is known by."""
    first, *others = texts
    return "\x00".join([snapshot.text_key(first or ""), *(snapshot.text_key(other) for other in others if other)])
