"""Why a recipe has no champion that could serve, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftcore.registry.verdict import brief
from ftcore.store.store import read_json

if TYPE_CHECKING:
    from ftcore.store.store import RecipeStore
    from ftcore.tracking.client import Tracking


def why_no_champion(shelf: RecipeStore, tracking: Tracking) -> tuple[str, str]:
    """Why there is no champion, as far as the newest version tells, and what to do."""
    name, versions = shelf.name, tracking.versions()
    if not versions:
        return f"{name} has no champion yet: no version was trained", f"ftcore run {name}"
    newest = max(versions, key=lambda version: version.number)
    verdict, reason = (newest.tags.get(f"ftcore.{tag}", "") for tag in ("verdict", "verdict.reason"))
    show = f"ftcore models show {name} {newest.number}"
    if verdict == "failed":
        judged = read_json(shelf.folder(newest.tags.get("ftcore.run", ""), "gate") / "verdict.json") or {}
        gates = [
            f"{rule['gate']}: {brief(rule['reason'])}"
            for rule in judged.get("rules", ())
            if rule.get("passed") is not True
        ]
        said = "\n  ".join([f"gates refused version {newest.number}:", *(gates or reason.splitlines())])
        hint = f"{show}; ftcore models promote {name} {newest.number} --override --reason TEXT serves it anyway"
    elif verdict:
        said = "\n  ".join([f"version {newest.number} passed the gate, and was not promoted:", *reason.splitlines()])
        hint = f"{show} shows whether it waits for approval; ftcore ledger {name} lists the decisions"
    else:
        said = f"version {newest.number} was not judged yet"
        run_id = newest.tags.get("ftcore.run", "")
        hint = f"ftcore run {name} --run {run_id} --only finetune" if run_id else f"ftcore run {name}"
    return f"{name} has no champion yet: {said}", hint
