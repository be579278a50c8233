"""What the registry knows: each recipe's versions with verdict, approvals and evidence, and whether promotion is held.

Reads only, with one or two requests whatever the number of versions; ``promotion.py`` is what changes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ftcore.errors import DamagedFileError
from ftcore.registry import approvals, served
from ftcore.store.files import mapping
from ftcore.store.slots import order
from ftcore.tracking import registered
from ftcore.tracking.client import CHAMPION, Tracking, Version
from ftcore.tracking.registered import Model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore

HOLD = "hold"
REJECTED, ROLLED_BACK = "rejected", "rolled_back"
COMPARED = ("snapshot", "git_commit", "recipe_digest", "verdict", "verdict_reason", "judged_against", "promoted_at")
"""Facts of a version that ``diff`` compares."""


class Hold(BaseModel):
    """Why the loop promotes nothing until somebody releases it."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    by: str
    reason: str
    at: datetime
    """UTC."""

    def __str__(self) -> str:
        """One sentence."""
        return f"promotion is held since {self.at:%Y-%m-%d %H:%M} UTC by {self.by}: {self.reason}"


@dataclass(frozen=True)
class ModelSummary:
    """One recipe's page of the registry."""

    model: Model
    versions: tuple[Version, ...]
    """The newest first."""

    @property
    def hold(self) -> Hold | None:
        """The hold on promotion, if there is one."""
        return hold_of(self.model)

    def to_json(self, ledger: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """Plain JSON values; with the ledger's lines, the answers that people gave."""
        lines = [line for line in ledger if line.get("kind") in (*approvals.KINDS, "promote")]
        return {**summary(self.model), "versions": [entry(version, self.model, lines) for version in self.versions]}


def models(settings: Settings) -> list[Model]:
    """Every registered model with its aliases and tags, by name; one request, whatever the number of versions.

    Raises:
        TransientError: MLflow does not answer.
    """
    return registered.models(settings)


def book(tracking: Tracking) -> ModelSummary:
    """A recipe's model with all its versions: two requests.

    Raises:
        TransientError: MLflow does not answer.
    """
    model = registered.model(tracking)
    return ModelSummary(model, tuple(tracking.versions()) if model.newest else ())


def hold_of(model: Model) -> Hold | None:
    """The hold that the model's tags tell of; one that cannot be read holds too."""
    text = model.tags.get(f"ftcore.{HOLD}")
    if not text:
        return None
    try:
        return Hold.model_validate_json(text)
    except ValidationError:
        return Hold(
            by="unknown",
            reason=f"the tag ftcore.{HOLD} cannot be read",
            at=datetime.fromisoformat("1970-01-01T00:00:00+00:00"),
        )


def held(tracking: Tracking) -> Hold | None:
    """The hold on a recipe's promotions; None where the loop may promote."""
    return hold_of(registered.model(tracking))


def summary(model: Model) -> dict[str, Any]:
    """A model as JSON values: ``recipe``, ``aliases``, ``newest``, ``hold``."""
    hold = hold_of(model)
    return {
        "recipe": model.name,
        "aliases": model.aliases,
        "newest": model.newest,
        "hold": hold.model_dump(mode="json") if hold else None,
    }


def entry(version: Version, model: Model, ledger: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """A version as JSON values, out of its tags; ``answers`` out of the ledger's lines, and none without them.

    Returns:
        ``version, created_at, aliases, state, run_id, mlflow_run, snapshot, git_commit``; ``recipe_digest`` and
        ``recipe_sha256``, of the recipe as it was trained and of the file that its run kept; ``verdict`` (``passed``,
        ``failed`` or empty), ``verdict_reason``, ``verdict_sha256``, ``judged_against``; ``answers``; ``promoted_at``,
        ``promoted_by``, ``promoted_although`` (what was overridden, by the ledger; else empty);
        ``rejected`` and ``rolled_back`` (each ``by, reason, at`` or None);
        ``artefacts``: SHA-256 by folder.
    """
    tags = {key.removeprefix("ftcore."): value for key, value in version.tags.items()}
    aliases = sorted(alias for alias, number in model.aliases.items() if number == version.number)
    against = tags.get("verdict.champion", "")
    lines = list(ledger)
    found = {
        "version": version.number,
        "created_at": version.created_at.isoformat() if version.created_at else None,
        "aliases": aliases,
        "run_id": tags.get("run", ""),
        "mlflow_run": version.run,
        "snapshot": version.snapshot,
        "git_commit": tags.get("git_commit", ""),
        "recipe_digest": tags.get("recipe", ""),
        "recipe_sha256": tags.get("recipe_sha256", ""),
        "verdict": tags.get("verdict", ""),
        "verdict_reason": tags.get("verdict.reason", ""),
        "verdict_sha256": tags.get("verdict.sha256", ""),
        "judged_against": int(against) if re.fullmatch(r"[0-9]{1,9}", against) else None,
        "answers": [answer.model_dump(mode="json") for answer in approvals.of(lines, version.number, version.tags)],
        "promoted_at": tags.get("promoted_at"),
        "promoted_by": tags.get("promoted_by") or ("the loop" if tags.get("promoted_at") else None),
        "promoted_although": although(lines, version.number),
        REJECTED: _note(tags, REJECTED),
        ROLLED_BACK: _note(tags, ROLLED_BACK),
        "artefacts": dict(served.tagged(version)),
    }
    return {**found, "state": state(found)}


def although(ledger: Iterable[Mapping[str, Any]], number: int) -> str:
    """What spoke against a version that a person promoted all the same, by its last promotion's line; else empty."""
    lines = [line for line in ledger if (line.get("kind"), line.get("version")) == ("promote", number)]
    line = max((one for one in lines if one.get("decision") == "promoted"), key=order, default={})
    return "; ".join(line.get("against") or [line["reason"]]) if line.get("override") else ""


def state(found: Mapping[str, Any]) -> str:
    """One word for how a version stands: its alias, else what was decided about it, else its verdict."""
    for alias in (CHAMPION, "previous"):
        if alias in found["aliases"]:
            return alias
    for decided in (REJECTED, ROLLED_BACK):
        if found[decided]:
            return decided.replace("_", " ")
    if found["verdict"] == "failed":
        return "refused"
    if "candidate" in found["aliases"]:
        return "candidate"
    return str(found["verdict"] or "not judged")


def decided_against(version: Version) -> str:
    """Who rejected a version or rolled it back, and why, as a sentence; empty where nobody did."""
    tags = {key.removeprefix("ftcore."): value for key, value in version.tags.items()}
    for decided in (REJECTED, ROLLED_BACK):
        if note := _note(tags, decided):
            return f"version {version.number} was {decided.replace('_', ' ')} by {note['by']}: {note['reason']}"
    return ""


def crowned(shelf: RecipeStore) -> int | None:
    """The champion that the ledger knows of: the version of the last line that changed it; None before the first."""
    known = served.by_ledger(shelf)
    return known.version if known else None


def knows_champion(shelf: RecipeStore) -> bool:
    """Whether the ledger's chain says who is champion, or that nobody is; it does not where it is cut off."""
    try:
        served.by_ledger(shelf)
    except DamagedFileError:
        return False
    return True


def _note(tags: Mapping[str, str], key: str) -> dict[str, str] | None:
    """Who decided against a version, why and when; one that cannot be read says so."""
    if not (text := tags.get(key)):
        return None
    found = mapping(text) or {"by": "unknown", "reason": f"the tag ftcore.{key} cannot be read"}
    return {part: str(found.get(part) or "") for part in ("by", "reason", "at")}


def diff(tracking: Tracking, before: int, after: int) -> dict[str, Any]:
    """What differs between two versions.

    Returns:
        ``facts``, ``artefacts``, ``metrics`` and ``params``: by name ``[before, after]``, only what differs; None where
        one has none.

    Raises:
        FtcoreError: no such version.
    """
    model = Model(tracking.name)
    old, new = (registered.version(tracking, number) for number in (before, after))
    facts = [{key: entry(one, model)[key] for key in COMPARED} for one in (old, new)]
    runs = [registered.run_data(tracking, one.run) for one in (old, new)]
    return {
        "before": before,
        "after": after,
        "facts": _differing(*facts),
        "artefacts": _differing(*(entry(one, model)["artefacts"] for one in (old, new))),
        "metrics": _differing(*(metrics for metrics, _ in runs)),
        "params": _differing(*(params for _, params in runs)),
    }


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    keys = sorted({*old, *new})
    return {key: [old.get(key), new.get(key)] for key in keys if old.get(key) != new.get(key)}
