"""Pairs of models that are right on drawn rows, and what the gates decide about them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from ftcore.evaluation.gates.beats_champion import BeatsChampion
from ftcore.evaluation.gates.calibration import Calibration
from ftcore.evaluation.gates.fairness import Fairness
from ftcore.evaluation.gates.forgetting import Forgetting
from ftcore.evaluation.gates.slice import Slice
from ftcore.registry.verdict import Evidence
from ftcore.steps import gate
from ftcore.tasks.classification import Classification

FIRST_SEED = "FTCORE_BENCH_SEED"
"""Environment variable with the first seed of the gates' benches, 0 by default: other seeds are other candidates."""
CONFIG = Classification(labels=("negative", "positive"))
ACCURACY = 0.85
"""The champion's true accuracy, near the demo's."""
DISAGREE = 0.1
"""Least share of the rows on which the two differ."""


def seeds(count: int) -> range:
    """Seeds of that many candidates, from ``FTCORE_BENCH_SEED`` on."""
    first = int(os.environ.get(FIRST_SEED, "0"))
    return range(first, first + count)


def promoted(candidates: int, rows: int, gain: float, metric: str) -> float:
    """Share of the candidates that the gate promotes at 95 %, each at its first look.

    Args:
        candidates: how many are drawn, each on test rows of its own.
        rows: test rows of each.
        gain: how much likelier the candidate is right than the champion, truly.
        metric: what the gate compares.
    """
    config = BeatsChampion(metric=metric, confidence=0.95)
    passed = [config.judge(pair(rows, gain, seed)).passed for seed in seeds(candidates)]
    return sum(one is True for one in passed) / candidates


def pair(rows: int, gain: float, seed: int, disagree: float = DISAGREE, resamples: int = 2000) -> Evidence:
    """A candidate and a champion that are right on rows of their own.

    Args:
        rows: test rows.
        gain: how much likelier the candidate is right than the champion.
        seed: of the draws.
        disagree: share of the rows on which equally good models differ.
        resamples: bootstrap resamples.
    """
    draw = np.random.default_rng(seed)
    champion, candidate = correct(draw, rows, np.full(rows, gain), disagree)
    return evidence({"candidate": candidate, "champion": champion}, seed, resamples)


def correct(
    draw: np.random.Generator, rows: int, gain: np.ndarray, disagree: float = DISAGREE
) -> tuple[np.ndarray, np.ndarray]:
    """On which rows champion and candidate are right, ``[rows]`` each; ``gain`` is the candidate's of each row."""
    only_champion = disagree / 2 + np.maximum(-gain, 0)
    only_candidate = disagree / 2 + np.maximum(gain, 0)
    both, chance = ACCURACY - only_champion, draw.random(rows)
    champion = chance < both + only_champion
    candidate = (chance < both) | (champion ^ (chance < both + only_champion + only_candidate))
    return champion, candidate


def evidence(right: Mapping[str, np.ndarray], seed: int, resamples: int = 2000) -> Evidence:
    """What gates judge on, of which rows each role gets right, ``[rows]``; labels are drawn."""
    rows = len(right["candidate"])
    truth = np.random.default_rng([seed, 1]).integers(0, 2, rows)
    table = pa.table({"label": [CONFIG.labels[number] for number in truth]})
    tallies = {
        role: {"served": CONFIG.tallies(table, np.eye(2)[np.where(good, truth, 1 - truth)])}
        for role, good in right.items()
    }
    return Evidence(
        dataset=np.full(rows, "test"),
        candidate=tallies["candidate"],
        champion=tallies.get("champion"),
        metrics=CONFIG.metrics,
        better=Classification.METRICS,
        resamples=resamples,
        seed=seed,
    )


def alike(draw: np.random.Generator, group: np.ndarray, share: float) -> np.ndarray:
    """Which rows a model gets right where, with chance ``share``, a row's fate is its group's; ``[rows]``."""
    fate, own = draw.random(group.max() + 1) < ACCURACY, draw.random(len(group)) < ACCURACY
    return np.where(draw.random(len(group)) < share, fate[group], own)


