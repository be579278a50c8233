"""What rows say is text on every page, also on those that a library renders which escapes some values and others not.

Such a library is given texts without a sign of markup: each is replaced by a character for private use, one for one, so
that nothing counts otherwise. On the page that comes out, entities take their place.
"""

from __future__ import annotations

import json
from typing import Any

STAND_INS = {sign: chr(0xF0000 + place) for place, sign in enumerate("<>&\"'`$")}
"""Signs of markup, and ``$`` of Great Expectations' templates, and what stands for them meanwhile."""
_AWAY = str.maketrans(STAND_INS)
_BACK = str.maketrans({one: sign for sign, one in STAND_INS.items()})


def disarmed(value: Any) -> Any:
    """JSON values whose texts, keys included, hold no sign of markup any more."""
    return _translated(value, _AWAY)


def restored(value: Any) -> Any:
    """Disarmed values as they were."""
    return _translated(value, _BACK)


def as_entities(page: str) -> str:
    """A page in which every sign that was replaced is an entity: a browser shows it, and takes it for no markup."""
    for sign, stands in STAND_INS.items():
        for form in (stands, json.dumps(stands)[1:-1]):  # as it is, and within the JSON of a script
            page = page.replace(form, f"&#{ord(sign)};")
    return page


def _translated(value: Any, table: dict[int, str]) -> Any:
    if isinstance(value, dict):
        return {_translated(key, table): _translated(inner, table) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_translated(inner, table) for inner in value]
    return value.translate(table) if isinstance(value, str) else value
