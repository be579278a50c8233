"""The three assets that close a recipe's ring, and the schedules made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable

if TYPE_CHECKING:
    from airflow.sdk import Context

NEWEST = 100
"""Events of an asset among which an earlier try's is looked for."""

EMITTED = {"snapshot": ("snapshot", "rows", "verdict"), "champion": ("version",), "retrain": ("reason",)}
"""What the event of each asset carries: figures of the record that emits it, or its reason."""


@dataclass(frozen=True)
class Assets:
    """What one DAG of the ring tells the next."""

    snapshot: Asset
    """``data__R`` has published a snapshot."""
    champion: Asset
    """``finetune__R`` has promoted a candidate."""
    retrain: Asset
    """``monitor__R`` asks for retraining."""

    @classmethod
    def of(cls, name: str) -> Assets:
        """Assets of the recipe called ``name``."""
        return cls(*(Asset(name=f"{name}.{word}", uri=f"ftcore://{name}/{word}", group=name) for word in EMITTED))


def cron_or_asset(cron: str | None, asset: Asset) -> Asset | AssetOrTimeSchedule:
    """A schedule of whichever comes first; ``None`` leaves the asset alone.

    Nothing runs only because the DAG is new: the first run waits for the next tick.
    """
    if cron is None:
        return asset
    # No time at all: with False, Airflow 3.3 still runs at once within a tenth of the time between two ticks.
    tick = CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(0))
    return AssetOrTimeSchedule(timetable=tick, assets=asset)


def event_extra(asset: Asset, record: Mapping[str, Any]) -> dict[str, Any]:
    """What an asset's event carries of a record.

    Raises:
        KeyError: the record lacks a figure; the consumer would be started without what it needs.
    """
    known = {**record["figures"], "reason": record["reason"]}
    return {key: known[key] for key in EMITTED[asset.name.rpartition(".")[2]]}


def was_emitted(context: Context, task_id: str, asset: Asset, extra: Mapping[str, Any]) -> bool:
    """Whether an earlier try of this task has emitted the same event: it did its work, and Airflow heard half of it.

    A second event would start the consumer a second time.
    """
    if context["ti"].try_number == 1:
        return False
    from airflow.sdk.execution_time.context import InletEventsAccessors  # here, since no DAG needs it to be parsed

    run = context["dag_run"]
    mine = (run.dag_id, run.run_id, task_id)
    # The context has the events of declared inlets only, and an inlet would show the task as a reader of its asset.
    events = InletEventsAccessors([asset])[asset].ascending(False).limit(NEWEST)
    return any(
        (event.source_dag_id, event.source_run_id, event.source_task_id) == mine and dict(event.extra or {}) == extra
        for event in events
    )


def newest(triggering_asset_events: Mapping[Asset, Sequence[Any]], key: str) -> str:
    """A value of the newest event that started this run, or nothing; several events may have coalesced into one run."""
    events = [event for group in triggering_asset_events.values() for event in group]
    if not events:
        return ""
    return str((max(events, key=lambda event: event.timestamp).extra or {}).get(key, ""))
