"""Requests as the model is asked: read, cleaned and masked by the function and the settings it was trained with.

The settings travel with the model in its ``ftcore.json``, so that what is asked in production is what was learned,
whatever the recipe says by then. What leaves here, to the model and into the prediction log, holds no personal data
that the recipe removes; a row's split key is taken from what came in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot, split
from ftcore.data.cleaning import groups, personal
from ftcore.data.cleaning import rows as texts
from ftcore.models.outputs import Example
from ftcore.recipe.sections import PersonalData
from ftcore.serving.model import task_of_card

if TYPE_CHECKING:
    from ftcore.data.cleaning.rows import Faults
    from ftcore.store.store import RecipeStore

EMPTY: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Requests:
    """Cleaned requests, in their order."""

    rows: list[dict[str, Any]]
    """``request_id``, ``text``, ``context``, ``group``, ``part`` and ``split_key`` of each."""
    refused: Faults
    """Positions of those that the model cannot be asked, and why."""
    private: frozenset[int]
    """Positions of those with personal data for which the recipe leaves a row out: they are answered, not kept."""

    @property
    def asked(self) -> list[int]:
        """Positions of those that the model is asked."""
        return [place for place in range(len(self.rows)) if place not in self.refused]

    def examples(self, places: Sequence[int]) -> list[Example]:
        """Some of them as a predictor takes them."""
        some = (self.rows[place] for place in places)
        return [Example(row["text"], row["context"], source=row["part"]) for row in some]


def settings(card: Mapping[str, Any], default: PersonalData | None = None) -> PersonalData:
    """What happens to personal data, as the model's card says; models of an earlier version have the default."""
    given = card.get("personal_data")
    return PersonalData.model_validate(given) if given is not None else default or PersonalData()


def clean(
    card: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], shelf: RecipeStore, default: PersonalData | None = None
) -> Requests:
    """Clean requests for a model, and take their split keys.

    Args:
        card: the model's ``ftcore.json``.
        rows: ``request_id``, ``text``, ``context``, ``group`` and ``part`` as they came.
        shelf: has the secret of the split keys.
        default: what happens to personal data where the card does not say.

    Raises:
        ConfigurationError: the model was trained on pseudonyms, and their secret is missing.
    """
    keys = split.load(shelf)
    raw = [row["group"] for row in rows]
    cleaner = personal.cleaner(settings(card, default), os.environ, card.get("recipe", shelf.name))
    found, refused, private = _cleaned(card, rows, cleaner)
    named = groups.pseudonymous(raw, cleaner, keys)
    taken = keys.of(raw, [row["text"] for row in rows])
    kept = [
        {**row, "text": text, "context": more, "group": group, "split_key": key}
        for row, (text, more), group, key in zip(rows, found, named, taken, strict=True)
    ]
    return Requests(kept, refused, frozenset(private))


def examples(card: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> tuple[list[Example], Faults]:
    """Rows for a model outside of any store, cleaned; and why some of them cannot be asked."""
    cleaner = personal.cleaner(settings(card), os.environ, card.get("recipe", ""))
    found, refused, _ = _cleaned(card, rows, cleaner)
    return [Example(text, more, source=row.get("part")) for (text, more), row in zip(found, rows, strict=True)], refused


def labels(
    card: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], recipe: str, default: PersonalData | None = None
) -> tuple[list[str | None], list[int]]:
    """Labels that came back, cleaned beside what was asked, as a row that is trained on.

    Args:
        card: of the model that predicted.
        rows: ``text``, ``context`` and ``part`` as they were logged, ``label`` in the task's own form.
        recipe: its name, where the card does not say it.
        default: what happens to personal data where the card does not say.

    Returns:
        The labels, and the positions of those with personal data for which a row is left out.
    """
    task = task_of_card(card)
    editor = texts.Editor(personal.cleaner(settings(card, default), os.environ, card.get("recipe", recipe)))
    text, context, label, part = ([row.get(name) for row in rows] for name in ("text", "context", "label", "part"))
    made = texts.Rows(text, context, label, [None] * len(rows), part)
    task.clean_rows(made, editor)
    return made.label, sorted(editor.dropped)


def _cleaned(
    card: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], cleaner: personal.Cleaner
) -> tuple[list[tuple[str, str | None]], Faults, list[int]]:
    """Text and context of each row, why rows cannot be asked, and the positions of those that are not to be kept."""
    import pyarrow as pa

    task = task_of_card(card)
    columns = {"text": "text", "context": "context", "source": "part"}
    given = [{name: row.get(key) for name, key in columns.items()} for row in rows]
    made = texts.clean(pa.Table.from_pylist(given, schema=snapshot.schema()), task, cleaner, requests=True)
    both = zip(made.table["text"].to_pylist(), made.table["context"].to_pylist(), strict=True)
    return list(both), made.faults, made.dropped
