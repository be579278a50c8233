"""Names of a recipe's sources: two that read different things are two, although both are called alike."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ftcore.recipe.canonical import canonical, sha256
from ftcore.recipe.kinds import find

log = logging.getLogger(__name__)


def apart(sources: Sequence[Any], published: Mapping[str, str] | None = None) -> list[Any]:
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
    here = {_what(one, find("sources", one.kind)) for one in sources if hasattr(one, "name")} if published else set()
    taken: dict[str, dict[str, Any]] = {}
    named = []
    for source in sources:
        module, one = find("sources", source.kind), source
        name = module.source_name(source) if hasattr(module, "source_name") else None
        if name is not None and hasattr(source, "name"):
            place = _place(source, module)
            if not source.name and not getattr(source, "watermark", None):
                mine = _what(source, module)
                own_ones = [one.split(":", 1)[-1] for one, what in published.items() if what == mine]
                for own in (*own_ones, *_candidates(source, name.split(":", 1)[-1])):
                    owner = published.get(f"{source.kind}:{own}", mine)
                    if owner != mine and (owner in here or getattr(source, "path", None)):
                        log.warning(
                            "%s:%s is the name of other rows, from %s: those of %s get another; name: %s in the recipe "
                            "says that they are the same",
                            source.kind, own, owner, mine, own,
                        )  # fmt: skip
                        continue
                    if taken.get(f"{source.kind}:{own}", place) == place:
                        name = f"{source.kind}:{own}"
                        one = source if name == module.source_name(source) else source.model_copy(update={"name": own})
                        break
            taken.setdefault(name, place)
        named.append(one)
    return named


def known(
    sources: Sequence[Any], published: Mapping[str, str], files: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What each source reads, by its name; what was published under other names stays known.

    Args:
        sources: as ``apart`` named them.
        published: what was known before.
        files: what patterns found, and archives, by name: see ``sources._names``; an archive's ends with a slash.
    """
    found = {}
    for source in sources:
        module = find("sources", source.kind)
        name = module.source_name(source) if hasattr(module, "source_name") else None
        if name is not None and hasattr(source, "name") and not getattr(source, "watermark", None):
            found[name] = _what(source, module)
    return {**published, **found, **(files or {})}


def normal(what: str) -> str:
    """What a source reads, however its path is written: ``./data//a.csv`` is ``data/a.csv``."""
    kind, _, path = what.partition(" ")
    return what if not path or "://" in path else f"{kind} {posixpath.normpath(path)}"


def _what(source: Any, module: Any) -> str:
    """What a source reads, in short: its path, however it is read, else a hash of its query or dataset."""
    path = getattr(source, "path", None)
    return (
        normal(f"{source.kind} {path}") if path else f"{source.kind} {sha256(canonical(_place(source, module)))[:16]}"
    )


def _place(source: Any, module: Any) -> dict[str, Any]:
    """What a source reads, without how its columns are mapped and how many rows are taken."""
    shared = {name for base in module.Config.__mro__[1:] for name in getattr(base, "model_fields", ())}
    return dict(source.model_dump(mode="json", exclude=shared))


def _candidates(source: Any, own: str) -> Sequence[str]:
    """Names in the order in which they are tried: with more and more folders of a path, then with a number."""
    path = getattr(source, "path", None)
    folders = [part for part in PurePosixPath(path or "").parts[:-1] if part not in {"/", ".", ".."}]
    longer = ["/".join([*folders[-count:], own]) for count in range(1, len(folders) + 1)]
    return [own, *longer, *(f"{own}-{number}" for number in range(2, 1000))]
