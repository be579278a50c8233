"""What tasks share whose labels are a fixed set: how a label is read, counted and refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, field_validator

from ftcore.data.cleaning import label_names
from ftcore.data.cleaning.rows import LEFT_OUT
from ftcore.errors import DataRejectedError, NotEnoughDataError
from ftcore.tasks._base import Task

if TYPE_CHECKING:
    import pyarrow as pa


Label: TypeAlias = Annotated[str, BeforeValidator(label_names.written)]


class Labelled(Task):
    """A task whose labels are a fixed set."""

    BACKBONE = "encoder"

    labels: Annotated[tuple[Label, ...], Field(min_length=2)]
    """Label names in the order of the model's outputs."""
    other_labels: Literal["reject", "ignore"] = "reject"
    """What happens to rows with another label: ``reject`` counts them as faults of the data, ``ignore`` leaves them
    out as the recipe's own filter."""

    @field_validator("labels")
    @classmethod
    def _are_distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return distinct(value)

    def refused(self, reason: str) -> str:
        """Why a row with another label is left out: a fault of the data, or the recipe's own filter."""
        return reason if self.other_labels == "reject" else f"{LEFT_OUT}{reason}"


def distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels of a recipe.

    Raises:
        ValueError: two of them are the same, or look the same.
    """
    if len(set(labels)) < len(labels):
        raise ValueError("each label may stand here once")
    if strange := [label for label in labels if not label_names.visible(label)]:
        raise ValueError(f"a label must not be blank, which {strange[0]!r} is")
    for one, other in label_names.alike(labels):
        raise ValueError(
            f"{one!r} and {other!r} look the same; labels must differ in more than blanks and invisible characters"
        )
    return labels


def normalized(labels: Iterable[str], column: Sequence[str | None]) -> list[str | None]:
    """Labels of rows as the recipe writes them; a blank one is none, one that is none of the recipe's as it came."""
    names = label_names.Names(labels)
    found = {
        value: value and (names.find(value) or (value if label_names.visible(value) else None)) for value in column
    }
    found |= {value: None for value in found if value == ""}
    return [found[value] for value in column]


def _normalized(names: label_names.Names, value: str | None) -> str | None:
    if value is None or not label_names.visible(value):
        return None
    name = names.find(value)
    return value if name is None else name


def covered(
    labels: Sequence[str], found: Mapping[str, Collection[str | None]], rows: Mapping[str, pa.Table], written: str = ""
) -> None:
    """Check that each split has rows, and no label that the recipe does not list.

    A label may be absent from a split: ``validate`` warns of it, with the rows that it has in each.

    Args:
        labels: of the recipe.
        found: those that occur, by split.
        rows: of each split.
        written: how a row writes several, for the hint.

    Raises:
        NotEnoughDataError: a split has no row.
        DataRejectedError: rows have labels that the recipe does not know.
    """
    for split, there in found.items():
        if not rows[split].num_rows:
            raise NotEnoughDataError(f"the {split} split has no row", hint="add rows, or change the shares in prepare")
        if unknown := sorted(label_names.shown(str(label)) for label in there if label not in labels):
            raise DataRejectedError(
                f"the {split} split has labels that task.labels does not name",
                unknown,
                hint=f"the labels are {label_names.listing(labels)}{written}",
            )


def several(found: Collection[str | None]) -> str:
    """Why nothing can be told apart by the labels of the train split; empty where something can."""
    if len(found) > 1:
        return ""
    return f"every row of the train split has the label {', '.join(map(str, found))}: there is nothing to distinguish"


def learnable(why: str) -> None:
    """Stop where there is nothing to learn.

    Raises:
        NotEnoughDataError: with the reason.
    """
    if why:
        raise NotEnoughDataError(why, hint="add rows with other labels")
