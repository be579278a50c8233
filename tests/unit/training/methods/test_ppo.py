"""The formulas of PPO, each beside a calculation by hand or a slower one that is plainly right."""

from __future__ import annotations

import pytest
import torch

from ftcore.training.methods import _ppo, _surrogate

REAL = torch.tensor([[True, True, True], [True, True, False]])


def test_advantages_are_those_of_a_hand_calculation() -> None:
    rewards = torch.tensor([[0.0, 0.0, 1.0], [0.5, 2.0, 9.0]])
    values = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.6, 7.0]])
    advantages, returns = _surrogate.estimate(rewards, values, REAL, discount=0.9, trust=0.5)
    # δ = r + γ·v' − v: 0.08, 0.07, 0.7, and A = δ + 0.45·A': from the end on 0.7, 0.385, 0.25325.
    # In the second row nothing counts behind the second token: δ = 0.64, 1.4, and A = 1.4, 1.27.
    expected = torch.tensor([[0.25325, 0.385, 0.7], [1.27, 1.4, 0.0]])
    assert torch.allclose(advantages, expected)
    assert torch.allclose(returns, (expected + values) * REAL)


def test_without_trust_in_values_advantages_are_what_came_less_what_was_expected() -> None:
    rewards, values = torch.rand(2, 3), torch.rand(2, 3)
    advantages, returns = _surrogate.estimate(rewards, values, REAL, discount=1.0, trust=1.0)
    came = (rewards * REAL).flip(-1).cumsum(-1).flip(-1)
    assert torch.allclose(returns, came * REAL, atol=1e-6)
    assert torch.allclose(advantages, (came - values) * REAL, atol=1e-6)


def test_the_clipped_loss_is_that_of_the_formula() -> None:
    torch.manual_seed(1)
    moved, advantages = torch.randn(2, 3) * 0.5, torch.randn(2, 3)
    total, clipped = 0.0, 0
    for row in range(2):
        for place in range(3):
            if REAL[row, place]:
                ratio, worth = float(moved[row, place].exp()), float(advantages[row, place])
                free, bound = ratio * worth, min(max(ratio, 0.8), 1.2) * worth
                total, clipped = total + min(free, bound), clipped + (bound < free)
    loss, share = _surrogate.surrogate(moved, advantages, REAL, clip=0.2)
    assert loss.item() == pytest.approx(-total / 5)
    assert share.item() == pytest.approx(clipped / 5)
    assert clipped > 0


def test_what_has_moved_too_far_already_pulls_no_further() -> None:
    moved = torch.tensor([[1.0, -1.0, 0.0]], requires_grad=True)
    loss, _ = _surrogate.surrogate(moved, torch.tensor([[1.0, -1.0, 1.0]]), torch.ones(1, 3), clip=0.2)
    loss.backward()
    assert moved.grad is not None
    assert moved.grad[0, 0] == moved.grad[0, 1] == 0
    assert moved.grad[0, 2] < 0


def test_whitened_advantages_have_mean_0_and_variance_1_over_what_counts() -> None:
    white = _surrogate.whiten(torch.tensor([[3.0, 5.0, 100.0], [1.0, 9.0, -50.0]]), REAL)
    assert white[1, 2] == 0
    assert white[REAL].mean().abs() < 1e-6
    assert white[REAL].std(unbiased=False).item() == pytest.approx(1, abs=1e-5)


def test_every_prompt_comes_once_an_epoch_in_another_order_each_time() -> None:
    batches = _ppo._batches(6, 3, seed=2)
    first, second = (sorted(next(batches) + next(batches)) for _ in range(2))
    assert first == second == list(range(6))
    alone = _ppo._batches(2, 8, seed=2)
    assert sorted(next(alone)) == [0, 1]
