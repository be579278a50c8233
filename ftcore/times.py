"""Times as people read them: in UTC, and saying so."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(at: object) -> str:
    """A time, or ISO 8601 text of one, for people: ``2026-11-28 05:22:03 UTC``; text that is none as it stands."""
    try:
        when = at if isinstance(at, datetime) else datetime.fromisoformat(str(at))
    except ValueError:
        return str(at or "")
    return f"{(when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
