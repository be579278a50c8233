"""The formulas of PPO: advantages, the clipped surrogate, and means over the tokens that count."""

from __future__ import annotations

import torch  # noqa: TID253 - imported by ppo's fit alone


def estimate(
    rewards: torch.Tensor, values: torch.Tensor, counted: torch.Tensor, discount: float, trust: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimation, Schulman et al. (2016), equation 16: ``Σ (γλ)^l δ_{t+l}``.

    Args:
        rewards: ``[rows, A]``.
        values: what was expected before each token, ``[rows, A]``.
        counted: which tokens are real; nothing is expected behind the last one.
        discount: γ.
        trust: λ.

    Returns:
        Advantages and returns, their sum with the values, ``[rows, A]`` each; 0 where nothing counts.
    """
    rewards, values = rewards * counted, values * counted
    advantages, following = torch.zeros_like(values), torch.zeros_like(values[:, 0])
    for place in reversed(range(values.shape[1])):
        expected = values[:, place + 1] if place + 1 < values.shape[1] else torch.zeros_like(following)
        following = rewards[:, place] + discount * expected - values[:, place] + discount * trust * following
        advantages[:, place] = following
    advantages = advantages * counted
    return advantages, advantages + values


def surrogate(
    moved: torch.Tensor, advantages: torch.Tensor, counted: torch.Tensor, clip: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Schulman et al. (2017), equation 7, as a loss: ``−mean min(r·A, clip(r, 1 − ε, 1 + ε)·A)``; and what was clipped.

    Args:
        moved: log of ``r``, the probability now over the one when it was drawn, ``[rows, A]``.
        advantages: ``[rows, A]``.
        counted: which tokens are real.
        clip: ε.
    """
    ratio = moved.exp()
    free, bound = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    return -mean(torch.minimum(free, bound), counted), mean((bound < free).float(), counted)


def whiten(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Shifted and scaled to mean 0 and variance 1 over what counts; 0 elsewhere."""
    real = values[counted]
    return (values - real.mean()) / (real.std(unbiased=False) + 1e-8) * counted


def mean(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Mean over what counts."""
    return (values * counted).sum() / counted.sum()
