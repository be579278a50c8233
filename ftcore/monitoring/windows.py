"""A window of predictions in the form of the reference: cleaned and masked as it is, and each text once.

What the reference holds went through ``prepare``, which cleans, masks and drops copies. A window that did not would
differ from it in what was done to the texts alone, and drift would be seen where there is none. The log is cleaned
already; lines of an earlier version, or of another writer, are cleaned here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftcore.data import snapshot
from ftcore.recipe.sections import PersonalData
from ftcore.serving import cleaned

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.context import Context
    from ftcore.tracking.client import Version


def comparable(context: Context, champion: Version, window: pa.Table) -> pa.Table:
    """Rows of a window that the reference could hold, the first of each text.

    Args:
        context: of the step.
        champion: whose reference it is; its snapshot has the settings.
        window: rows of the prediction log.
    """
    import pyarrow as pa

    recipe = context.recipe
    prepare = snapshot.manifest(context.shelf, champion.snapshot).get("settings", {}).get("prepare", {})
    config = PersonalData.model_validate(prepare.get("personal_data", recipe.prepare.personal_data.model_dump()))
    card = {"recipe": recipe.name, "task": recipe.task.model_dump(mode="json")}
    columns = [name for name in ("text", "context", "part") if name in window.column_names]
    card["personal_data"] = config.model_dump(mode="json")
    examples, refused = cleaned.examples(card, window.select(columns).to_pylist())
    first: dict[tuple[str, str, str | None], int] = {}
    for place, one in enumerate(examples):
        if place not in refused:
            first.setdefault((snapshot.text_key(one.text), snapshot.text_key(one.context or ""), one.source), place)
    kept = window.take(list(first.values()))
    texts = pa.array([examples[place].text for place in first.values()], pa.string())
    return kept.set_column(kept.column_names.index("text"), "text", texts)
