"""How values read on the pages."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup, escape

from ftcore.registry.verdict import brief as clause
from ftcore.store.times import utc

NONE = "–"
BRIEF = 120
"""Characters of a reason in a list."""


def number(value: Any, digits: int = 3) -> str:
    """A number with so many digits after the point; a dash where there is none."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return NONE
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 10):
        return f"{value:,.0f}"
    return f"{value:,.{digits}f}"


def signed(value: Any, digits: int = 3) -> str:
    """A difference with its sign."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return NONE
    return f"{value:+,.{digits}f}".replace("-", "−")


def size(value: Any) -> str:
    """Bytes for people."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return NONE
    for unit in ("B", "kB", "MB"):
        if abs(value) < 1000:
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} GB"


def when(value: Any) -> Markup:
    """A time as ``<time>``, in UTC; a dash where there is none."""
    at = utc(value)
    if at is None:
        return escape(NONE)
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), f"{at:%Y-%m-%d %H:%M}")


def short(value: Any, length: int = 12) -> str:
    """The beginning of a hash or an id."""
    text = str(value or "")
    return text if len(text) <= length + 1 else f"{text[:length]}…"


def words(value: Any) -> str:
    """``rolled_back`` as ``rolled back``."""
    return str(value or "").replace("_", " ")


def chance(value: Any) -> str:
    """A p-value; the smallest ones are only said to be small."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def brief(reason: Any) -> str:
    """The first clause of each line of a reason, short enough for a list."""
    return "\n".join(clause(line, BRIEF) for line in str(reason or "").splitlines())


def percent(share: Any) -> str:
    """A share as a percentage without decimals; a dash where there is none."""
    return NONE if not isinstance(share, int | float) or not math.isfinite(share) else f"{100 * share:.0f} %"


def capitalize_first(text: Any) -> str:
    """A sentence that begins with a capital; the rest is as it was."""
    return f"{str(text)[:1].upper()}{str(text)[1:]}"


def by(person: Any) -> str:
    """Who promoted, after a time: a name, or the sentence that stands where nobody was asked."""
    text = str(person or "")
    return f", {text}" if text.startswith("the recipe") else f" by {text}" if text else ""


FILTERS = {
    "capitalize_first": capitalize_first,
    "brief": brief,
    "percent": percent,
    "by": by,
    "chance": chance,
    "number": number,
    "signed": signed,
    "size": size,
    "when": when,
    "short": short,
    "words": words,
}
"""What the templates may use."""
