"""Rows worth reading: the surest right and wrong answers, and where candidate and champion disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftcore.data.conversations import turns as conversation

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

LONGEST = 2000
"""Characters of a text that are kept."""


def pick(
    rows: pa.Table,
    scores: Mapping[str, np.ndarray],
    answers: Mapping[str, tuple[list[str], np.ndarray]],
    count: int,
) -> dict[str, list[dict[str, Any]]]:
    """``best``, ``worst`` and, where there is a champion, ``gained`` and ``lost``: rows only one of the two got right.

    Args:
        rows: what was evaluated; personal data is masked in them.
        scores: of each row, higher is better, ``[rows]``, by role; NaN counts as 0.
        answers: what was answered and how surely, by role.
        count: most rows of each list.
    """
    import numpy as np

    scores = {role: np.nan_to_num(score) for role, score in scores.items()}
    score, sure = scores["candidate"], np.nan_to_num(answers["candidate"][1])
    orders = {"best": np.lexsort((-sure, -score)), "worst": np.lexsort((-sure, score))}
    if "champion" in scores:
        gain = score - scores["champion"]
        orders["gained"] = np.argsort(-gain, kind="stable")[: int((gain > 0).sum())]
        orders["lost"] = np.argsort(gain, kind="stable")[: int((gain < 0).sum())]
    table = rows.select(["row_id", "dataset", "source", "text", "label"])
    return {
        name: [
            {**row, "text": conversation.readable(row["text"])[:LONGEST]}
            | {role: _said(answers[role], place) for role in scores}
            for row, place in zip(table.take(order[:count]).to_pylist(), order[:count].tolist(), strict=True)
        ]
        for name, order in orders.items()
    }


def _said(answers: tuple[list[str], np.ndarray], place: int) -> dict[str, Any]:
    label, score = answers[0][place], float(answers[1][place])
    return {"answer": label[:LONGEST], "score": round(score, 4) if score == score else None}  # noqa: PLR0124 - NaN
