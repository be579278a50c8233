"""What a forward pass keeps, counted without numbers, is what it keeps with them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from ftcore.planning import activations
from ftcore.training.kernels import attention_dropout, byte_dropout, low_rank
from ftcore.training.methods.dora import Dora
from ftcore.training.methods.full import Full
from ftcore.training.methods.lora import Lora

LLAMA = LlamaConfig(
    vocab_size=99,
    hidden_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=96,
)
BERT = BertConfig(vocab_size=99, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=80)
TOKENS = 47


def built(kind: type, config: Any, method: Any) -> Any:
    adapted = method.apply(kind(config), None)
    byte_dropout.use(adapted)
    return adapted.train()


def really_kept(model: Any, rows: int = 3) -> int:
    own = {id(weight) for weight in model.parameters()}
    found: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor if tensor._base is None else tensor._base) not in own:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with low_rank.fused(model), attention_dropout.used(), saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = model(input_ids=torch.randint(1, 99, (rows, TOKENS)))
    del outputs
    return sum(storage.nbytes() for storage in found.values())


@pytest.mark.parametrize("method", [Full(), Lora(), Dora()], ids=["full", "lora", "dora"])
@pytest.mark.parametrize(("kind", "config"), [(LlamaForCausalLM, LLAMA), (BertForSequenceClassification, BERT)])
def test_the_count_is_what_a_real_pass_keeps(kind: type, config: Any, method: Any) -> None:
    with torch.device("meta"):
        skeleton = built(kind, config, method)
    kept = activations.kept(skeleton, "cpu", half=False)
    assert kept is not None
    counted = kept.once + 3 * TOKENS * (kept.by_token + TOKENS * kept.by_pair)
    assert counted == pytest.approx(really_kept(built(kind, config, method)), rel=0.02)


def test_a_cpu_keeps_attention_as_a_matrix_where_it_has_dropout_and_a_gpu_does_not() -> None:
    with torch.device("meta"):
        model = built(BertForSequenceClassification, BERT, Full())
    assert activations.kept(model, "cpu", half=False).by_pair > 0
    assert activations.kept(model, "cuda", half=False).by_pair == 0
    with torch.device("meta"):
        assert activations.kept(built(LlamaForCausalLM, LLAMA, Full()), "cpu", half=False).by_pair == 0


def test_16_bits_keep_about_half() -> None:
    with torch.device("meta"):
        model = built(LlamaForCausalLM, LLAMA, Full())
    whole, half = (activations.kept(model, "cuda", half=half).by_token for half in (False, True))
    assert 0.45 * whole < half < 0.75 * whole


def test_encoder_and_decoder_are_both_counted() -> None:
    small = T5Config(vocab_size=99, d_model=32, num_layers=1, num_heads=2, d_ff=64, d_kv=16)
    with torch.device("meta"):
        model = built(T5ForConditionalGeneration, small, Full())
    assert activations.kept(model, "cpu", half=False).by_token > 2 * 4 * 32


def test_a_model_that_asks_for_numbers_is_left_to_the_formula(caplog: pytest.LogCaptureFixture) -> None:
    class Asking(LlamaForCausalLM):
        def forward(self, input_ids: torch.Tensor) -> Any:
            return super().forward(input_ids) if input_ids.sum().item() else None

    with torch.device("meta"):
        model = Asking(LLAMA)
    with caplog.at_level("INFO"):
        assert activations.kept(model, "cpu", half=False) is None
    assert "activations are estimated by a formula, since Asking cannot be counted" in caplog.text
