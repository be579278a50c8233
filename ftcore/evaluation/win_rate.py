"""How often a judge finds the candidate's written answer better than the champion's.

Each row is asked about twice, with the answers swapped, because judges favour a place (Zheng et al. 2023, *Judging
LLM-as-a-Judge*). Only what is said both times counts as won or lost; all else is a tie.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from ftcore.evaluation import judge as _judge
from ftcore.models import outputs
from ftcore.progress import progress
from ftcore.registry.verdict import TORCH
from ftcore.serving import model as models
from ftcore.statistics.intervals import estimate
from ftcore.store.store import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pyarrow as pa
    from upath import UPath

    from ftcore.context import Context
    from ftcore.recipe.sections import Judge
    from ftcore.tracking.client import Tracking, Version

SWAPPED = {"A": "B", "B": "A", "TIE": "TIE", "?": "?"}


def written(
    context: Context, tracking: Tracking, version: Version, rows: pa.Table, column: pa.ChunkedArray | pa.Array
) -> list[str]:
    """What a version answers to some rows: what it wrote for the metrics, or, where it wrote nothing, written now."""
    said = outputs.of(column)
    if isinstance(said, list):
        return said
    model = models.load(context.recipe, tracking, version, TORCH)
    with progress(f"version {version.number} answers", rows.num_rows) as advance:
        return list(model.outputs(outputs.given(rows), advance))


def judged(
    context: Context, rows: Sequence[Mapping[str, Any]], answers: Mapping[str, Sequence[str]], key: Mapping[str, str]
) -> dict[str, Any]:
    """The judge's findings on some rows, as ``evaluation.json`` holds them.

    Args:
        context: of the step; what the judge said is kept in ``judged.json`` of its folder, and not asked again.
        rows: with ``text``, and ``context`` and ``label`` where there are some.
        answers: of ``candidate`` and ``champion``, a text a row.
        key: the environment, which holds the judge's key.

    Raises:
        TransientError: the judge cannot be reached.
    """
    judge, recipe = context.recipe.evaluate.judge, context.recipe
    assert judge is not None, "the caller looked"
    pairs = list(zip(rows, answers["candidate"], answers["champion"], strict=True))
    both = _ask_all(judge, pairs, context.folder / "judged.json", key)
    return {"host": judge.host, "model": judge.model, **counted(both, recipe.evaluate.resamples, recipe.train.seed)}


def counted(both: Sequence[tuple[_judge.Said, _judge.Said]], resamples: int, seed: int) -> dict[str, Any]:
    """Wins, ties and losses, the win rate with ties as half a win, and how often both orders agree.

    Args:
        both: of each row what was said with the candidate as A, and what with the champion as A.
        resamples: bootstrap resamples over rows.
        seed: of the resampling.
    """
    import numpy as np

    clear = [(first, SWAPPED[second]) for first, second in both if "?" not in (first, second)]
    found = [[pair == ("A", "A"), pair == ("B", "B"), pair[0] == pair[1], 1] for pair in clear]
    tallies = np.array(found, float).reshape(-1, 4)
    wins, losses = (int(tallies[:, place].sum()) for place in (0, 1))
    return {
        "rows": len(both),
        "wins": wins,
        "ties": len(clear) - wins - losses,
        "losses": losses,
        "undecided": len(both) - len(clear),
        **{name: one.model_dump(mode="json") for name, one in estimate(_shares, tallies, resamples, seed).items()},
    }


def _shares(sums: np.ndarray) -> dict[str, np.ndarray]:
    rows = sums[..., 3]
    return {"win_rate": (1 + (sums[..., 0] - sums[..., 1]) / rows) / 2, "agreement": sums[..., 2] / rows}


def _ask_all(
    judge: Judge, pairs: Sequence[tuple[Mapping[str, Any], str, str]], path: UPath, key: Mapping[str, str]
) -> list[tuple[_judge.Said, _judge.Said]]:
    """What the judge says of each row in both orders; each answer is written down before the next is asked for."""
    kept: dict[str, Any] = read_json(path) or {}
    made = []
    with _judge.client(judge, key) as there, progress("judged", len(pairs)) as advance:
        for row, ours, theirs in pairs:
            said = []
            for first, second in ((ours, theirs), (theirs, ours)):
                question = _judge.messages(row, first, second)
                asked = json.dumps([judge.endpoint, judge.model, judge.answer_tokens, question])
                name = hashlib.sha256(asked.encode()).hexdigest()
                if name not in kept:
                    kept[name] = _judge.ask(judge, there, question)
                    write_json(path, kept)
                said.append(kept[name])
            made.append((said[0], said[1]))
            advance()
    return made
