"""What every source has, and what those have whose columns a recipe maps to fields."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ftcore.data import snapshot
from ftcore.data.cleaning import label_names
from ftcore.data.credentials import holds_secret
from ftcore.data.sources import _templates
from ftcore.data.values import plain
from ftcore.recipe.kinds import Config

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from ftcore.context import Context
    from ftcore.data.watermarks import Cursor


class Source(Config, ABC):
    """Where rows come from; its fields are what a recipe may set. Which rows are taken, only their row ids decide."""

    EXAMPLE: ClassVar[dict[str, Any]]
    """A valid entry of a recipe's ``sources``."""
    kind: str
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

    @abstractmethod
    def tables(self, context: Context) -> Iterator[pa.Table]:
        """All rows, as tables with the columns of ``snapshot.schema()``; as they come, some thousands at a time.

        Raises:
            FtcoreError: what is read from is not there, or not installed.
            DataRejectedError: what is there cannot be read, or lacks a column.
            TransientError: a server does not answer.
        """

    def read(self, context: Context) -> Iterator[pa.Table]:
        """The rows that ``weight`` and ``max_rows`` let through.

        Raises:
            As ``tables``.
        """
        return self.sampled(self.tables(context))

    def source_name(self) -> str | None:
        """Name that all rows of this source carry; None where they carry several."""
        return None

    @property
    def mapping(self) -> Mapped | None:
        """The source itself where a recipe maps its columns to fields; None where rows come with their fields."""
        return None

    @property
    def location(self) -> str | None:
        """Path or URL that is read; None where it is no file or folder."""
        return None

    @property
    def incremental(self) -> bool:
        """Whether ``read_since`` reads only what is new."""
        return False

    def read_since(self, context: Context, cursor: Cursor) -> Iterator[pa.Table]:
        """Rows from a cursor on; ``cursor.reached`` and ``cursor.deleted`` follow.

        Raises:
            As ``read``.
        """
        return self.read(context)

    def present(self, context: Context) -> Iterator[list[str]] | None:
        """Row ids of all that the source holds now, some thousands at a time; None where rows that are gone are kept.

        Raises:
            As ``read``.
        """
        return None

    def shards(self, context: Context) -> list[tuple[str, list[str]]]:
        """Pieces that several workers can read, in groups of about one size, each with a name; fewer than two: one can.

        Raises:
            As ``read``.
        """
        return []

    def read_shard(self, context: Context, pieces: Sequence[str]) -> Iterator[pa.Table]:
        """Rows of one group of ``shards``; all groups in order are what ``read`` reads.

        Raises:
            As ``read``.
        """
        raise NotImplementedError(f"{self.kind} has no shards")

    def missing(self, folder: Path) -> str:
        """Why there is nothing to read on this machine, as far as a look tells; empty where there is.

        Args:
            folder: the recipe's.
        """
        return ""

    def identity(self) -> dict[str, Any]:
        """What is read, without how its columns are mapped and how many rows are taken."""
        shared = {name for base in type(self).__mro__[1:] for name in getattr(base, "model_fields", ())}
        return self.model_dump(mode="json", exclude=shared - {"kind"})

    def sampled(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The rows that ``weight`` and ``max_rows`` let through; holds twice ``max_rows`` rows at most.

        With ``max_rows`` the rows come in the order of their row ids, else as they came.
        """
        import pyarrow as pa

        if self.weight < 1:
            limit = f"{int(self.weight * 16**13):013x}"
            tables = (t.filter(pa.array([i[:13] < limit for i in t["row_id"].to_pylist()], pa.bool_())) for t in tables)
        if self.max_rows is None:
            yield from tables
            return
        kept, waiting = snapshot.schema().empty_table(), 0
        for table in tables:
            kept, waiting = pa.concat_tables([kept, table]), waiting + table.num_rows
            if waiting >= max(self.max_rows, 50_000):
                kept, waiting = _lowest(kept, self.max_rows), 0
        yield _lowest(kept, self.max_rows)


def _lowest(table: pa.Table, count: int) -> pa.Table:
    import pyarrow.compute as pc

    return table.take(pc.sort_indices(table, [("row_id", "ascending")])[:count]).combine_chunks()


class Mapped(Source, ABC):
    """Which column is what.

    ``text``, ``context``, ``label``, ``rejected``, ``id`` and ``group`` take a column's name, or a Jinja template over
    all columns such as ``"{{ title }}: {{ body }}"``. A null prints as nothing, and a template of which every field is
    null gives null. A row that lacks a field of the template of its text or its answer is quarantined by itself;
    without a context, id or group it stays.
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
    label_columns: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Columns that each hold 1 or 0 (true or false, yes or no) for the label of their name, instead of ``label``. With
    ``label_map`` a column may be named otherwise than its label."""
    where: Annotated[str, Field(min_length=1)] | None = None
    """Take only the rows for which this Jinja expression over the columns holds, such as ``lang == 'en'``. The others
    are filtered, not quarantined."""

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
        if value and _templates.is_template(value):
            _compiled(_templates.template, value, "template")
        return value

    @field_validator("where")
    @classmethod
    def _condition_compiles(cls, value: str | None) -> str | None:
        if value and _templates.is_template(value):
            raise ValueError("is an expression without braces, such as lang == 'en'")
        if value:
            _compiled(_templates.condition, value, "expression")
        return value

    @model_validator(mode="after")
    def _has_one_label(self) -> Mapped:
        if self.label_columns and self.label and "label" in self.model_fields_set:
            raise ValueError("give either label or label_columns")
        return self

    @property
    def mapping(self) -> Mapped:
        """The source itself."""
        return self

    def column_of(self, name: str) -> str | None:
        """The column or template of one of the fields; None where the mapping has none."""
        return None if name == "label" and self.label_columns else getattr(self, name)

    def needs(self, fields: Iterable[str]) -> tuple[str, ...]:
        """Columns that some of the fields, ``observed_at`` and ``where`` need."""
        specs = [s for name in fields if name not in {"observed_at", "where"} and (s := self.column_of(name))]
        names = [n for s in specs for n in (_templates.template(s).names if _templates.is_template(s) else (s,))]
        names += self.label_columns or () if "label" in fields else ()
        names += [self.observed_at] if self.observed_at and "observed_at" in fields else []
        names += _templates.condition(self.where).names if self.where and "where" in fields else ()
        return tuple(dict.fromkeys(names))


def _compiled(compile_: Callable[[str], Any], spec: str, what: str) -> None:
    from jinja2 import TemplateSyntaxError

    try:
        compile_(spec)
    except TemplateSyntaxError as error:
        raise ValueError(f"is no Jinja {what}: {error.message}") from None
