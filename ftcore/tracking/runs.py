"""MLflow's runs that trained a recipe's models. Beside ``tracking.py`` the door to MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ftcore.store.records import now
from ftcore.tracking.client import HOST_TAG, RUN_TAG, Tracking
from ftcore.tracking.server import plainly, run_page, translate_errors

if TYPE_CHECKING:
    from ftcore.settings import Settings


@dataclass(frozen=True)
class Training:
    """One MLflow run that trained a model of the recipe."""

    run: str
    """MLflow run id."""
    run_id: str
    """Our run."""
    status: str
    started_at: datetime
    """UTC."""
    snapshots: tuple[str, ...]
    """Ids of the snapshots that it logged as its dataset inputs."""
    base: str
    """The base model, as the recipe called it."""


@dataclass(frozen=True)
class Logged:
    """What MLflow keeps of one run."""

    params: dict[str, str]
    page: str
    """Address in MLflow's own pages; empty where no server shows any."""


@plainly
def logged(settings: Settings, run: str) -> Logged:
    """Parameters of a run and where it is shown: one request.

    Raises:
        TransientError: MLflow does not answer.
        FtcoreError: there is no such run.
    """
    found = Tracking(settings, "").client.get_run(run)
    return Logged(dict(found.data.params), run_page(settings.mlflow_uri, found.info.experiment_id, run))


@plainly
def trainings(tracking: Tracking) -> list[Training]:
    """Every run of the recipe with the snapshots it was given, newest first; nothing is made where there is none.

    Raises:
        TransientError: MLflow does not answer.
    """
    found: list[Any] = []
    token = None
    experiment = tracking.client.get_experiment_by_name(tracking.name)
    while experiment:
        page = tracking.client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            break
    return [_training(run, tracking.name) for run in found]


@dataclass(frozen=True)
class Open:
    """One MLflow run that was begun and not ended."""

    run: str
    """MLflow run id."""
    run_id: str
    """Our run."""
    host: str
    """Machine that began it; empty in runs of earlier versions."""
    seen_at: datetime
    """When it was begun, or logged its last metric. UTC."""


@plainly
def running(tracking: Tracking) -> list[Open]:
    """Every run of the recipe that MLflow shows as running.

    Raises:
        TransientError: MLflow does not answer.
    """
    experiment = tracking.client.get_experiment_by_name(tracking.name)
    if not experiment:
        return []
    wanted = "attributes.status = 'RUNNING'"
    return [_open(tracking, run) for run in tracking.client.search_runs([experiment.experiment_id], wanted)]


def _open(tracking: Tracking, found: Any) -> Open:
    names = sorted(found.data.metrics, key=lambda name: not name.startswith("system/"))
    history = tracking.client.get_metric_history(found.info.run_id, names[0]) if names else []
    tags, at = found.data.tags, _last(found.info.start_time, *(one.timestamp for one in history))
    return Open(str(found.info.run_id), tags.get(RUN_TAG, ""), tags.get(HOST_TAG, ""), at)


def _last(*moments_ms: int | None) -> datetime:
    """The last of some moments that have been; whoever logs a metric may name any. Where none has, now."""
    latest = now()
    known = [one for one in moments_ms if one is not None and 0 <= one <= latest.timestamp() * 1000]
    return datetime.fromtimestamp(max(known) / 1000, UTC) if known else latest


def page(settings: Settings, name: str, run: str) -> str:
    """Address of a recipe's run in MLflow's own pages; empty where no server shows any.

    Raises:
        TransientError: MLflow does not answer.
    """
    tracking, uri = Tracking(settings, name), settings.mlflow_uri
    if not uri.startswith("http"):
        return ""
    with translate_errors(uri):
        experiment = tracking.client.get_experiment_by_name(name)
    return run_page(uri, experiment.experiment_id, run) if experiment else ""


def _training(found: Any, name: str) -> Training:
    inputs = [one.dataset for one in found.inputs.dataset_inputs]
    return Training(
        str(found.info.run_id),
        found.data.tags.get(RUN_TAG, ""),
        str(found.info.status),
        _last(found.info.start_time),
        tuple(one.digest for one in inputs if one.name == f"{name}-{one.digest}"),
        found.data.params.get("base", ""),
    )
