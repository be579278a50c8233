"""Names of a recipe's sources: two that read different things are two, although both are called alike."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ftcore.recipe.canonical import canonical, sha256

if TYPE_CHECKING:
    from ftcore.recipe.sections import Source

log = logging.getLogger(__name__)


def apart(sources: Sequence[Source], published: Mapping[str, str] | None = None) -> list[Source]:
    """The sources, with a name for each that would be called as an earlier one that reads something else.

    ``jan/tickets.csv`` and ``feb/tickets.csv`` are both called ``files:tickets``, so that their rows of one key would
    be one row: the second becomes ``files:feb/tickets``. The first one keeps its name, so that a source that is added
    changes no row's identity. Names that the recipe gives stay as they are, and so do incremental sources.

    A source keeps the name that its rows were published with, wherever it stands among the others, and a file gets no
    name that another file was published with, although that one is not read any more.

    Args:
        sources: in the recipe's order.
        published: what was read, by the name that its rows were published with: see ``known``.
    """
    published = {name: normal(what) for name, what in (published or {}).items()}
    here = {_what(one) for one in sources if one.mapping} if published else set()
    taken: dict[str, dict[str, Any]] = {}
    named = []
    for source in sources:
        one, name = source, source.source_name()
        if name is not None and source.mapping:
            place = source.identity()
            if not source.mapping.name and not source.incremental:
                mine = _what(source)
                own_ones = [one.split(":", 1)[-1] for one, what in published.items() if what == mine]
                for own in (*own_ones, *_candidates(source, name.split(":", 1)[-1])):
                    owner = published.get(f"{source.kind}:{own}", mine)
                    if owner != mine and (owner in here or source.location):
                        log.warning(
                            "%s:%s is the name of other rows, from %s: those of %s get another; name: %s in the recipe "
                            "says that they are the same",
                            source.kind, own, owner, mine, own,
                        )  # fmt: skip
                        continue
                    if taken.get(f"{source.kind}:{own}", place) == place:
                        name = f"{source.kind}:{own}"
                        one = source if name == source.source_name() else source.model_copy(update={"name": own})
                        break
            taken.setdefault(name, place)
        named.append(one)
    return named


def known(
    sources: Sequence[Source], published: Mapping[str, str], files: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What each source reads, by its name; what was published under other names stays known.

    Args:
        sources: as ``apart`` named them.
        published: what was known before.
        files: what patterns found, and archives, by name: see ``sources._names``; an archive's ends with a slash.
    """
    found = {}
    for source in sources:
        name = source.source_name()
        if name is not None and source.mapping and not source.incremental:
            found[name] = _what(source)
    return {**published, **found, **(files or {})}


def normal(what: str) -> str:
    """What a source reads, however its path is written: ``./data//a.csv`` is ``data/a.csv``."""
    kind, _, path = what.partition(" ")
    return what if not path or "://" in path else f"{kind} {posixpath.normpath(path)}"


def _what(source: Source) -> str:
    """What a source reads, in short: its path, however it is read, else a hash of its query or dataset."""
    path = source.location
    return normal(f"{source.kind} {path}") if path else f"{source.kind} {sha256(canonical(source.identity()))[:16]}"


def _candidates(source: Source, own: str) -> Sequence[str]:
    """Names in the order in which they are tried: with more and more folders of a path, then with a number."""
    folders = [part for part in PurePosixPath(source.location or "").parts[:-1] if part not in {"/", ".", ".."}]
    longer = ["/".join([*folders[-count:], own]) for count in range(1, len(folders) + 1)]
    return [own, *longer, *(f"{own}-{number}" for number in range(2, 1000))]
