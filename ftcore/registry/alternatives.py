"""What may serve in a champion's place, by what the registry has: a hint names only a command that works now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftcore.errors import FtcoreError
from ftcore.tracking import registered
from ftcore.tracking.client import CHAMPION, PREVIOUS

if TYPE_CHECKING:
    from ftcore.tracking.client import Tracking, Version

REASON = "--reason '…'"
PASSED = ("passed", "asks")
"""Verdicts with which a version may be promoted."""


def to_champion(tracking: Tracking) -> str:
    """The command that puts another version in the champion's place."""
    name = tracking.name
    try:
        aliases, versions = registered.model(tracking).aliases, tracking.versions()
    except FtcoreError:  # whoever asks is told of another fault already
        return f"ftcore models ls {name} shows whether there is another version"
    others = [version for version in versions if version.number != aliases.get(CHAMPION)]
    if aliases.get(PREVIOUS) in {version.number for version in others}:
        return f"ftcore models rollback {name} {REASON}"
    if not others:
        return f"ftcore run {name} -p train=always, since there is no other version"
    passed = [version for version in others if _may(version, aliases.get(CHAMPION))]
    if passed:
        return f"ftcore models promote {name} {passed[0].number}"
    return f"ftcore models promote {name} {others[0].number} --override {REASON}, since no verdict lets another serve"


def _may(version: Version, champion: int | None) -> bool:
    """Whether a version's verdict lets it take the champion's place, as far as its tags tell."""
    tags = {key.removeprefix("ftcore."): value for key, value in version.tags.items()}
    against = tags.get("verdict.champion", "") == ("" if champion is None else str(champion))
    return tags.get("verdict") in PASSED and against and not (tags.get("rejected") or tags.get("rolled_back"))


def to_unexplained(name: str, holder: int) -> str:
    """What to do about an alias ``champion`` that no line of the ledger gave."""
    promote = f"ftcore models promote {name} {holder} --override {REASON}"
    return f"where it is to serve, {promote}; else take the alias champion away in MLflow"
