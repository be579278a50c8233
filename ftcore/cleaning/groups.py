"""Names of groups: one that is personal data stands under a pseudonym, so that groups stay apart and name nobody."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftcore.cleaning.personal import Cleaner
    from ftcore.split import SplitKeys

PSEUDONYM = re.compile(r"\[GROUP [a-p]{16}\]")
"""A group whose name was replaced before, as rows of an earlier snapshot have it."""


def pseudonymous(groups: Sequence[str | None], cleaner: Cleaner, keys: SplitKeys) -> list[str | None]:
    """The groups, each that holds personal data under its pseudonym; a pseudonym stays what it is.

    Args:
        groups: one a row; None where there is none.
        cleaner: finds what the recipe calls personal data.
        keys: the recipe's split keys, whose secret the pseudonyms are made with: they stay when other secrets change.
    """
    named = sorted({group for group in groups if group and not PSEUDONYM.fullmatch(group)})
    cleaned, _ = cleaner.clean(named)
    instead = {name: keys.pseudonym(name) for name, clean in zip(named, cleaned, strict=True) if clean != name}
    return [instead.get(group, group) if group else None for group in groups] if instead else list(groups)
