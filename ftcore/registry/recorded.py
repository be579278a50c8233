"""Hashes of a version's artefacts as the signed records of its run hold them, which no tag of MLflow can change.

``train`` and ``export`` record the SHA-256 of each folder that they log, ``evaluate`` those that it judged. A record of
an earlier ftcore holds none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ftcore.errors import ChangedArtefactError
from ftcore.store.store import RUN_ID

if TYPE_CHECKING:
    from ftcore.context import Context
    from ftcore.store.records import Record
    from ftcore.store.store import RecipeStore
    from ftcore.tracking.client import Tracking, Version

ARTEFACT = "artefact:"
"""Start of the name under which a record's ``inputs`` keep the hash of an artefact."""
STEPS = {"evaluate": "candidate", "export": "version", "train": "version"}
"""Steps whose records hold hashes, each with the figure that names the version; the later one here counts."""


def inputs(hashes: Mapping[str, str]) -> dict[str, str]:
    """Hashes of artefacts as a record keeps them."""
    return {f"{ARTEFACT}{name}": digest for name, digest in hashes.items()}


def of_record(record: Record | None) -> dict[str, str]:
    """SHA-256 of each artefact that a record holds, by name."""
    found = record.inputs.items() if record else ()
    return {name.removeprefix(ARTEFACT): digest for name, digest in found if name.startswith(ARTEFACT)}


def hashes(shelf: RecipeStore, version: Version) -> dict[str, str]:
    """The same by all records of a version's run; empty where they are gone, or of an earlier ftcore."""
    run_id, found = version.tags.get("ftcore.run", ""), dict[str, str]()
    for step, names in STEPS.items() if RUN_ID.match(run_id) else ():
        record = shelf.record(run_id, step)
        if record and record.figures.get(names) == version.number and shelf.is_signed(run_id, step):
            found |= of_record(record)
    return found


def candidate(context: Context, tracking: Tracking) -> Version:
    """The version that this run trained, which MLflow has to describe as the record of ``train`` does.

    Raises:
        ChangedArtefactError: its run or snapshot was changed in MLflow, or the exports are of an earlier training.
    """
    trained = context.earlier("train")
    version = tracking.version(trained.figures["version"])
    told = {"run": version.tags.get("ftcore.run", ""), "snapshot": version.snapshot, "MLflow run": version.run}
    known = {"run": context.run_id, "snapshot": trained.figures.get("snapshot", version.snapshot)}
    known["MLflow run"] = trained.figures.get("mlflow_run", version.run)
    if wrong := [name for name in known if told[name] != known[name]]:
        raise ChangedArtefactError(
            f"the {' and the '.join(wrong)} of version {version.number} of {tracking.name} in MLflow "
            f"{'is' if len(wrong) == 1 else 'are'} not what train recorded in run {context.run_id}",
            hint="somebody changed the version in MLflow: restore it from a backup, or train in another run",
        )
    return version


def same_model(context: Context) -> None:
    """Check that what was exported is what was trained.

    Raises:
        ChangedArtefactError: the exports are of another training.
    """
    then = of_record(context.earlier("train")).get("model")
    exported = context.earlier("export").inputs.get("model", then)
    if then and exported != then:
        raise ChangedArtefactError(
            f"the exports of run {context.run_id} were made of another model than the one that it trained",
            hint=f"export again: ftcore step export {context.recipe.name} --run {context.run_id} --again",
        )
