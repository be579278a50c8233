"""The period that a run was asked for: a backfill reads only the rows that were observed in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftcore.errors import FtcoreError

if TYPE_CHECKING:
    import pyarrow as pa

HINT = "both are ISO 8601 times, in UTC where they name no offset: -p since=2026-01-01 -p until=2026-02-01"


@dataclass(frozen=True)
class Period:
    """From ``since`` on and before ``until``, both in UTC."""

    since: dt.datetime
    until: dt.datetime

    def keep(self, rows: pa.Table) -> pa.Table:
        """The rows whose ``observed_at`` lies in the period; a row without a time lies in none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        at = rows["observed_at"]
        since, until = (pa.scalar(moment, at.type) for moment in (self.since, self.until))
        return rows.filter(pc.and_(pc.greater_equal(at, since), pc.less(at, until)))

    def days(self) -> list[dt.date]:
        """Every day of which a part lies in the period."""
        first, last = self.since.date(), (self.until - dt.timedelta(microseconds=1)).date()
        return [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]

    def figures(self) -> dict[str, str]:
        """As records and manifests keep it."""
        return {"since": self.since.isoformat(), "until": self.until.isoformat()}


def asked(params: Mapping[str, str]) -> Period | None:
    """The period that the parameters ``since`` and ``until`` ask for; None where they are not there.

    Raises:
        FtcoreError: only one is there, one is no ISO 8601 time, or no time lies between them.
    """
    given = {name: params[name] for name in ("since", "until") if params.get(name)}
    if not given:
        return None
    if len(given) == 1:
        raise FtcoreError(f"{next(iter(given))} needs the other of since and until", HINT)
    try:
        since, until = (_utc(dt.datetime.fromisoformat(given[name])) for name in ("since", "until"))
    except ValueError as error:
        raise FtcoreError(f"the period cannot be read: {error}", HINT) from error
    if since >= until:
        raise FtcoreError(f"no time lies from {since.isoformat()} to before {until.isoformat()}", HINT)
    return Period(since, until)


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
