"""True labels joined to the predictions that they are about."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from ftcore.data import snapshot
from ftcore.store.store import read_table

if TYPE_CHECKING:
    from ftcore.store.store import RecipeStore

_Place: TypeAlias = tuple[Any, int, int]
"""Time of a prediction, number of its file, and its position there."""


def joined(shelf: RecipeStore) -> Iterator[list[dict[str, Any]]]:
    """Labelled predictions with ``label`` and ``key``, the rows of one file of the log at a time.

    A label belongs to the newest prediction of its request id that is not younger than the label, and of a request that
    was labelled twice the later label counts. Where an id once named several texts each has its own label, and a
    ``key`` of its own: the id is that of the first.
    """
    feedback = shelf.read_log("feedback")
    if feedback is None:
        return
    given: dict[str, list[tuple[Any, str]]] = {}
    for row in feedback.sort_by("at").to_pylist():
        given.setdefault(row["request_id"], []).append((row["at"], row["label"]))
    files = list(shelf.log_files("predictions"))
    places = _newest(files, given)
    texts = _texts(files, [place for found in places.values() if len(set(found)) > 1 for place in found if place])
    chosen: dict[int, dict[int, tuple[str, str]]] = {}
    for identity, found in places.items():
        by_text: dict[str, tuple[_Place, str]] = {}
        for (_, label), place in zip(given[identity], found, strict=True):
            if place:  # the later label of a text comes later
                by_text[texts.get(place, "")] = place, label
        for number, (text, (place, label)) in enumerate(sorted(by_text.items(), key=lambda one: one[1][0])):
            chosen.setdefault(place[1], {})[place[2]] = label, f"{identity}\x00{text}" if number else identity
    for number in sorted(chosen):
        wanted = sorted(chosen[number].items())
        rows = read_table(files[number]).take([place for place, _ in wanted]).to_pylist()
        yield [row | {"label": label, "key": key} for row, (_, (label, key)) in zip(rows, wanted, strict=True)]


def _texts(files: list[Any], places: list[_Place]) -> dict[_Place, str]:
    """What the texts at some places have in common with others that say the same."""
    found: dict[_Place, str] = {}
    for number in sorted({place[1] for place in places}):
        column = read_table(files[number], ["text"])["text"]
        here = {place for place in places if place[1] == number}
        found |= {place: snapshot.text_key(column[place[2]].as_py() or "") for place in here}
    return found


def _newest(files: list[Any], given: dict[str, list[tuple[Any, str]]]) -> dict[str, list[_Place | None]]:
    """For each label of a request the newest prediction that is not younger; only ids and times are read."""
    import numpy as np

    newest: dict[str, list[_Place | None]] = {name: [None] * len(labels) for name, labels in given.items()}
    for number, file in enumerate(files):
        table = read_table(file, ["request_id", "at"])
        places = [place for place, name in enumerate(table["request_id"].to_pylist()) if name in given]
        for row, place in zip(table.take(np.array(places, int)).to_pylist(), places, strict=True):
            found = newest[row["request_id"]]
            start = bisect_left(given[row["request_id"]], row["at"], key=lambda one: one[0])
            for label in range(start, len(found)):
                before = found[label]
                if before is None or before[0] <= row["at"]:
                    found[label] = (row["at"], number, place)
    return newest
