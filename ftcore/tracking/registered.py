"""MLflow's registered models as a whole: aliases, tags and descriptions. Beside ``tracking.py`` the door to MLflow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ftcore.errors import FtcoreError
from ftcore.store import layout
from ftcore.tracking.client import HASH_TAG, Tracking, Version
from ftcore.tracking.server import plainly

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel

    from ftcore.settings import Settings

PAGE = 1000


@dataclass(frozen=True)
class Model:
    """A registered model without its versions."""

    name: str
    """Name of the recipe."""
    aliases: dict[str, int] = field(default_factory=dict)
    """Version number by alias."""
    tags: dict[str, str] = field(default_factory=dict)
    newest: int | None = None
    """Number of the newest version; None where there is none."""


@plainly
def models(settings: Settings) -> list[Model]:
    """All registered models by name: one request for each thousand.

    Raises:
        TransientError: MLflow does not answer.
    """
    client, found, token = Tracking(settings, "").client, [], None
    while True:
        page = client.search_registered_models(max_results=PAGE, order_by=["name ASC"], page_token=token)
        found += [_model(one) for one in page]
        token = page.token
        if not token:
            return found


@plainly
def model(tracking: Tracking) -> Model:
    """The registered model of a recipe; an empty one where nothing was registered yet.

    Raises:
        ConfigurationError: a later ftcore wrote it.
        TransientError: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = _model(tracking.client.get_registered_model(tracking.name))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return Model(tracking.name)
        raise
    layout.check(found.tags.get(f"ftcore.{layout.TAG}"), f"the registered model {tracking.name}")
    return found


@plainly
def version(tracking: Tracking, number: int) -> Version:
    """One version.

    Raises:
        FtcoreError: there is no such version; the message says which there are.
        TransientError: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        return tracking.version(number)
    except FtcoreError as error:
        cause = error.__cause__
        if not isinstance(cause, MlflowException) or cause.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    known = [str(one.number) for one in tracking.versions()]
    shown = ", ".join(known[:10]) + (", …" if len(known) > 10 else "") if known else "none"
    raise FtcoreError(
        f"{tracking.name} has no version {number}; it has {shown}", hint=f"ftcore models ls {tracking.name}"
    )


@plainly
def drop_alias(tracking: Tracking, alias: str) -> None:
    """Take an alias away from whichever version holds it; none is no error."""
    from mlflow.exceptions import MlflowException

    try:
        tracking.client.delete_registered_model_alias(tracking.name, alias)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise


@plainly
def tag_model(tracking: Tracking, tags: Mapping[str, str | None]) -> None:
    """Set tags ``ftcore.KEY`` on the registered model; None takes one away."""
    for key, value in tags.items():
        if value is None:
            tracking.client.delete_registered_model_tag(tracking.name, f"ftcore.{key}")
        else:
            tracking.client.set_registered_model_tag(tracking.name, f"ftcore.{key}", value)


@plainly
def describe(tracking: Tracking, number: int, text: str) -> None:
    """Give a version its description, in Markdown."""
    tracking.client.update_model_version(tracking.name, str(number), text)


@plainly
def run_tags(tracking: Tracking, run: str) -> dict[str, str]:
    """Tags of a run, such as ``env.python`` and the hash of each artefact."""
    return dict(tracking.client.get_run(run).data.tags)


@plainly
def misplaced(tracking: Tracking, version: Version, artefacts: Collection[str]) -> str:
    """Where MLflow's own loaders look for a version, where that is none of some artefacts of its run; else empty."""
    root = str(tracking.client.get_run(version.run).info.artifact_uri).rstrip("/")
    named = str(tracking.client.get_model_version_download_uri(tracking.name, str(version.number)))
    ours = {f"{root}/{name}" for name in artefacts}
    return next((place for place in (version.source, named) if place.rstrip("/") not in ours), "")


@plainly
def run_data(tracking: Tracking, run: str) -> tuple[dict[str, float], dict[str, str]]:
    """Last value of each metric of a run, and its parameters."""
    data = tracking.client.get_run(run).data
    return dict(data.metrics), dict(data.params)


def hashes(tags: Mapping[str, str], but: Collection[str] = ()) -> dict[str, str]:
    """SHA-256 of each artefact folder by its name, out of a run's tags; those named in ``but`` are left out."""
    found = {key.removeprefix(HASH_TAG): value for key, value in sorted(tags.items()) if key.startswith(HASH_TAG)}
    return {name: value for name, value in found.items() if name not in but}


def _model(found: RegisteredModel) -> Model:
    aliases = {str(alias): int(number) for alias, number in dict(found.aliases).items()}
    newest = max((int(one.version) for one in found.latest_versions or ()), default=None)
    return Model(str(found.name), aliases, dict(found.tags), newest)
