"""Pairs of models that are right on drawn rows, and what `beats_champion` says of them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa

from ftcore.gates import beats_champion
from ftcore.tasks import classification
from ftcore.verdict import Evidence

CONFIG = classification.Config(labels=("negative", "positive"))
ACCURACY = 0.85
"""The champion's true accuracy, near the demo's."""
DISAGREE = 0.1
"""Least share of the rows on which the two differ."""


def promoted(candidates: int, rows: int, gain: float, metric: str) -> float:
    """Share of the candidates that the gate promotes at 95 %.

    Args:
        candidates: how many are drawn, each on test rows of its own.
        rows: test rows of each.
        gain: how much likelier the candidate is right than the champion, truly.
        metric: what the gate compares.
    """
    config = beats_champion.Config(metric=metric, confidence=0.95)
    passed = [beats_champion.judge(config, _evidence(rows, gain, seed)).passed for seed in range(candidates)]
    return sum(one is True for one in passed) / candidates


def _evidence(rows: int, gain: float, seed: int) -> Evidence:
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 2, rows)
    both, only_champion = ACCURACY - DISAGREE / 2, DISAGREE / 2
    edges = np.cumsum([both, only_champion, only_champion + gain])
    case = np.searchsorted(edges, draw.random(rows), side="right")  # both right, one of them, the other, none
    table = pa.table({"label": [CONFIG.labels[number] for number in truth]})

    def tallies(right: np.ndarray) -> np.ndarray:
        return classification.tallies(CONFIG, table, np.eye(2)[np.where(right, truth, 1 - truth)])

    return Evidence(
        dataset=np.full(rows, "test"),
        candidate={"served": tallies((case == 0) | (case == 2))},
        champion={"served": tallies(case <= 1)},
        metrics=partial(classification.metrics, CONFIG),
        better=classification.METRICS,
        resamples=2000,
        seed=seed,
    )
