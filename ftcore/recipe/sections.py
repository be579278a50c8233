"""The sections of a recipe: every key that a recipe may have, with its default and its meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from ftcore.recipe.canonical import same_person
from ftcore.recipe.kinds import ROOMS, Config, any_of

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")
Share = Annotated[float, Field(ge=0, le=1)]


class Part(Protocol):
    """Configuration of one kind; which class it is, ``kind`` tells."""

    @property
    def kind(self) -> str:
        """File name of the kind in its room."""
        ...

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """Every field as a plain value."""
        ...


class Labelled(Part, Protocol):
    """Configuration of a task with a fixed set of labels."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names, in the order of the model's outputs."""
        ...


if TYPE_CHECKING:
