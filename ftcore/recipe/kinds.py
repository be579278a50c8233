"""Find a kind by its file name: the registry of kinds is the list of files.

YAML ``kind: lora`` in a recipe's ``method`` means the file ``training/methods/lora.py``. It holds a class with
``kind: Literal["lora"] = "lora"`` that inherits from the abstract one in the family's ``_base.py``; adding the file
adds the kind.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache, reduce
from operator import or_
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

FAMILIES = {
    "sources": "data.sources",
    "tasks": "tasks",
    "methods": "training.methods",
    "strategies": "training.strategies",
    "exporters": "export.exporters",
    "gates": "evaluation.gates",
    "detectors": "monitoring.detectors",
}
"""Where each family lives: its room in the house, one kind a file."""
ROOMS = tuple(family for family in FAMILIES if family != "strategies")
"""The families that a recipe chooses from by ``kind``, in the order in which the ring meets them."""
PACKAGE = Path(__file__).parent.parent


class FieldDefault:
    """The value of an attribute for instances of kinds that have no field of that name.

    The class itself does not have it, so that pydantic lets a field take the name.
    """

    def __init__(self, value: object) -> None:
        """Keep the value."""
        self.value = value

    def __get__(self, instance: object, owner: type) -> object:
        """The value, for an instance only."""
        if instance is None:
            raise AttributeError
        return self.value


class Config(BaseModel):
    """Base of every piece of a recipe: immutable, and a misspelt key is a fault."""

    # A traceback must not repeat what somebody wrote into a recipe: it may be a password put there by mistake.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        ignored_types=(FieldDefault,),
    )


def folder(room: str) -> Path:
    """Where the files of a family are."""
    return PACKAGE.joinpath(*FAMILIES[room].split("."))


@cache
def kinds(room: str) -> tuple[str, ...]:
    """Names of the kinds in a room, sorted; files that start with ``_`` are not kinds."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules([str(folder(room))]) if not m.name.startswith("_")))


@cache
def find(room: str, kind: str) -> ModuleType:
    """Import the module of one kind.

    Raises:
        LookupError: no such kind; the message lists the known ones.
    """
    if kind not in kinds(room):
        raise LookupError(f"{room} has no kind {kind!r}; known: {', '.join(kinds(room))}")
    return importlib.import_module(f"ftcore.{FAMILIES[room]}.{kind}")


@cache
def kind_class(room: str, kind: str) -> type[Any]:
    """The class of one kind: the one in its file whose ``kind`` is the file's name.

    Raises:
        LookupError: no such kind; the message lists the known ones.
    """
    module = find(room, kind)
    classes = {one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Config)}
    named = [one for one in classes if _kind_of(one) == kind]
    if len(named) != 1:
        raise LookupError(f"{module.__name__} needs one class with `kind: Literal[{kind!r}] = {kind!r}`")
    return named[0]


def _kind_of(config: type[Config]) -> object:
    field = config.model_fields.get("kind")
    return field.default if field else None


def any_of(room: str) -> Any:
    """The type of a recipe field that may hold any kind of a room: a union told apart by ``kind``."""
    classes = [kind_class(room, kind) for kind in kinds(room)]
    return Annotated[reduce(or_, classes), Field(discriminator="kind")] if len(classes) > 1 else classes[0]
