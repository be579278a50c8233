"""Names of a recipe's sources: two that read different things are two, although both are called alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from ftcore._find import find


def apart(sources: Sequence[Any]) -> list[Any]:
    """The sources, with a name for each that would be called as an earlier one that reads something else.

    ``jan/tickets.csv`` and ``feb/tickets.csv`` are both called ``files:tickets``, so that their rows of one key would
    be one row: the second becomes ``files:feb/tickets``. The first one keeps its name, so that a source that is added
    changes no row's identity. Names that the recipe gives stay as they are, and so do incremental sources.
    """
    taken: dict[str, dict[str, Any]] = {}
    named = []
    for source in sources:
        module, one = find("sources", source.kind), source
        name = module.source_name(source) if hasattr(module, "source_name") else None
        if name is not None and hasattr(source, "name"):
            place = _place(source, module)
            if not source.name and not getattr(source, "watermark", None):
                for own in _candidates(source, name.split(":", 1)[-1]):
                    if taken.get(f"{source.kind}:{own}", place) == place:
                        name = f"{source.kind}:{own}"
                        one = source if name == module.source_name(source) else source.model_copy(update={"name": own})
                        break
            taken.setdefault(name, place)
        named.append(one)
    return named


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
