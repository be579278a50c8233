"""What all sources share: which column means what, and how many rows are taken."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ftcore import snapshot
from ftcore._find import Config as Base
from ftcore._find import find
from ftcore.cleaning import label_names
from ftcore.errors import DataRejectedError
from ftcore.sources._secrets import holds_secret

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.context import Context

BROKEN = "\ufffd"
"""Stands where text could not be read. The expectation suites quarantine rows whose text holds it."""
_TEMPLATE = re.compile(r"{{|{%")
_STRUCTURES = (Mapping, list, tuple, set)


class Sampled(Base):
    """How many of a source's rows are taken; which ones, only their row ids decide."""

    weight: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the rows that are taken, 0 to 1. A row that is in at one weight is in at every larger one."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """Take only this many rows: those with the lowest row ids, so that the choice does not depend on their order."""

    @model_validator(mode="before")
    @classmethod
    def _keeps_no_secret(cls, values: Any) -> Any:
        # Raised on the whole mapping: a fault of one field would repeat the field's value in its message.
        if holds_secret(values):
            raise ValueError(
                "holds a URL with credentials; they belong into the environment, such as FTCORE_CONNECTION_NAME"
            )
        return values


class Mapped(Sampled):
    """Which column is what.

    ``text``, ``context``, ``label``, ``rejected``, ``id`` and ``group`` take a column's name, or a Jinja template over
    all columns such as ``"{{ title }}: {{ body }}"``.
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,60}$")] | None = None
    """Name of the source, part of its rows' identity; without one it follows from where the rows come from."""
    text: str = "text"
    """Column or template of the text."""
    context: str | None = None
    """Column or template of what belongs to the text: a passage, a second sentence, a system prompt."""
    label: str | None = "label"
    """Column or template of the label, or of the answer where the task is to write one; null where there are none."""
    rejected: str | None = None
    """Column or template of an answer that people liked less than the label."""
    id: str | None = None
    """Column or template of the source's own key, of which ``12``, ``12.0`` and `` 12 `` are one; without one a row is
    known by its text and context, and where the task is to write a text also by its answers."""
    group: str | None = None
    """Column or template that ties rows together which must stay on one side of the split: a customer, a document, a
    conversation. ``12``, ``12.0`` and `` 12 `` are one group, whatever the case of its letters."""
    group_scope: Literal["recipe", "source"] = "recipe"
    """Where a group's name holds: in the whole ``recipe``, so that a customer is one group whatever source, file or
    feedback names it, or in this ``source`` alone, where its numbers mean something else than in others."""
    observed_at: str | None = None
    """Column of the time at which the row was observed; ISO 8601, in UTC where it names no offset."""
    label_map: dict[str, str] = Field(default_factory=dict)
    """Labels by the value that the source uses for them: ``1`` stands for 1.0 and true, too, unless they are listed
    themselves, and blanks around a value count for nothing. A value that is not listed stays as it is."""

    @field_validator("label_map", mode="before")
    @classmethod
    def _keys_are_text(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {plain(label_names.written(key)): label_names.written(label) for key, label in value.items()}

    @field_validator("label_map")
    @classmethod
    def _keys_agree(cls, value: dict[str, str]) -> dict[str, str]:
        for one, other in label_names.at_odds(value):
            raise ValueError(
                f"the keys {one!r} and {other!r} are one label and stand for {value[one]!r} and {value[other]!r}"
            )
        return value

    @field_validator("text", "context", "label", "rejected", "id", "group")
    @classmethod
    def _template_compiles(cls, value: str | None) -> str | None:
        if value and _TEMPLATE.search(value):
            from jinja2 import TemplateSyntaxError

            try:
                _environment().parse(value)
            except TemplateSyntaxError as error:
                raise ValueError(f"is no Jinja template: {error.message}") from None
        return value


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

    def at(self, position: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.where}, {self.unit} {self.places[position]}"


class Mapper:
    """Turns batches into tables of ``snapshot.schema()``."""

    def __init__(
        self, config: Mapped, source: str, *, answered: bool = False, structures: Collection[str] | None = None
    ) -> None:
        """Compile the templates.

        Args:
            config: what is what.
            source: the name that the rows carry.
            answered: whether labels are texts that somebody wrote, so that rows may differ in them alone.
            structures: fields that may be a list or an object, see ``structures``; None for every field of a text.
        """
        self.config, self.source, self.answered = config, source, answered
        self.structures = frozenset(("text", "context", "label", "rejected") if structures is None else structures)
        self._scope = "" if config.group_scope == "recipe" else f"{_whole(config)}:"
        self._names = label_names.Names(config.label_map)
        fields = (config.text, config.context, config.label, config.rejected, config.id, config.group)
        self._getters = {name: _getter(name) for name in fields if name}
        names = [n for getter in self._getters.values() for n in getter[0]] + [config.observed_at or ""]
        self.columns = tuple(dict.fromkeys(filter(None, names)))
        """Columns that the source must have."""

    def table(self, batch: Batch) -> pa.Table:
        """Rows of a batch. A row that cannot be read has a text that starts with ``BROKEN`` and says why.

        Raises:
            DataRejectedError: a template fails, or a time is none; with file and line.
        """
        import pyarrow as pa

        texts: list[str] = [text or "" for text in self._values("text", batch)]
        contexts, labels = self._values("context", batch), self._values("label", batch)
        rejected = self._values("rejected", batch)
        keys, groups = self._values("id", batch), self._values("group", batch)
        for position, reason in batch.spoiled.items():  # what could not be read has no column to take these from
            texts[position] = _clean([f"{BROKEN} {reason}"])[0] or BROKEN
            contexts[position] = labels[position] = rejected[position] = groups[position] = None
            keys[position] = keys[position] or f"{batch.where}\x00{batch.places[position]}"
        answers = labels if self.answered else [None] * len(labels)
        columns = {
            "row_id": [
                snapshot.row_id(self.source, (key and snapshot.source_key(key)) or _key(*row))
                for key, *row in zip(keys, texts, contexts, answers, rejected, strict=True)
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
            "source_id": [None if position in batch.spoiled else key for position, key in enumerate(keys)],
            "origin": [batch.at(position) for position in range(len(texts))],
            "observed_at": self._times(batch),
        }
        return pa.table(columns, schema=snapshot.schema())

    def _labels(self, labels: list[str | None]) -> list[str | None]:
        """What ``label_map`` makes of labels."""
        if not self.config.label_map:
            return labels
        found = [None if label is None else self._names.find(label) for label in labels]
        return [label if name is None else name for label, name in zip(labels, found, strict=True)]

    def _values(self, name: str, batch: Batch) -> list[str | None]:
        """One field of all rows as text; a list or an object is JSON, or spoils its row where the task takes none."""
        spec: str | None = getattr(self.config, name)
        if spec is None:
            return [None] * len(batch.places)
        values = list(self._getters[spec][1](batch))
        for position, value in enumerate(values):
            if type(value) is str or value is None:
                continue
            if not isinstance(value, _STRUCTURES):
                values[position] = plain(value)
            elif name in self.structures:
                values[position] = structured(value)
            else:
                kind = "an object" if isinstance(value, Mapping) else "a list"
                batch.spoiled.setdefault(position, f"[{spec} is {kind}] {structured(value)[:200]}")
                values[position] = None
        return _clean(values)

    def _times(self, batch: Batch) -> pa.Array:
        import pyarrow as pa

        kind, column = pa.timestamp("ms", "UTC"), self.config.observed_at
        if column is None:
            return pa.nulls(len(batch.places), kind)
        times: list[dt.datetime | None] = []
        for position, value in enumerate(batch.columns[column]):
            try:
                times.append(None if position in batch.spoiled else moment(value))
            except ValueError as error:
                said = f"{batch.at(position)}: column {column!r} holds something that is no ISO 8601 time"
                raise DataRejectedError(f"{said}: {str(value)[:60]!r}") from error
        return pa.array(times, kind)


def sampled(config: Sampled, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows that ``weight`` and ``max_rows`` let through; holds twice ``max_rows`` rows at most.

    With ``max_rows`` the rows come in the order of their row ids, else as they came.
    """
    import pyarrow as pa

    if config.weight < 1:
        limit = f"{int(config.weight * 16**13):013x}"
        tables = (t.filter(pa.array([i[:13] < limit for i in t["row_id"].to_pylist()], pa.bool_())) for t in tables)
    if config.max_rows is None:
        yield from tables
        return
    kept, waiting = snapshot.schema().empty_table(), 0
    for table in tables:
        kept, waiting = pa.concat_tables([kept, table]), waiting + table.num_rows
        if waiting >= max(config.max_rows, 50_000):
            kept, waiting = _lowest(kept, config.max_rows), 0
    yield _lowest(kept, config.max_rows)


def answered(context: Context, source: str) -> bool:
    """Whether the task of a source's rows is to write a text rather than to choose a label."""
    task: Any = context.recipe.task
    own = task.of(source) if hasattr(task, "of") else task
    return bool(find("tasks", own.kind).TARGET == "text")


def structures(context: Context, source: str) -> tuple[str, ...]:
    """Fields of a source's rows that the task can read as a list or an object: they reach it as JSON."""
    task: Any = context.recipe.task
    own = task.of(source) if hasattr(task, "of") else task
    return tuple(getattr(find("tasks", own.kind), "STRUCTURES", ()))


def require(where: str, wanted: Iterable[str], there: Sequence[str]) -> None:
    """Check that columns are there, each once.

    Raises:
        DataRejectedError: naming those that are not.
    """
    wanted = list(wanted)
    if missing := [name for name in wanted if name not in there]:
        raise DataRejectedError(
            f"{where} has no column {', '.join(map(repr, missing))}; it has {', '.join(map(str, there))}",
            hint="name the columns in the recipe: text, label (null for none), id, group, observed_at",
        )
    if twice := [name for name in wanted if there.count(name) > 1]:
        raise DataRejectedError(f"{where} has more than one column {', '.join(map(repr, twice))}")


def plain(value: Any) -> str | None:
    """A single value as text; None for none and for NaN.

    Raises:
        TypeError: a list or an object.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN
        return None
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", errors="replace")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, _STRUCTURES):
        raise TypeError("not a single value")
    return str(value)


def structured(value: Any) -> str:
    """A list or an object as JSON, in the order in which it was written; NaN is null, a time a text."""
    return json.dumps(_jsonable(value), ensure_ascii=False, default=str)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(plain(key)): _jsonable(one) for key, one in value.items()}
    if isinstance(value, _STRUCTURES):
        return [_jsonable(one) for one in value]
    return value if value is None or isinstance(value, str | bool | int) else _number_or_text(value)


def _number_or_text(value: Any) -> float | str | None:
    text = plain(value)
    return value if text is not None and isinstance(value, float) and math.isfinite(value) else text


def moment(value: Any) -> dt.datetime | None:
    """A time in UTC, to the millisecond; one without an offset is taken to be in UTC already."""
    if value is None:
        return None
    if not isinstance(value, dt.datetime):
        value = dt.datetime.fromisoformat(plain(value) or "")
    value = value.astimezone(dt.UTC) if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return value.replace(microsecond=value.microsecond // 1000 * 1000)  # type: ignore[no-any-return]


def _whole(config: Any) -> str:
    """Name of a source as a whole, where its files have names of their own."""
    return str(find("sources", config.kind).source_name(config) or f"{config.kind}:{config.path}")


def _key(*texts: str | None) -> str:
    """What a row without a key of its own is known by."""
    first, *others = texts
    return "\x00".join([snapshot.text_key(first or ""), *(snapshot.text_key(other) for other in others if other)])


def _lowest(table: pa.Table, count: int) -> pa.Table:
    return table.take(_order(table)[:count]).combine_chunks()


def _order(table: pa.Table) -> Any:
    import pyarrow.compute as pc

    return pc.sort_indices(table, [("row_id", "ascending")])


def _clean(values: list[Any]) -> list[str | None]:
    """Text that every file format can hold: no NUL and no half of a surrogate pair."""
    whole = "".join(filter(None, values))
    try:
        whole.encode()
        if "\x00" not in whole:
            return values
    except UnicodeEncodeError:
        pass
    fine = (v and v.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for v in values)
    return [v and v.replace("\x00", BROKEN) for v in fine]


def _getter(spec: str) -> tuple[tuple[str, ...], Callable[[Batch], Sequence[Any]]]:
    """The columns that a field needs, and a function that gives its values."""
    if not _TEMPLATE.search(spec):
        return (spec,), lambda batch: batch.columns[spec]
    from jinja2 import meta

    environment = _environment()
    names = tuple(sorted(meta.find_undeclared_variables(environment.parse(spec))))
    template = environment.from_string(spec)

    def render(batch: Batch) -> list[str | None]:
        rows = zip(*(batch.columns[name] for name in names), strict=True) if names else [()] * len(batch.places)
        texts: list[str | None] = []
        for position, row in enumerate(rows):
            try:
                texts.append(None if position in batch.spoiled else template.render(dict(zip(names, row, strict=True))))
            except Exception as error:
                raise DataRejectedError(f"{batch.at(position)}: the template {spec!r} fails: {error}") from error
        return texts

    return names, render


def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        finalize=lambda value: "" if value is None else value,
    )
