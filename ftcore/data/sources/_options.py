"""What a recipe may say of a source of columns: which of them means what."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ftcore.data.cleaning import label_names
from ftcore.data.sources import _templates
from ftcore.data.sources._base import Source
from ftcore.data.values import plain


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
