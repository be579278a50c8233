"""``ftcore new``: start a recipe or a kind from its room's template."""

from __future__ import annotations

import re
from pathlib import Path

from ftcore._find import ROOMS
from ftcore.errors import FtcoreError
from ftcore.recipe import NAME
from ftcore.settings import REPOSITORY, Settings
from ftcore.store import write_bytes

PACKAGE = Path(__file__).resolve().parent


def create(what: str, name: str, settings: Settings) -> Path:
    """Copy a template under a new name; returns the file. A folder of recipes may have a ``_template.yaml`` of its own.

    Args:
        what: ``recipe``, or a kind in the singular: ``source``, ``gate``, ….
        name: of the recipe or kind.
        settings: tell where recipes are.

    Raises:
        FtcoreError: no such template, a bad name, or the file is there already.
    """
    if not NAME.match(name):
        raise FtcoreError(f"bad name {name!r}", hint="lower case letters, digits and underscores, a letter first")
    rooms = {room.removesuffix("s"): PACKAGE / room for room in ROOMS}
    if what == "recipe":
        own, target = settings.recipes / "_template.yaml", settings.recipes / f"{name}.yaml"
        template = own if own.is_file() else REPOSITORY / "dags" / "recipes" / "_template.yaml"
    elif what in rooms:
        template, target = rooms[what] / "_template.py", rooms[what] / f"{name}.py"
    else:
        raise FtcoreError(f"no template for {what!r}", hint=f"known: recipe, {', '.join(rooms)}")
    if target.exists():
        raise FtcoreError(f"{target} is there already")
    text = template.read_text(encoding="utf-8")
    write_bytes(target, re.sub(r"\bNAME\b", name, text).encode())
    return target
