"""How far each export's outputs are from the trained model's, row by row, and from its own outputs of one row alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftcore.evaluation.predictions import given, load
from ftcore.models import outputs
from ftcore.progress import progress
from ftcore.registry.verdict import TORCH
from ftcore.serving import model as models

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.context import Context
    from ftcore.tracking.client import Tracking, Version

TOLERANCE = 1e-3
"""Largest difference of a number in float32 arithmetic, absolute, or relative to numbers larger than 1."""
CHECKED_ALONE = 64
"""Rows that are predicted alone once more."""


def agreement(
    context: Context,
    tracking: Tracking,
    candidate: Version,
    rows: pa.Table,
    columns: Mapping[tuple[str, str], pa.Array],
) -> dict[str, Any]:
    """Of each export of the candidate how its outputs agree.

    Returns:
        By flavour ``rows``, ``disagree`` (rows with another answer than torch's), ``off`` (rows with a number that is
        further than ``TOLERANCE`` from torch's), ``max_difference``, ``exact`` (whether it computes in torch's
        precision), and ``alone``: the same three of rows predicted alone, compared with the same rows in batches.
    """
    import numpy as np

    recipe, exact = context.recipe, models.exact(context.recipe)
    torch = columns["candidate", TORCH]
    places = np.linspace(0, rows.num_rows - 1, min(CHECKED_ALONE, rows.num_rows)).round().astype(int)
    texts = given(recipe, rows)
    found = {}
    for flavour in models.flavours(recipe):
        if flavour == TORCH:
            continue
        model, one_by_one = load(recipe, tracking, candidate, flavour), []
        with progress(f"{flavour} row by row", len(places)) as advance:
            for place in places:
                one_by_one.append(model.predict([texts[place]]))
                advance()
        alone = outputs.join(one_by_one, np.arange(len(places)))
        in_batches = columns["candidate", flavour]
        found[flavour] = {
            "exact": flavour in exact,
            **_compared(context, outputs.of(in_batches), outputs.of(torch)),
            "alone": _compared(context, alone, outputs.of(in_batches.take(places))),
        }
    return found


def _compared(context: Context, one: outputs.Outputs, other: outputs.Outputs) -> dict[str, Any]:
    """Rows, those with another answer, those with other numbers, and the largest difference."""
    import numpy as np

    if not len(one):
        return {"rows": 0, "disagree": 0, "off": 0, "max_difference": 0.0}
    answers = [context.recipe.task.answers(said)[0] for said in (one, other)]
    apart = np.array([_difference(*pair) for pair in zip(one, other, strict=True)])
    return {
        "rows": len(apart),
        "disagree": sum(a != b for a, b in zip(*answers, strict=True)),
        "off": int((apart > TOLERANCE).sum()),
        "max_difference": float(apart.max()),
    }


def _difference(one: Any, other: Any) -> float:
    """Largest difference of the numbers of one row, relative to those larger than 1; 0 where there are none."""
    import numpy as np

    if isinstance(one, dict):
        return max((_difference(one[part], other[part]) for part in one if one[part] is not None), default=0.0)
    left, right = np.asarray(one), np.asarray(other)
    if not (np.issubdtype(left.dtype, np.number) and np.issubdtype(right.dtype, np.number)):
        return 0.0
    return float((np.abs(left - right) / np.maximum(1, np.abs(right))).max(initial=0.0))
