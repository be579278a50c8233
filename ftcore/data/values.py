"""Single values of a source as text, and lists and objects as JSON."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from typing import Any

BROKEN = "\ufffd"
"""Stands where text could not be read. The expectation suites quarantine rows whose text holds it."""
STRUCTURES = (Mapping, list, tuple, set)
"""Types of what is no single value."""


def plain(value: Any) -> str | None:
    """A single value as text; None for none and for NaN.

    Raises:
        TypeError: a list or an object.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN
        return None
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", errors="replace")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, STRUCTURES):
        raise TypeError("not a single value")
    return str(value)


def structured(value: Any) -> str:
    """A list or an object as JSON, in the order in which it was written; NaN is null, a time a text."""
    return json.dumps(_jsonable(value), ensure_ascii=False, default=str)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(plain(key)): _jsonable(one) for key, one in value.items()}
    if isinstance(value, STRUCTURES):
        return [_jsonable(one) for one in value]
    return value if value is None or isinstance(value, str | bool | int) else _number_or_text(value)


def _number_or_text(value: Any) -> float | str | None:
    text = plain(value)
    return value if text is not None and isinstance(value, float) and math.isfinite(value) else text


def moment(value: Any) -> dt.datetime | None:
    """A time in UTC, to the millisecond; one without an offset is taken to be in UTC already.

    Raises:
        ValueError: no time by ISO 8601.
    """
    if value is None:
        return None
    if not isinstance(value, dt.datetime):
        value = dt.datetime.fromisoformat(plain(value) or "")
    value = value.astimezone(dt.UTC) if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return value.replace(microsecond=value.microsecond // 1000 * 1000)  # type: ignore[no-any-return]


def storable(values: list[Any]) -> list[str | None]:
    """Text that every file format can hold: no NUL and no half of a surrogate pair."""
    whole = "".join(filter(None, values))
    try:
        whole.encode()
        if "\x00" not in whole:
            return values
    except UnicodeEncodeError:
        pass
    fine = (v and v.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for v in values)
    return [v and v.replace("\x00", BROKEN) for v in fine]
