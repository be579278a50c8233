"""Doing what a person has confirmed, by ``promotion.ModelRegistry``, in their name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.registry.promotion import ModelRegistry
from ftcore_airflow.pages import reading
from ftcore_airflow.pages.actions import State
from ftcore_airflow.pages.documents import place_of

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe
    from ftcore.settings import Settings
    from ftcore_airflow.pages.actions import Proposal

LONGEST_REASON = 2000


def plain(reason: str) -> str:
    """A reason as it is kept: one line, without control characters.

    Raises:
        ValueError: it is too long.
    """
    text = " ".join("".join(one if one.isprintable() else " " for one in reason).split())
    if len(text) > LONGEST_REASON:
        raise ValueError(f"A reason has at most {LONGEST_REASON:,} characters; this one has {len(text):,}.")
    return text


def carry_out(settings: Settings, wanted: Proposal, by: str, reason: str) -> dict[str, Any]:
    """Do what a person has confirmed, unless it was done meanwhile; returns the ledger's line.

    Raises:
        FtcoreError: the registrar refuses it, or the registry is not as the person has seen it.
        TransientError: MLflow does not answer.
    """
    recipe = wanted.product.recipe
    if recipe is None:
        raise FtcoreError(wanted.obstacle)
    registrar = ModelRegistry.of(recipe, reading.shelf_of(settings, recipe.name), settings)
    with registrar.shelf.lock("pages", settings.lock_timeout_s):  # a form sent twice is done once
        now = replace(wanted, state=State.read(settings, recipe.name))
        if now.facts(by) != wanted.facts(by):
            raise FtcoreError("the registry has changed meanwhile; open the form again")
        return _change(registrar, recipe, wanted, by, reason)


def _change(registrar: ModelRegistry, recipe: Recipe, wanted: Proposal, by: str, reason: str) -> dict[str, Any]:
    from ftcore.serving.model import serving

    if wanted.action.name == "rollback":
        return registrar.rollback(by, reason, serving(recipe))
    if wanted.action.name == "reject" and wanted.number is not None:
        return registrar.reject(wanted.number, by, reason)
    if wanted.action.name == "hold":
        return registrar.hold(by, reason)
    return registrar.release(by, reason)


def refresh_cards(settings: Settings, wanted: Proposal, line: Mapping[str, Any]) -> None:
    """Write the cards of the versions that a decision changed anew; one that cannot be written stays as it was."""
    from ftcore.reports import card

    place = place_of(settings, wanted.product.name)
    numbers = {one for one in (line.get("version"), line.get("instead_of")) if isinstance(one, int)}
    for number in numbers:
        with suppress(FtcoreError, OSError):
            card.publish(place.shelf, place.tracking, place.tracking.version(number))
