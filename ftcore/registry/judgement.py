"""What is kept of a verdict: a line of the ledger that seals what it was made of, and the version's tags in MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftcore.recipe.canonical import canonical, sha256
from ftcore.registry import integrity

if TYPE_CHECKING:
    from ftcore.registry.promotion import ModelRegistry
    from ftcore.registry.verdict import Verdict
    from ftcore.tracking.client import Version

JUDGED_AGAINST = "ftcore.verdict.champion"
"""Tag of a version: the champion that its last verdict compared it with; empty for a first model."""


def record_verdict(registrar: ModelRegistry, run_id: str, verdict: Verdict, digest: str, **facts: object) -> Version:
    """Write a verdict into the ledger, and keep it on the version that was judged, with the hashes of its artefacts.

    The ledger has one line for each verdict, also where a run judges again with another outcome. The card's hash is
    left out, since the card changes.

    Args:
        registrar: of the recipe.
        run_id: the run that judged.
        verdict: what the gates said.
        digest: SHA-256 of ``verdict.json``.
        facts: what else the line says; ``artefacts``, the hashes that were judged, are else MLflow's own.
    """
    shelf, tracking = registrar.shelf, registrar.tracking
    version = tracking.version(verdict.candidate)
    facts = integrity.seals(shelf, tracking, version, run_id) | facts
    facts |= {"candidate": verdict.candidate, "champion": verdict.champion, "verdict_sha256": digest}
    first = shelf.line("gate", run_id)
    same = first is None or all(first.get(key) == facts.get(key) for key in ("verdict_sha256", *integrity.SEALS))
    key = "" if same else sha256(canonical(facts))[:8]
    shelf.add_to_ledger("gate", run_id, verdict.word, verdict.reason, key=key, **facts)
    tags = {
        "verdict.reason": verdict.reason[:5000],
        JUDGED_AGAINST.removeprefix("ftcore."): "" if verdict.champion is None else verdict.champion,
        "verdict.sha256": digest,
        "artefacts": canonical(facts["artefacts"]),
        "verdict": verdict.word,  # last: where MLflow goes away before it, the version is not judged
    }
    tracking.tag(version, tags)
    registrar.witness()
    return version
