"""What a backfill run reads: the rows observed since the tick before its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from croniter import croniter

PERIOD = {"since": "{{ period(dag_run, params).since }}", "until": "{{ period(dag_run, params).until }}"}
"""What ``shard`` and ``ingest`` are asked; empty where the run reads all there is."""


def period_by(cron: str | None) -> Callable[[Any, Any], dict[str, str]]:
    """Macro that gives ``since`` and ``until`` of a run.

    A backfill run reads from the tick before its logical date until that date; a run that a person started reads what
    the form says; every other run reads all there is.
    """

    def period(dag_run: Any, params: Any) -> dict[str, str]:
        if str(getattr(dag_run.run_type, "value", dag_run.run_type)) == "backfill" and cron and dag_run.logical_date:
            until = dag_run.logical_date.astimezone(dt.UTC)
            since = croniter(cron, until).get_prev(dt.datetime)
            return {"since": since.isoformat(), "until": until.isoformat()}
        return {name: str(params.get(name) or "") for name in ("since", "until")}

    return period
