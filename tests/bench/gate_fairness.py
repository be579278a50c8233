"""How often `fairness` refuses a model that serves all groups alike, and one that does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ftcore.evaluation.gates.fairness import Fairness
from tests.bench._candidates import ACCURACY, evidence, seeds
from tests.bench._measure import Result, machine

CANDIDATES, ALLOWED = 200, 0.06
CONFIG = Fairness(max_difference=0.1)


def shares(sizes: tuple[int, ...], worst: float = ACCURACY) -> dict[bool | None, float]:
    """Shares of verdicts about models that get ``ACCURACY`` of each group right, and ``worst`` of the first."""
    names = np.repeat(np.arange(len(sizes)), sizes)
    slices = {f"source={place}": names == place for place in range(len(sizes))}
    chance, found = np.where(names == 0, worst, ACCURACY), []
    for seed in seeds(CANDIDATES):
        right = np.random.default_rng(seed).random(len(names)) < chance
        found.append(CONFIG.judge(replace(evidence({"candidate": right}, seed), slices=slices)).passed)
    return {word: found.count(word) / CANDIDATES for word in (True, False, None)}


def run() -> Result:
    """Share of models with equal groups that are refused, at most 6 %; groups of few rows are undecided."""
    alike = {sizes: shares(sizes) for sizes in ((30,) * 8, (50,) * 5, (300,) * 4)}
    refused = max(found[False] for found in alike.values())
    edge, apart = shares((300,) * 4, ACCURACY - 0.1), shares((300,) * 4, ACCURACY - 0.25)
    told = ", ".join(f"{len(sizes)} of {sizes[0]} rows {found[True]:.3f}" for sizes, found in alike.items())
    note = (
        f"the 6 % allowed; passed of equal groups: {told}, else undecided; 0.1 is allowed: truly 0.1 apart "
        f"{edge[False]:.3f} are refused, truly 0.25 apart {apart[False]:.3f} (4 groups of 300 rows)"
    )
    return Result(
        "gate_fairness", "share, ratio at most 1", refused, ALLOWED, refused / ALLOWED, 1200, 0, machine(), note
    )
