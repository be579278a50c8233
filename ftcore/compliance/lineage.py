"""Where data and models come from and where they went: snapshots to versions, and versions back to their sources.

The data half is read from the store, the model half from MLflow. Where MLflow does not answer the data half is still
told, and ``models`` says what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ftcore.data import snapshot
from ftcore.errors import DataRejectedError, FtcoreError, TransientError
from ftcore.store.store import RecipeStore, read_json
from ftcore.tracking.client import CANDIDATE, CHAMPION, PREVIOUS, RECIPE_TAG, RUN_TAG, Tracking, Version
from ftcore.tracking.runs import Training, trainings

ALIASES = (CHAMPION, CANDIDATE, PREVIOUS)


@dataclass(frozen=True)
class Models:
    """What MLflow knows of a recipe."""

    trainings: dict[str, Training] = field(default_factory=dict)
    """By MLflow's run id."""
    versions: tuple[Version, ...] = ()
    aliases: dict[int, list[str]] = field(default_factory=dict)
    """By the number of the version."""
    away: str = ""
    """Why nothing is known; empty where MLflow answered."""


@dataclass(frozen=True)
class Lineage:
    """One recipe's snapshots and versions, and what ties them together."""

    shelf: RecipeStore
    tracking: Tracking

    def of(self, what: str = "") -> dict[str, Any]:
        """Lineage of a snapshot or of a version, as plain JSON values.

        Args:
            what: id of a snapshot, number of a version, an alias, or nothing for every snapshot, the newest first.

        Raises:
            DataRejectedError: there is no such snapshot.
            FtcoreError: there is no such version.
            TransientError: a version was asked for and MLflow does not answer.
        """
        name = self.shelf.name
        if what in ALIASES or (what.isdecimal() and not self._is_snapshot(what)):
            return {"recipe": name, **self._version(self._found(what))}
        asked = [what] if what else [one["snapshot"] for one in snapshot.ls(self.shelf)]
        found = [{**self._snapshot(one), "trained": self._trained(one)} for one in asked]
        missing = {"models": f"unknown: {self.models.away}"} if self.models.away else {}
        return {"recipe": name, **(found[0] if what else {"snapshots": found}), **missing}

    @cached_property
    def models(self) -> Models:
        """What MLflow knows: a handful of requests, whatever the number of versions."""
        try:
            known = {one.run: one for one in trainings(self.tracking)}
            versions = tuple(self.tracking.versions())
            holders = {alias: self.tracking.alias(alias) for alias in ALIASES} if versions else {}
        except TransientError as error:
            return Models(away=str(error).splitlines()[0])
        aliases: dict[int, list[str]] = {}
        for alias, holder in holders.items():
            if holder:
                aliases.setdefault(holder.number, []).append(alias)
        return Models(known, versions, aliases)

    def _found(self, what: str) -> Version:
        if self.models.away:
            raise TransientError(self.models.away, hint="the lineage of a snapshot needs no MLflow: name one")
        for version in self.models.versions:
            if what == str(version.number) or what in self.models.aliases.get(version.number, []):
                return version
        known = ", ".join(str(version.number) for version in self.models.versions) or "none"
        raise FtcoreError(f"{self.shelf.name} has no version {what}", hint=f"known versions: {known}")

    def _version(self, version: Version) -> dict[str, Any]:
        """A version: who agreed to it, which code and base model made it, and the snapshot behind it."""
        tags, training = version.tags, self.models.trainings.get(version.run)
        lines = [line for line in self.shelf.ledger() if line.get("version") == version.number]
        return {
            **self._entry(version),
            "approved_at": tags.get("ftcore.approved_at"),
            "run_id": tags.get(RUN_TAG, ""),
            "mlflow_run": version.run,
            "trained_at": training.started_at.isoformat() if training else None,
            "base": training.base if training else None,
            "git_commit": tags.get("ftcore.git_commit"),
            "recipe_sha256": tags.get(RECIPE_TAG),
            "decisions": [{key: line[key] for key in ("at", "kind", "decision", "reason")} for line in lines],
            "trained_on": self._snapshot_of(version),
        }

    def _snapshot_of(self, version: Version) -> dict[str, Any] | None:
        training = self.models.trainings.get(version.run)
        identity = version.snapshot or next(iter(training.snapshots if training else ()), "")
        if not identity:
            return None
        try:
            return self._snapshot(identity)
        except DataRejectedError:  # retention may have taken it
            return {"snapshot": identity, "gone": True}

    def _snapshot(self, identity: str) -> dict[str, Any]:
        """A snapshot: its sources, the one before, and its validation."""
        known = snapshot.manifest(self.shelf, identity)
        record = self.shelf.record(known["run_id"], "validate") if known.get("run_id") else None
        reports = {name: str(self.shelf.root / path) for name, path in record.paths.items()} if record else {}
        reports.pop("snapshot", None)
        return {
            "snapshot": identity,
            "created_at": known["created_at"],
            "rows": known.get("rows"),
            "current": snapshot.current(self.shelf) == identity,
            "period": known.get("period"),
            "run_id": known.get("run_id"),
            "git_commit": record.git_commit if record else None,
            "sources": known.get("sources", {}),
            "previous": known.get("previous"),
            "quarantined": known.get("quarantined"),
            "warnings": known.get("warnings", []),
            "reports": reports,
        }

    def _trained(self, identity: str) -> list[dict[str, Any]] | None:
        """Runs that were given a snapshot, each with its versions; None where MLflow does not answer."""
        if self.models.away:
            return None
        given = [one.run for one in self.models.trainings.values() if identity in one.snapshots]
        given += [one.run for one in self.models.versions if one.snapshot == identity and one.run not in given]
        return [
            {
                "mlflow_run": run,
                "run_id": self.models.trainings[run].run_id if run in self.models.trainings else "",
                "status": self.models.trainings[run].status if run in self.models.trainings else "DELETED",
                "versions": [self._entry(one) for one in self.models.versions if one.run == run],
            }
            for run in given
        ]

    def _entry(self, version: Version) -> dict[str, Any]:
        tags = {key: version.tags.get(f"ftcore.{key}") for key in ("approved_by", "promoted_at")}
        return {"version": version.number, "aliases": self.models.aliases.get(version.number, []), **tags}

    def _is_snapshot(self, identity: str) -> bool:
        return read_json(snapshot.folder(self.shelf, identity) / "manifest.json") is not None
