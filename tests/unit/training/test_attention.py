"""Attention with byte dropout is attention with dropout; FlashAttention is asked for in plain words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ftcore.errors import TrainingError
from ftcore.training import attention
from ftcore.training.kernels import attention_dropout, byte_dropout

ROWS, HEADS, TOKENS, WIDTH = 3, 2, 7, 4


class Layer(nn.Module):
    is_causal = False


@pytest.fixture
def parts() -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(ROWS, HEADS, TOKENS, WIDTH, requires_grad=True) for _ in range(3)]


def cheap(*args: object, **settings: object) -> torch.Tensor:
    with attention_dropout.used():
        return ALL_ATTENTION_FUNCTIONS["sdpa"](*args, **settings)[0]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_chance_too_small_to_drop_anything_gives_torch_s_own(
    parts: list[torch.Tensor], *, causal: bool, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_dropout, "drawn", lambda values, _: (torch.ones_like(values, dtype=torch.uint8), 1.0))
    layer, mask = Layer(), None
    layer.is_causal = causal
    if masked:
        mask = torch.ones(ROWS, 1, TOKENS, TOKENS, dtype=torch.bool)
        mask[1, ..., -3:] = False
    expected = ALL_ATTENTION_FUNCTIONS["sdpa"](layer, *parts, mask)[0]
    found = cheap(layer, *parts, mask, dropout=0.1)
    assert found.shape == (ROWS, TOKENS, HEADS, WIDTH)
    assert torch.allclose(found, expected, atol=1e-6)
    wanted = torch.autograd.grad(expected.square().sum(), parts)
    for gradient, one in zip(torch.autograd.grad(found.square().sum(), parts), wanted, strict=True):
        assert torch.allclose(gradient, one, atol=1e-5)


def test_shares_are_dropped_and_the_mean_stays(parts: list[torch.Tensor]) -> None:
    query, key, _ = parts
    values = torch.eye(TOKENS)[:, :WIDTH].expand(ROWS, HEADS, TOKENS, WIDTH)
    torch.manual_seed(5)
    with torch.no_grad():
        drawn = torch.stack([cheap(Layer(), query, key, values, None, dropout=0.25) for _ in range(3000)])
        whole = cheap(Layer(), query, key, values, None)
    assert (drawn == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert torch.allclose(drawn.mean(0), whole, atol=0.05)


def test_without_dropout_and_for_grouped_heads_it_is_torch_s_own(parts: list[torch.Tensor]) -> None:
    query, key, value = parts
    layer = Layer()
    layer.num_key_value_groups = 2
    torch.manual_seed(2)
    expected = ALL_ATTENTION_FUNCTIONS["sdpa"](layer, query, key[:, :1], value[:, :1], None, dropout=0.5)[0]
    torch.manual_seed(2)
    assert torch.equal(cheap(layer, query, key[:, :1], value[:, :1], None, dropout=0.5), expected)


def test_afterwards_transformers_has_its_own_again() -> None:
    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    with attention_dropout.used():
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is not before
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is before


def test_eager_is_taken_when_asked_for_and_auto_leaves_what_is_best_here(tiny: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny / "model")
    with attention.chosen(model, "auto", "auto") as taken:
        assert taken == "sdpa"
    with attention.chosen(model, "eager", "auto") as taken:
        assert taken == model.config._attn_implementation == "eager"
    assert model.config._attn_implementation == "sdpa", "its own again"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_flash_attention_without_a_gpu_says_what_it_needs(tiny: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny / "model")
    with (
        pytest.raises(TrainingError, match="needs a GPU"),
        attention.chosen(model, "flash_attention_2", "auto"),
    ):
        pass
