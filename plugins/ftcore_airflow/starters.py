"""Who started a run, by Airflow's own records: also who started the run whose asset event did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ftcore import settings
from ftcore.store import keys

if TYPE_CHECKING:
    from airflow.sdk import Context

FOLLOWED = ("snapshot", "retrain")
"""Events that a training comes from. One of a champion does not count: what it followed is decided about already."""
BY_API = "an event by Airflow's API"
"""Who started what nobody's run did: Airflow does not keep who made the event."""
GONE = "a run that Airflow has deleted"
"""Who started what came of a run of which Airflow has no record any more."""
MORE = "further runs, which were not looked at"
NOT_FOUND = 404
MOST = 100
"""Runs that are looked at."""


def starters(dag_run: Any, fetch: Callable[[str, str], Any] | None = None) -> list[str]:
    """Names of the people who started a run, or a run whose event started it, and so on; in order, each once.

    Args:
        dag_run: the run.
        fetch: gives a run by DAG id and run id; Airflow's by default.
    """
    fetch = fetch or _fetch
    found: dict[str, None] = {}
    seen: set[tuple[str, str]] = set()
    runs = [dag_run]
    while runs and len(seen) < MOST:
        run = runs.pop(0)
        if name := getattr(run, "triggering_user_name", None):
            found[str(name)] = None
        for source in _sources(getattr(run, "consumed_asset_events", None) or ()):
            if source is None:
                found[BY_API] = None
            elif source not in seen:
                seen.add(source)
                if there := fetch(*source):
                    runs.append(there)
                else:
                    found[GONE] = None
    if runs:
        found[MORE] = None
    return list(found)


def sealed(context: Context, told: Mapping[str, Any]) -> str:
    """What a step is told of its DAG run, signed with the platform's key: no other caller can say the same."""
    run = context["dag_run"]
    return keys.ring(settings.load()).seal({"dag_id": run.dag_id, "run_id": run.run_id, **told})


def asked(context: Context) -> str:
    """Who started the run, sealed."""
    return sealed(context, {"started_by": starters(context["dag_run"])})


def _sources(events: Iterable[Any]) -> Iterable[tuple[str, str] | None]:
    """DAG and run that emitted each event that counts; None for an event that no run did."""
    for event in events:
        if str(event.asset.name).rpartition(".")[2] in FOLLOWED:
            there = event.source_dag_id and event.source_run_id
            yield (str(event.source_dag_id), str(event.source_run_id)) if there else None


def _fetch(dag_id: str, run_id: str) -> Any:
    """A run by Airflow's record; None where there is none any more, as after ``airflow db clean``."""
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.comms import GetDagRun
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    try:
        return SUPERVISOR_COMMS.send(GetDagRun(dag_id=dag_id, run_id=run_id))
    except AirflowRuntimeError as error:
        if (error.error.detail or {}).get("status_code") == NOT_FOUND:
            return None
        raise
