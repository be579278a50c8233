"""MLflow: runs, artefacts and the versions of a registered model. Only files called ``tracking*`` import it.

One experiment and one registered model per recipe. A run and a version carry the tag ``ftcore.run``, by which a step
that is run again finds what it made before instead of making a second one. Aliases: ``candidate``, ``champion``,
``previous``.
"""

from __future__ import annotations

import os
import platform
import posixpath
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.recipe.canonical import sha256
from ftcore.store import layout
from ftcore.store.store import hash_folder, size_of
from ftcore.tracking.places import artifact_root, check_not_moved, here, source_of
from ftcore.tracking.server import connected, once, patient, plainly, translate_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

    from ftcore.settings import Settings

RUN_TAG, RECIPE_TAG, HASH_TAG = "ftcore.run", "ftcore.recipe", "ftcore.sha256."
SIZE_TAG = "ftcore.size."
FAILURE_TAG, HOST_TAG = "ftcore.failure", "ftcore.host"
CHAMPION, CANDIDATE, PREVIOUS = "champion", "candidate", "previous"


LONGEST_NAME = 250
"""Characters of a name in MLflow."""
BATCH = 50
"""Parameters, metrics and tags of one request each: MLflow takes 100 parameters and tags together."""


def name_of(key: str) -> str:
    """A name as MLflow takes it for parameters, metrics and tags.

    A key that is none, since somebody chose it, keeps what can be read of it and a hash that tells it from others.
    """
    plain = re.sub(r"[^\w.\- :/]", "-", key)
    path = posixpath.normpath(plain)
    if plain == key == path and len(key) <= LONGEST_NAME and not path.startswith((".", "/")):
        return key
    readable = re.sub(r"[./]+", "-", plain).strip("-")[: LONGEST_NAME - 20]
    return f"{readable or 'name'}-{sha256(key)[:8]}"


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    number: int
    run: str
    """MLflow run id."""
    tags: dict[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    """UTC."""
    source: str = field(default="", compare=False)
    """Where MLflow's own loaders look for it; another place once the store was moved."""

    @property
    def snapshot(self) -> str:
        """Id of the snapshot it was trained on."""
        return self.tags.get("ftcore.snapshot", "")


@dataclass(frozen=True)
class Tracking:
    """The registry of one recipe."""

    settings: Settings
    name: str
    """Name of the recipe, of the experiment and of the registered model."""

    @cached_property
    def client(self) -> MlflowClient:
        """Client of the configured server or file."""
        return connected(self.settings.mlflow_uri, self.settings.home)

    def translate_errors(self) -> AbstractContextManager[None]:
        """Within it, MLflow's many errors are ours."""
        return translate_errors(self.settings.mlflow_uri)

    @plainly
    def open_run(self, run_id: str, tags: Mapping[str, str]) -> str:
        """MLflow run of an ftcore run: the one that is there, or a new one.

        A recipe that was changed within the run, told by the tag ``ftcore.recipe``, is another training: a new one.

        Returns:
            MLflow's run id.
        """
        same = {RUN_TAG: run_id, **{key: tags[key] for key in (RECIPE_TAG,) if key in tags}}
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in same.items())
        experiment = self._experiment()

        def there() -> list[Run]:
            return list(self.client.search_runs([experiment], wanted, order_by=["start_time ASC"]))

        def make() -> list[Run]:
            if not (found := there()):
                self.client.create_run(experiment, tags={RUN_TAG: run_id, **tags}, run_name=run_id)
            return found or there()

        first, *doubled = once(make, self.settings.mlflow_uri)
        for run in doubled:  # a request whose answer was lost, and that was made after all
            self.client.delete_run(run.info.run_id)
        self._begin(first)
        return str(first.info.run_id)

    def _begin(self, run: Run) -> None:
        """Show a run as running, on this machine, until it is closed; what ended an earlier try counts no more."""
        if run.info.status != "RUNNING":
            self.client.update_run(run.info.run_id, status="RUNNING")
        self.client.set_tag(run.info.run_id, HOST_TAG, platform.node())
        if FAILURE_TAG in run.data.tags:
            self.client.delete_tag(run.info.run_id, FAILURE_TAG)

    @plainly
    def log(
        self,
        run: str,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, object] | None = None,
        step: int = 0,
    ) -> None:
        """Log parameters, metrics and tags; a number that is not finite is left out.

        Parameters can never change; what may differ when another worker goes on with a run belongs into the tags.
        Names may be any: see ``name_of``.
        """
        from math import isfinite

        from mlflow.entities import Metric, Param, RunTag

        from ftcore.store.records import now

        at = int(now().timestamp() * 1000)
        points = [
            Metric(name_of(key), float(value), at, step) for key, value in (metrics or {}).items() if isfinite(value)
        ]
        texts = [Param(name_of(key), str(value)[:6000]) for key, value in (params or {}).items()]
        notes = [RunTag(name_of(key), str(value)[:5000]) for key, value in (tags or {}).items()]
        for start in range(0, max(len(points), len(texts), len(notes), 1), BATCH):
            some = slice(start, start + BATCH)
            self.client.log_batch(run, metrics=points[some], params=texts[some], tags=notes[some])

    @plainly
    def log_snapshot(self, run: str, snapshot: str, rows: int, source: str) -> None:
        """Log a snapshot as the run's dataset input, so that MLflow shows what a model was trained on."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        from ftcore.recipe.canonical import canonical

        dataset = Dataset(
            name=f"{self.name}-{snapshot}",
            digest=snapshot,
            source_type="local",
            source=canonical({"uri": source}),
            profile=canonical({"num_rows": rows}),
        )
        self.client.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    @plainly
    def log_folder(self, run: str, folder: Path, target: str) -> str:
        """Log a local folder as artefact ``target`` of a run, with its hash and its size as tags of the run.

        Returns:
            The hash of what was logged, for the step's signed record: whoever may write to MLflow can change a tag.

        The tags are ``ftcore.sha256.TARGET`` and ``ftcore.size.TARGET``, the latter ``FILES/BYTES``: what can be
        checked without reading a file.
        """
        made = hash_folder(folder)
        self.stored(run).log_artifacts(str(folder), target)
        self.client.set_tag(run, f"{SIZE_TAG}{target}", size_of(folder))
        self.client.set_tag(run, f"{HASH_TAG}{target}", made)
        shutil.rmtree(self.cached(run, target), ignore_errors=True)  # what was fetched before is old now
        return made

    @plainly
    def close_run(self, run: str, status: str = "FINISHED", reason: str = "") -> None:
        """End a run, with the reason where it did not end well."""
        if reason:
            self.client.set_tag(run, FAILURE_TAG, reason[:5000])
        self.client.set_terminated(run, status)

    @plainly
    def register(self, run_id: str, run: str, artefact: str, tags: Mapping[str, str]) -> Version:
        """Register a run's model as a version with alias ``candidate``: once for each ftcore run."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(self.name, {f"ftcore.{layout.TAG}": str(layout.VERSION)})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{self.client.get_run(run).info.artifact_uri}/{artefact}"

        def there() -> list[Version]:
            return sorted((v for v in self.versions() if v.run == run), key=lambda v: v.number)

        def make() -> list[Version]:
            if not there():
                self.client.create_model_version(self.name, source, run, tags={RUN_TAG: run_id, **tags})
            return there()

        version, *doubled = once(make, self.settings.mlflow_uri)
        for one in doubled:  # a request whose answer was lost, and that was done after all
            self.client.delete_model_version(self.name, str(one.number))
        self.client.set_registered_model_alias(self.name, CANDIDATE, str(version.number))
        return version

    @plainly
    def versions(self) -> list[Version]:
        """All versions, newest first."""
        found = [_version(v) for v in self.client.search_model_versions(f"name = '{self.name}'")]
        return sorted(found, key=lambda v: -v.number)

    @plainly
    def version(self, number: int) -> Version:
        """One version by its number."""
        return _version(self.client.get_model_version(self.name, str(number)))

    @plainly
    def alias(self, alias: str) -> Version | None:
        """The version that holds an alias; None where nothing does."""
        from mlflow.exceptions import MlflowException

        try:
            return _version(self.client.get_model_version_by_alias(self.name, alias))
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise

    @plainly
    def set_alias(self, alias: str, version: Version) -> None:
        """Give an alias to a version; the one that held it loses it."""
        self.client.set_registered_model_alias(self.name, alias, str(version.number))

    @plainly
    def tag(self, version: Version, tags: Mapping[str, object]) -> None:
        """Set tags on a version."""
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, str(version.number), f"ftcore.{key}", str(value))

    @plainly
    def metrics(self, run: str) -> dict[str, float]:
        """The last value of each metric of a run."""
        return dict(self.client.get_run(run).data.metrics)

    @plainly
    def artifact(self, run: str, artefact: str, folder: Path) -> Path:
        """Local copy of one file that a run logged.

        Raises:
            FtcoreError: no such run or file.
            TransientError: MLflow does not answer.
        """
        folder.mkdir(parents=True, exist_ok=True)
        stored = self.stored(run)
        beside = stored.list_artifacts(artefact.rpartition("/")[0] or None)
        if not any(file.path == artefact and not file.is_dir for file in beside):
            raise FtcoreError(f"run {run} has no file {artefact!r} among its artefacts")
        return Path(stored.download_artifacts(artefact, str(folder)))

    @plainly
    def dataset_source(self, run: str, name: str) -> str:
        """Path or URL of a dataset that a run logged as its input.

        Raises:
            FtcoreError: no such run or dataset, or one whose source is no file.
        """
        inputs = self.client.get_run(run).inputs.dataset_inputs
        for dataset in (one.dataset for one in inputs if one.dataset.name == name):
            source = source_of(dataset.source)
            if isinstance(uri := source.get("uri") or source.get("url"), str) and uri:
                return uri
            raise FtcoreError(f"the source of dataset {name!r} of run {run} is no file but {dataset.source_type}")
        names = ", ".join(one.dataset.name for one in inputs) or "none"
        raise FtcoreError(f"run {run} has no dataset {name!r}; it has {names}")

    def traces(self, experiment: str, filter_string: str = "", page: int = 200) -> Iterator[list[dict[str, Any]]]:
        """Traces of an experiment, oldest first, a page at a time.

        Returns:
            For each trace ``trace_id``, ``request`` and ``response`` as JSON text, ``at`` (UTC) and ``tags``.

        Raises:
            FtcoreError: no such experiment.
        """
        with translate_errors(self.settings.mlflow_uri):
            found = self.client.get_experiment_by_name(experiment)
        if found is None:
            raise FtcoreError(f"MLflow has no experiment {experiment!r}")
        token = None
        while True:
            with translate_errors(self.settings.mlflow_uri):
                traces = self.client.search_traces(
                    locations=[found.experiment_id],
                    filter_string=filter_string or None,
                    max_results=page,
                    order_by=["timestamp_ms ASC"],
                    page_token=token,
                )
            yield [
                {
                    "trace_id": trace.info.trace_id,
                    "request": trace.data.request,
                    "response": trace.data.response,
                    "at": datetime.fromtimestamp(trace.info.timestamp_ms / 1000, UTC),
                    "tags": dict(trace.info.tags),
                }
                for trace in traces
            ]
            token = traces.token
            if not token:
                return

    def stored(self, run: str) -> ArtifactRepository:
        """Where a run's artefacts lie; to be used where errors are spoken plainly.

        Not the client's own ``download_artifacts``: it swallows every error, and says of a server that went away that
        there is no such path.
        """
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        kept = here(self.client.get_run(run).info.artifact_uri, artifact_root(self.settings))
        uri = self.settings.mlflow_uri
        return patient(get_artifact_repository(kept, tracking_uri=uri), uri)

    def cached(self, run: str, artefact: str) -> Path:
        """Where this machine keeps its copy of an artefact folder."""
        return self.settings.cache.resolve() / "models" / self.name / run / artefact

    def environment(self) -> dict[str, Any]:
        """What a run is made with: package versions and the machine."""
        from ftcore.store.records import versions

        machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
        return {**versions(), **machine}

    @plainly
    def check_place(self) -> None:
        """Check that MLflow's database names the artefacts of this store, not of one that it was copied from.

        Raises:
            FtcoreError: it names another place.
            TransientError: MLflow does not answer.
        """
        found = self.client.get_experiment_by_name(self.name)
        if found:
            check_not_moved(str(found.artifact_location), artifact_root(self.settings))

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(self.name)
        if found:
            check_not_moved(str(found.artifact_location), artifact_root(self.settings))
            return str(found.experiment_id)
        try:
            return str(self.client.create_experiment(self.name, artifact_location=self._artifact_location()))
        except MlflowException:  # made by another process in the meantime
            return str(self.client.get_experiment_by_name(self.name).experiment_id)

    def _artifact_location(self) -> str | None:
        """Where the experiment's artefacts go; None lets the server choose."""
        if self.settings.artifacts:
            return f"{self.settings.artifacts.rstrip('/')}/{self.name}"
        if self.settings.tracking_uri:
            return None
        return (self.settings.home.resolve() / "mlflow" / "artifacts" / self.name).as_uri()


def _version(found: ModelVersion) -> Version:
    try:
        at = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    except (OverflowError, OSError, TypeError, ValueError):  # whoever writes to MLflow's database may name any
        at = None
    return Version(int(found.version), str(found.run_id), dict(found.tags), at, str(found.source))
