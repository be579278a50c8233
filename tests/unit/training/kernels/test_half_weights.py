"""bfloat16 is converted to once, and nobody can tell from the weights that are left."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForSequenceClassification, LlamaConfig, LlamaForCausalLM

from ftcore.training.kernels import half_weights

IDS = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 9, 10, 3]])


@pytest.fixture
def adapted(tiny: Path) -> nn.Module:
    torch.manual_seed(2)
    model = AutoModelForSequenceClassification.from_pretrained(tiny / "model")
    config = LoraConfig(r=2, target_modules=["query", "key", "value", "dense"], modules_to_save=["classifier"])
    model = get_peft_model(model, config).eval()
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # zero at first: nothing would come through
            nn.init.normal_(weight, std=0.1)
    return model


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        model(input_ids=IDS, labels=torch.tensor([0, 1])).loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}


def test_gradients_are_those_of_autocast_but_for_rounding(adapted: nn.Module) -> None:
    expected = gradients(adapted)
    with half_weights.converted_once(adapted, "bf16"):
        found = gradients(adapted)
    assert found.keys() == expected.keys()
    assert any("lora_A" in name for name in found)
    for name, gradient in expected.items():
        assert found[name].dtype == torch.float32
        assert torch.allclose(found[name], gradient, rtol=0.05, atol=0.02 * gradient.abs().max())


def test_the_weights_come_back_as_they_were_however_it_ends(adapted: nn.Module) -> None:
    before = {name: (weight, weight.detach().clone()) for name, weight in adapted.named_parameters()}
    kinds: dict[bool, set[torch.dtype]] = {}

    def train() -> None:
        with half_weights.converted_once(adapted, "bf16"):
            for name, weight in adapted.named_parameters():
                if weight.requires_grad or ".base_layer." in name:
                    kinds.setdefault(weight.requires_grad, set()).add(weight.dtype)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert kinds == {True: {torch.float32}, False: {torch.bfloat16}}
    for name, weight in adapted.named_parameters():
        assert weight is before[name][0]
        assert torch.equal(weight, before[name][1])
    assert not any(module._forward_pre_hooks for module in adapted.modules())


def test_query_key_and_value_read_one_rounding(adapted: nn.Module) -> None:
    attention = adapted.base_model.model.bert.encoder.layer[0].attention.self
    seen = []
    with half_weights.converted_once(adapted, "bf16"):
        for layer in (attention.query, attention.key, attention.value):
            layer.base_layer.register_forward_pre_hook(lambda _, read: seen.append(read[0]))
        gradients(adapted)
    assert seen[0].dtype == torch.bfloat16
    assert seen[0] is seen[1] is seen[2]


def test_float32_is_left_alone(adapted: nn.Module) -> None:
    expected = gradients(adapted)
    with half_weights.converted_once(adapted, "fp32"):
        assert all(weight.dtype == torch.float32 for weight in adapted.parameters())
        assert all(torch.equal(value, expected[name]) for name, value in gradients(adapted).items())


def test_a_weight_that_is_looked_up_as_well_stays_where_it_is_looked_up() -> None:
    torch.manual_seed(4)
    shape = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    model = get_peft_model(LlamaForCausalLM(shape), LoraConfig(r=2, target_modules=["q_proj"]))
    plain = model.get_base_model()
    embedding = plain.get_input_embeddings().weight
    with half_weights.converted_once(model, "bf16"):
        assert plain.get_input_embeddings().weight is embedding
        assert embedding.dtype == torch.float32
        assert plain.lm_head.weight.dtype == torch.bfloat16
    assert plain.lm_head.weight is embedding


@pytest.mark.gpu
def test_a_gpu_holds_frozen_weights_in_16_bits_and_the_model_comes_back(adapted: nn.Module) -> None:
    expected = {name: weight.detach().clone() for name, weight in adapted.named_parameters()}
    with half_weights.converted_once(adapted, "bf16"):
        adapted.to("cuda")
        frozen = [w for n, w in adapted.named_parameters() if ".base_layer.weight" in n]
        assert {(weight.dtype, weight.device.type) for weight in frozen} == {(torch.bfloat16, "cuda")}
    for name, weight in adapted.named_parameters():
        assert weight.device.type == "cpu"
        assert torch.equal(weight, expected[name])
