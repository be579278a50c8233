"""A LoRA layer calculated in one step is the layer that peft has, forward and backward."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoModelForSequenceClassification

from ftcore.training.kernels import byte_dropout, low_rank

IDS = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 9, 10, 3]])


def adapted(tiny: Path, chance: float = 0.0, **settings: object) -> nn.Module:
    torch.manual_seed(2)
    model = AutoModelForSequenceClassification.from_pretrained(tiny / "model", dtype=torch.float32)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    config = LoraConfig(
        r=4, lora_dropout=chance, target_modules=["query", "value", "dense"], modules_to_save=["classifier"], **settings
    )
    model = get_peft_model(model, config).train()
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # zero at first: nothing would come through
            nn.init.normal_(weight, std=0.1)
    return model


def gradients(model: nn.Module, *, half: bool = False) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.manual_seed(7)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        loss = model(input_ids=IDS, labels=torch.tensor([0, 1])).loss
    loss.backward()
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}
    return {"loss": loss.detach(), **found}


def test_loss_and_gradients_are_those_of_peft(tiny: Path) -> None:
    model = adapted(tiny)
    expected = gradients(model)
    with low_rank.fused(model):
        found = gradients(model)
    assert any("lora_A" in name for name in found)
    for name, value in expected.items():
        assert found[name].dtype == torch.float32
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-6), name


def test_in_bfloat16_but_for_rounding(tiny: Path) -> None:
    model = adapted(tiny)
    expected = gradients(model, half=True)
    with low_rank.fused(model):
        found = gradients(model, half=True)
    for name, value in expected.items():
        assert found[name].dtype == torch.float32
        assert torch.allclose(found[name], value, rtol=0.05, atol=0.03 * value.abs().max()), name


def test_dropout_drops_the_same_in_both_directions() -> None:
    """Checked against differences of the function itself, with the same draw each time."""
    torch.manual_seed(3)
    weight, bias = torch.randn(5, 8, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    values, down, up = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((6, 8), (2, 8), (5, 2))
    )

    def said(values: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(4)
        return low_rank._Layer.apply(values, weight, bias, down, up, 1.5, 0.5)

    assert torch.autograd.gradcheck(said, (values, down, up))
    torch.manual_seed(4)
    kept, factor = byte_dropout.drawn(values.detach(), 0.5)
    plain = values @ weight.T + bias + 1.5 * (values * kept * factor) @ down.T @ up.T
    assert 0 < kept.sum() < kept.numel()
    assert torch.allclose(said(values, down, up), plain)


def test_less_is_kept_for_the_backward_pass(tiny: Path) -> None:
    def kept(model: nn.Module) -> int:
        found: dict[int, int] = {}
        own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                found[storage.data_ptr()] = storage.nbytes()
            return tensor

        ids = torch.randint(5, 20, (16, 24))
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model(input_ids=ids, labels=torch.zeros(16, dtype=torch.long)).loss
        del loss
        return sum(found.values())

    model = adapted(tiny, chance=0.1)
    byte_dropout.use(model)
    before = kept(model)
    with low_rank.fused(model):
        assert kept(model) < 0.9 * before


@pytest.mark.parametrize("kind", ["dora", "bias", "two adapters", "switched off", "judging"])
def test_what_is_not_one_plain_update_is_left_to_peft(tiny: Path, kind: str) -> None:
    settings = {"dora": {"use_dora": True}, "bias": {"lora_bias": True, "bias": "none"}}.get(kind, {})
    model = adapted(tiny, **settings)
    if kind == "two adapters":
        model.add_adapter("second", copy.deepcopy(model.peft_config["default"]))
        for module in model.modules():
            if hasattr(module, "lora_A"):
                module.set_adapter(["default", "second"])
    if kind == "switched off":
        model.base_model.disable_adapter_layers()

    def said() -> torch.Tensor:
        with torch.set_grad_enabled(kind != "judging"):
            return model(input_ids=IDS).logits.detach()

    expected = said()
    with low_rank.fused(model):
        assert torch.equal(said(), expected)


def test_the_layers_are_peft_s_again_however_it_ends(tiny: Path) -> None:
    model = adapted(tiny)

    def train() -> None:
        with low_rank.fused(model):
            assert any("forward" in vars(module) for module in model.modules())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_layer_whose_weight_learns_as_well_is_left_alone(tiny: Path) -> None:
    model = adapted(tiny)
    for module in model.modules():
        if hasattr(module, "base_layer"):
            module.base_layer.weight.requires_grad = True
    with low_rank.fused(model):
        assert not any("forward" in vars(module) for module in model.modules() if hasattr(module, "lora_A"))
