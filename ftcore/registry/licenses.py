"""Under which licences a version's base model, data and weights may be used, as far as anybody said so.

What the recipe says comes first, then the base model's own card, then the package that brought it. Nothing is guessed:
a licence that nobody named is null.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from ftcore.registry.declared import Declared

CARD = "README.md"
log = logging.getLogger(__name__)
LIMIT_BYTES = 1_000_000
"""A model card that is longer is none."""
FIELDS = ("license", "license_name", "license_link", "language")


def of_base(reference: str, folder: Path) -> dict[str, Any]:
    """What a base model says of its own licence.

    Args:
        reference: the recipe's ``base``.
        folder: where the model lies.

    Returns:
        ``license`` and where it stands, ``stated_in``; both None where nothing says it. ``language`` where its card
        names any, ``hub_id`` where the base is one of the hub.
    """
    found: dict[str, Any] = {"license": None, "stated_in": None}
    if known := _head(folder / CARD):
        found |= known
        found["stated_in"] = f"{CARD} of the base model" if "license" in known else None
    if not found["license"] and reference.startswith("package://"):
        found |= _of_package(reference.removeprefix("package://").partition("/")[0])
    if not found["license"] and (name := _text_file(folder)):
        found["stated_in"] = f"{name} of the base model, which is not read"
    if hub := hub_id(reference):
        found["hub_id"] = hub
    return found


def told(recipe: Declared, base: Mapping[str, Any] | None) -> dict[str, Any]:
    """Licences of a version as the bundle and the card tell them.

    Args:
        recipe: what its run declared.
        base: ``of_base`` as the training's record keeps it; None where it does not.

    Returns:
        ``model``, ``base`` (with ``license``, ``stated_in`` and ``model``) and ``data``, by source; null where nobody
        said it.
    """
    own = recipe.of("card.base_license")
    stated = dict(base or {"license": None, "stated_in": None})
    if own:
        stated |= {"license": own, "stated_in": "the recipe"}
    data = recipe.of("card.data_licenses", {})
    sources = [str(source.get("name") or source.get("kind")) for source in recipe.of("sources", [])]
    return {
        "model": recipe.of("card.license"),
        "base": {"model": recipe.of("base"), **stated},
        "data": {**dict.fromkeys(sources), **data},
    }


def hub_id(reference: str) -> str:
    """The hub's id of a base model, without its revision; empty where it is none of the hub's."""
    name = reference.partition("@")[0]
    other = "://" in reference or reference.startswith((".", "/", "~", "models:/")) or reference.endswith(".gguf")
    return "" if other else name


def _head(path: Path) -> dict[str, Any]:
    """What the YAML head of a model card, which anybody may have written, says of ``FIELDS``."""
    try:
        if path.stat().st_size > LIMIT_BYTES:
            return {}
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    if not text.startswith("---"):
        return {}
    try:
        found = yaml.safe_load(text.split("---", 2)[1])
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        told = str(error).splitlines()[0] if str(error) else ""
        log.warning("%s: its head cannot be read: %s: %s", path, type(error).__name__, told)
        return {}
    head = found if isinstance(found, dict) else {}
    stated = {name: head[name] for name in FIELDS if head.get(name)}
    if odd := [name for name, value in stated.items() if not _is_plain(value)]:
        log.warning("%s: %s cannot be read", path, ", ".join(odd))
    return {name: value for name, value in stated.items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    """Whether a value is a text or a list of texts, as all of these fields are."""
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _of_package(module: str) -> dict[str, Any]:
    """Licence of the package that brings a module."""
    for name in metadata.packages_distributions().get(module, ()):
        known = metadata.metadata(name)
        license_ = next((known[key] for key in ("License-Expression", "License") if key in known), None)
        if license_ and "\n" not in license_:
            return {"license": license_, "stated_in": f"the package {name} {known['Version']}"}
    return {}


def _text_file(folder: Path) -> str:
    """Name of a licence's text in a folder."""
    if not folder.is_dir():
        return ""
    found = (file.name for file in folder.iterdir() if file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")))
    return min(found, default="")
