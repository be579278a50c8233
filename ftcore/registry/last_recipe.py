"""The recipe by which a model in the store goes on where its file is gone, renamed or broken: the champion's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ftcore.errors import FtcoreError
from ftcore.registry import served
from ftcore.store import run_recipe

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe
    from ftcore.store.store import RecipeStore


def last(shelf: RecipeStore) -> tuple[Recipe, str] | None:
    """The recipe of the run that made the champion, else of the newest run, with the run's name; None where none is.

    One counts that the ledger's line of its verdict names by its hash, or that the platform signed.
    """
    for run_id, wanted in _runs(shelf):
        try:
            found = run_recipe.of(shelf, run_id, wanted)
            if found and (found.sha256 == wanted or shelf.is_ours(shelf.folder(run_id, run_recipe.FILE))):
                return found.recipe(), run_id
        except FtcoreError:  # one that cannot be read hides no older one
            continue
    return None


def _runs(shelf: RecipeStore) -> Iterator[tuple[str, str]]:
    """Runs, each with the hash of its recipe by the ledger: the champion's first, then the newest before older ones."""
    champion, gates = served.by_ledger(shelf), shelf.ledger("gate")[::-1]
    number = champion.version if champion else None
    for line in sorted(gates, key=lambda line: line.get("candidate") != number):
        yield str(line["run_id"]), str(line.get("facts", {}).get(run_recipe.TAG, ""))
    for line in shelf.ledger("plan")[::-1]:
        yield str(line["run_id"]), ""
