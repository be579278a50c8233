"""Times as people read them: in UTC, and saying so."""

from __future__ import annotations

from datetime import UTC, datetime


def utc(at: object) -> datetime | None:
    """A time in UTC of a time or of ISO 8601 text; None of anything else."""
    try:
        when = at if isinstance(at, datetime) else datetime.fromisoformat(at if isinstance(at, str) else "")
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # no time, or one that in UTC is before the first year or after the last
        return None


def moment(at: object) -> str:
    """A time, or ISO 8601 text of one, for people: ``2026-11-28 05:22:03 UTC``; text that is none as it stands."""
    when = utc(at)
    return str(at or "") if when is None else f"{when:%Y-%m-%d %H:%M:%S} UTC"
