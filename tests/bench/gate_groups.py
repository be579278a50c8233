"""How often `beats_champion` promotes a candidate that is no better where rows of one group are alike."""

from __future__ import annotations

from dataclasses import replace

from ftcore.evaluation.gates.beats_champion import BeatsChampion, spend
from tests.bench._candidates import grouped, seeds
from tests.bench._measure import Result, machine

CANDIDATES, ALLOWED = 300, 0.06
SHAPES = {(100, 10): 0.5, (50, 20): 0.7, (30, 30): 0.7, (1000, 1): 0.0}
"""Groups and their rows, and the chance that a row's fate is its group's."""
WHOLE = BeatsChampion(confidence=1 - 0.05 / spend(0.0, None)["alpha"])
"""A first look that may spend 5 %, so that the interval itself is seen."""


def run() -> Result:
    """Largest share of equally good candidates that pass at 5 % in one look; the aim is at most 6 %."""
    shares = {shape: promoted(*shape, share) for shape, share in SHAPES.items()}
    ignored = promoted(50, 20, 0.7, blind=True)
    worst = max(shares.values())
    told = ", ".join(f"{groups} groups of {size} {share:.3f}" for (groups, size), share in shares.items())
    note = f"the 6 % allowed; {told}; with rows taken as independent, 50 groups of 20 would be {ignored:.3f}"
    return Result("gate_groups", "share, ratio at most 1", worst, ALLOWED, worst / ALLOWED, 1000, 0, machine(), note)


def promoted(groups: int, size: int, share: float, *, blind: bool = False) -> float:
    """Share of the candidates that pass, with groups known to the gate or not."""
    found = []
    for seed in seeds(CANDIDATES):
        seen = grouped(groups, size, share, seed, 500)
        found.append(WHOLE.judge(replace(seen, group=None) if blind else seen).passed is True)
    return sum(found) / CANDIDATES
