"""Which rows the models of a comparison were trained on: their own snapshots, and those of the models behind them.

``train`` tags a version with the registered models that took part in its training: the one that it started from, a
teacher, an adapter beneath, a reward model. An alias is resolved at that moment, since it moves on later.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftcore.context import Context
from ftcore.data import snapshot
from ftcore.errors import FtcoreError
from ftcore.recipe.canonical import canonical
from ftcore.registry import served
from ftcore.store import store
from ftcore.tracking.client import Tracking, Version

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore

log = logging.getLogger(__name__)

PARENTS = "ftcore.parents"
"""Tag of a version: JSON list of ``models:/NAME/NUMBER``."""
SCHEME = "models:/"
TRAINED = ("train", "validation")
"""Splits whose rows a training sees."""


@dataclass(frozen=True)
class Ancestor:
    """A model of the comparison, or one that such a model descends from."""

    model: str
    """``models:/NAME/NUMBER``."""
    snapshot: str
    """Id of the snapshot that it was trained on; empty where none is known, or it is gone."""
    shelf: RecipeStore
    """Where the snapshot is."""

    def batches(self, columns: list[str]) -> Iterator[pa.Table]:
        """The rows that it was trained or validated on, part by part."""
        if self.snapshot:
            yield from snapshot.batches(self.shelf, self.snapshot, TRAINED, columns)


def parents(context: Context) -> list[str]:
    """The registered models that take part in a training, each by its number."""
    method = context.recipe.method
    used = [method.start(context), *_references(method.model_dump(mode="json"))]
    if teacher := method.teacher_reference(context):
        used.append(teacher)
    registered = [one for one in used if one.startswith(SCHEME)]
    return list(dict.fromkeys(_numbered(context.settings, one) for one in registered))


def tags(context: Context) -> dict[str, str]:
    """What ``train`` tags a version with."""
    return {PARENTS: canonical(parents(context))}


def ancestors(settings: Settings, name: str, versions: Iterable[Version]) -> list[Ancestor]:
    """Some versions of a recipe and all registered models that they descend from, each once.

    A model whose training is not known any more has no snapshot; a warning names it.
    """
    found: dict[str, Ancestor] = {}
    waiting = [(name, version) for version in versions]
    while waiting:
        recipe, version = waiting.pop(0)
        reference = f"{SCHEME}{recipe}/{version.number}"
        if reference in found:
            continue
        shelf = store.shelf(settings, recipe)
        there = version.snapshot if _exists(shelf, version.snapshot) else ""
        if not there:
            log.warning("the snapshot of %s is gone: rows that it was trained on cannot be left out", reference)
        found[reference] = Ancestor(reference, there, shelf)
        for parent in _parents_of(shelf, version):
            try:
                waiting.append(_version(settings, parent))
            except FtcoreError as error:
                log.warning("%s, behind %s, is gone: rows that it was trained on cannot be left out", parent, reference)
                log.debug("%s", error)
                found[parent] = Ancestor(parent, "", shelf)
    return list(found.values())


def described(ancestors: Iterable[Ancestor]) -> list[dict[str, str | None]]:
    """The models as ``evaluation.json`` names them, each with its snapshot; null where that is not known."""
    return [{"model": one.model, "snapshot": one.snapshot or None} for one in ancestors]


def _references(value: Any) -> Iterator[str]:
    """Every registered model that a configuration names."""
    if isinstance(value, str) and value.startswith(SCHEME):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _parents_of(shelf: RecipeStore, version: Version) -> list[str]:
    """By the version's tag; of one that was trained before there was such a tag, what its record says it started from.

    Raises:
        FtcoreError: somebody changed the tag: rows that its parents were trained on would judge.
    """
    if PARENTS in version.tags:
        return _listed(version.tags[PARENTS], version.number)
    run_id = version.tags.get("ftcore.run", "")
    record = shelf.record(run_id, "train") if run_id else None
    base = str(record.figures.get("base", "")) if record else ""
    return [base] if base.startswith(SCHEME) else []


def _listed(tag: str, number: int) -> list[str]:
    try:
        found = json.loads(tag)
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise FtcoreError(
            f"the tag {PARENTS} of version {number} is no list of models: {tag!r}",
            hint="restore it in MLflow: without it the training rows of the models behind it are not known",
        )
    return [str(one) for one in found]


def _numbered(settings: Settings, reference: str) -> str:
    name, version = _version(settings, reference)
    return f"{SCHEME}{name}/{version.number}"


def _version(settings: Settings, reference: str) -> tuple[str, Version]:
    """The recipe and the version that a reference means now.

    Raises:
        FtcoreError: there is none.
    """
    name, at, alias = reference.removeprefix(SCHEME).partition("@")
    if at:
        version = served.holder(Tracking(settings, name), alias)
        if version is None:
            raise FtcoreError(f"{reference}: no version of {name} has the alias {alias!r}")
        return name, version
    name, _, number = name.partition("/")
    if not number.isdecimal():
        raise FtcoreError(f"{reference} names no version", hint="write models:/NAME/NUMBER or models:/NAME@ALIAS")
    return name, Tracking(settings, name).version(int(number))


def _exists(shelf: RecipeStore, identity: str) -> bool:
    return bool(identity) and (snapshot.folder(shelf, identity) / "manifest.json").exists()
