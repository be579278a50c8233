"""The version of what lies in a store and in a registry, and the names that earlier versions had for the same.

What is signed is never rewritten: records and manifests of an earlier version are read under today's names. A store of
a later version is refused, since this one would misread it.

::

    1   before versions were numbered
    2   figures of ``prepare`` have the field's names, see ``RENAMED``
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftcore.errors import ConfigurationError

VERSION = 2
FILE = "layout.json"
"""In ``STORE/RECIPE/state/``: the version, and which ftcore wrote it."""
TAG = "layout"
"""The same as a tag of the registered model."""
RENAMED = {
    "straddling": "split_conflicts",
    "contaminated": "leaked",
    "alike_with_other_labels": "near_duplicate_label_conflicts",
    "alike with another label": "near duplicate with another label",
    "doubted_by": "label_error_model",
    "foreign": "other_language",
}
"""Figures and kinds of review, by their names in version 1."""


def renamed(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures under today's names; a figure that has today's name already keeps its value."""
    return {RENAMED.get(name, name): value for name, value in figures.items() if RENAMED.get(name) not in figures}


def check(version: object, what: str) -> int:
    """The version of a store or a registry.

    Args:
        version: what is written there; None, or no number, is version 1.
        what: is asked, for the message.

    Raises:
        ConfigurationError: it is of a later version than this ftcore reads.
    """
    found = int(version) if isinstance(version, int | str) and str(version).isdecimal() else 1
    if found > VERSION:
        raise ConfigurationError(
            f"{what} has layout {found}, written by a later ftcore; this one reads layouts up to {VERSION}",
            hint="install the ftcore that wrote it, or a later one; nothing was read or changed",
        )
    return found
