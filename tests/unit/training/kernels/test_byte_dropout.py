"""Byte dropout is dropout: same mean, chance as asked for, same draw from the same seed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ftcore.training.kernels import byte_dropout


@pytest.mark.parametrize("chance", [0.05, 0.1, 0.5])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_as_many_are_dropped_as_asked_for_and_the_mean_stays(chance: float, kind: torch.dtype) -> None:
    layer = nn.Sequential(nn.Dropout(chance))
    byte_dropout.use(layer)
    torch.manual_seed(1)
    found = layer(torch.ones(1000, 1001, dtype=kind))
    assert found.dtype == kind
    assert (found == 0).float().mean().item() == pytest.approx(chance, abs=0.003)
    assert found.float().mean().item() == pytest.approx(1, abs=0.005)


def test_neighbours_are_dropped_independently() -> None:
    layer = nn.Sequential(nn.Dropout(0.25))
    byte_dropout.use(layer)
    torch.manual_seed(1)
    gone = (layer(torch.ones(200_000)) == 0).float()
    for distance in (1, 2, 8, 64):
        assert abs(torch.corrcoef(torch.stack([gone[distance:], gone[:-distance]]))[0, 1].item()) < 0.01


def test_the_seed_decides_and_gradients_flow_where_values_did() -> None:
    layer = nn.Sequential(nn.Dropout(0.3))
    byte_dropout.use(layer)
    values = torch.ones(40, 3, requires_grad=True)
    torch.manual_seed(5)
    first = layer(values)
    torch.manual_seed(5)
    assert torch.equal(layer(values), first)
    first.sum().backward()
    assert torch.equal(values.grad, first.detach())


def test_nothing_is_dropped_while_judging_or_where_the_chance_is_nil() -> None:
    layer = nn.Sequential(nn.Dropout(0.3), nn.Dropout(0.0))
    byte_dropout.use(layer)
    assert torch.equal(layer.eval()(torch.ones(9)), torch.ones(9))
    assert torch.equal(layer.train()[1](torch.ones(9)), torch.ones(9))
