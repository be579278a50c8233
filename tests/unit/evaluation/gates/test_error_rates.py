"""Error rates that gates promise, by small Monte Carlo runs of the benches' scenarios; seeds are fixed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ftcore.evaluation.gates.beats_champion import BeatsChampion
from ftcore.evaluation.gates.fairness import Fairness
from tests.bench import _candidates as candidates


def test_ten_looks_at_the_same_rows_promote_no_more_than_one_look_may() -> None:
    """Without spending, one of ten equally good candidates was promoted by chance in 22 % of the lives."""
    lives = [candidates.ever_promoted(10, 600, seed, resamples=100) for seed in range(40)]
    assert sum(map(any, lives)) / len(lives) <= 0.1


@pytest.mark.parametrize(("look", "least"), [(1, 0.9), (5, 0.8)])
def test_a_gain_of_five_points_is_found_at_the_first_and_at_the_fifth_look(look: int, least: float) -> None:
    looks, config = np.full(2000, look - 1), BeatsChampion()
    found = [
        config.judge(replace(candidates.pair(2000, 0.05, seed, resamples=300), looks=looks)).passed
        for seed in range(25)
    ]
    assert found.count(True) / len(found) >= least


@pytest.mark.parametrize(("groups", "size", "share"), [(100, 10, 0.5), (50, 20, 0.7)])
def test_alike_rows_of_a_group_promote_nobody(groups: int, size: int, share: float) -> None:
    """With rows taken as independent, 20 to 27 % of equally good candidates passed."""
    config = BeatsChampion()
    found = [config.judge(candidates.grouped(groups, size, share, seed, 200)).passed for seed in range(60)]
    assert found.count(True) / len(found) <= 0.06


def test_equally_good_candidates_pass_and_a_lost_slice_is_caught() -> None:
    equal = candidates.verdicts(range(20))
    assert sum(any(passed is not True for passed in rules) for rules in zip(*equal.values(), strict=True)) <= 1
    worse = candidates.verdicts(range(20), {"source=chat": 0.1})["slice"]
    assert worse.count(False) >= 17


@pytest.mark.parametrize(("groups", "rows"), [(8, 30), (5, 50), (8, 60)])
def test_equal_groups_of_few_rows_are_undecided_and_not_unfair(groups: int, rows: int) -> None:
    """By the measured difference, 58 to 90 % of fair models were refused."""
    names, found = np.repeat(np.arange(groups), rows), []
    slices = {f"source={place}": names == place for place in range(groups)}
    for seed in range(15):
        right = np.random.default_rng(seed).random(len(names)) < candidates.ACCURACY
        seen = replace(candidates.evidence({"candidate": right}, seed), slices=slices)
        found.append(Fairness().judge(seen).passed)
    assert False not in found
    assert None in found
