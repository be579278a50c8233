"""What the commands share: their common arguments, and how a recipe is opened."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftcore.cli._plain import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ftcore.recipe.model import Recipe
    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or the path of its file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for scripts.")]
Params = Annotated[
    list[str],
    typer.Option("--param", "-p", metavar="KEY=VALUE", help="Run parameter, such as train=always; may be repeated."),
]


WIDE = 10_000
"""Columns where nobody looks on: what goes into a pipe or a file is cut or broken nowhere."""


def console(width: int | None = None, **settings: Any) -> Console:
    """Rich's console on stdout, as wide as the terminal; without one nothing is cut. No text does anything there."""
    from rich.console import Console
    from rich.segment import Segment

    class Screen(Console):  # type: ignore[misc]  # mypy does not follow rich
        """Shows what would do something on a terminal; its own colours go there."""

        def render(self, *given: Any, **named: Any) -> Iterator[Segment]:
            for one in super().render(*given, **named):
                yield one if one.control else Segment(printable(one.text), one.style)

    return Screen(width=width or (None if sys.stdout.isatty() else WIDE), **settings)


def show(what: RenderableType, **settings: Any) -> None:
    """Print what rich can show; into a pipe or a file no line ends in blanks."""
    shown = console(**settings)
    if sys.stdout.isatty():
        shown.print(what)
        return
    with shown.capture() as captured:
        shown.print(what)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def say(text: str) -> None:
    logging.getLogger("ftcore").info("%s", text)


def path_of(model: str) -> Path:
    from ftcore import settings
    from ftcore.recipe.reading import locate

    return locate(model, settings.load().recipes)


def open_recipe(name: str) -> tuple[Recipe, RecipeStore, Settings]:
    from ftcore import settings
    from ftcore.recipe import reading
    from ftcore.store import store

    conf = settings.load()
    read = reading.read(path_of(name))
    return read, store.shelf(conf, read.name), conf


def open_kept(name: str) -> tuple[Recipe, RecipeStore, Settings]:
    """The same for what must go on where the recipe's file is gone or broken: the champion's own recipe, and says so.

    Raises:
        RecipeError: there is no such recipe that can be used, neither a file nor of a run in the store.
    """
    from ftcore.errors import RecipeError
    from ftcore.registry import last_recipe

    try:
        return open_recipe(name)
    except RecipeError as error:
        shelf, conf = open_archive(name)
        kept = last_recipe.last(shelf)
        if kept is None:
            raise
        why = "; ".join(" ".join(part for part in fault if part) for fault in error.faults)
        say(f"the recipe of {shelf.name} is that of its run {kept[1]}, since its file cannot be used: {why}")
        return kept[0], shelf, conf


def open_archive(name: str) -> tuple[RecipeStore, Settings]:
    """The part of the store of a recipe, by its name or the path of its file, which may be gone or broken.

    Raises:
        RecipeError: there is no such recipe, neither a file nor anything in the store.
    """
    from ftcore import settings
    from ftcore.errors import RecipeError
    from ftcore.recipe import model, reading
    from ftcore.store import store

    conf, stem = settings.load(), Path(name).stem
    try:
        own = reading.read(path_of(name)).name
    except RecipeError:
        if not model.NAME.match(stem) or not store.shelf(conf, stem).root.exists():
            raise
        own = stem
    return store.shelf(conf, own), conf


def params_of(given: list[str]) -> dict[str, str]:
    from ftcore.errors import FtcoreError

    if bad := [text for text in given if "=" not in text]:
        raise FtcoreError(f"--param takes KEY=VALUE, not {bad[0]!r}")
    return dict(text.split("=", 1) for text in given)


def sentence(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in values.items())