def grouped(groups: int, size: int, share: float, seed: int, resamples: int = 2000) -> Evidence:
    """Two equally good models on rows that are alike within groups."""
    draw, group = np.random.default_rng(seed), np.repeat(np.arange(groups), size)
    right = {role: alike(draw, group, share) for role in ("candidate", "champion")}
    return replace(evidence(right, seed, resamples), group=group)


def ever_promoted(looks: int, rows: int, seed: int, *, fresh: float = 0.0, resamples: int = 500) -> list[bool]:
    """Verdicts about equally good candidates, all against one champion, look after look.

    Args:
        looks: candidates, each trained anew.
        rows: test rows of each look; rows differ in how hard they are, for every model.
        seed: of the draws.
        fresh: share of the rows that are replaced by new ones before each look.
        resamples: bootstrap resamples.
    """
    draw, config, found = np.random.default_rng(seed), BeatsChampion(), []
    hard, counts = draw.random(rows), np.zeros(rows, int)
    champion = _answers(draw, hard)
    for look in range(looks):
        new = draw.random(rows) < (fresh if look else 0.0)
        hard = np.where(new, draw.random(rows), hard)
        champion, counts = np.where(new, _answers(draw, hard), champion), np.where(new, 0, counts)
        seen = evidence({"candidate": _answers(draw, hard), "champion": champion}, seed, resamples)
        found.append(config.judge(replace(seen, looks=counts)).passed is True)
        counts = counts + 1
    return found


def _answers(draw: np.random.Generator, hard: np.ndarray) -> np.ndarray:
    """Which rows a model gets right; all models find the same rows hard."""
    return draw.random(len(hard)) < np.clip(1.25 - 0.9 * hard, 0, 1)


SIZES = {"source=shop": 900, "source=mail": 600, "source=chat": 300}
"""Slices of the test rows; each is cut into three lengths, too."""
HOLDOUTS = {"tweets": 500, "amazon": 800}
HARM = (
    Slice(),
    Forgetting(datasets=tuple(HOLDOUTS)),
    Fairness(by="source"),
    Calibration(),
)
"""What must not become worse, with the gates' own defaults."""


def sliced(
    seed: int, loss: Mapping[str, float] | None = None, disagree: float = 0.15, too_modest: float = 0.0
) -> Evidence:
    """A candidate and a champion on test rows in slices and on holdouts.

    Args:
        seed: of the draws.
        loss: true loss of the candidate by slice or holdout.
        disagree: share of the rows on which equally good models differ.
        too_modest: by how much the candidate's confidence is too low, its true calibration error.
    """
    draw = np.random.default_rng(seed)
    names = np.repeat([*SIZES, *HOLDOUTS], [*SIZES.values(), *HOLDOUTS.values()])
    test = np.isin(names, list(SIZES))
    lengths = np.where(test, draw.integers(0, 3, len(names)), -1)
    slices = {name: names == name for name in SIZES}
    slices |= {f"length={place}": lengths == place for place in range(3)}
    gain = np.zeros(len(names))
    for name, amount in (loss or {}).items():
        gain -= amount * slices.get(name, names == name)
    champion, candidate = correct(draw, len(names), gain, disagree)
    seen = evidence({"candidate": candidate, "champion": champion}, seed, 500)
    # Of the rows that a calibrated model gets right more are among those that it is surer of.
    sure = np.where(candidate, draw.beta(8 * ACCURACY + 1, 8 * (1 - ACCURACY), len(names)), 0)
    sure = np.where(candidate, sure, draw.beta(8 * ACCURACY, 8 * (1 - ACCURACY) + 1, len(names)))
    sure = np.maximum(sure - too_modest, 0)
    return replace(seen, dataset=np.where(test, "test", names), slices=slices, confidence=sure)


def verdicts(
    seeds: Sequence[int], loss: Mapping[str, float] | None = None, too_modest: float = 0.0
) -> dict[str, list[bool | None]]:
    """What each gate of ``HARM`` decides, by kind, about one candidate a seed."""
    found: dict[str, list[bool | None]] = {config.kind: [] for config in HARM}
    for seed in seeds:
        for rule in gate.judge(HARM, sliced(seed, loss, too_modest=too_modest)):
            found[rule.gate].append(rule.passed)
    return found
