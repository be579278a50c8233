"""Packed rows are learnt as if each stood alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertTokenizerFast, LlamaConfig, LlamaForCausalLM

from ftcore.models.features import IGNORED, Features
from ftcore.recipe.training_sections import Train
from ftcore.training import batches, loop
from tests import jobs


def rows(count: int) -> Features:
    chance = torch.Generator().manual_seed(2)
    ids = [torch.randint(5, 20, (3 + n % 7,), generator=chance).tolist() for n in range(count)]
    labels = [[IGNORED, IGNORED, *one[2:]] for one in ids]
    return Features({"input_ids": ids, "labels": labels}, [f"r{n}" for n in range(count)], packable=True)


def model() -> LlamaForCausalLM:
    torch.manual_seed(4)
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=24, max_position_embeddings=64, pad_token_id=0, **size))


def collate(some: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    longest = max(len(row["input_ids"]) for row in some)
    filling = {"input_ids": 0, "labels": IGNORED}
    batch = {
        name: torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in some])
        for name, value in filling.items()
    }
    lengths = torch.tensor([len(row["input_ids"]) for row in some])
    return {**batch, "attention_mask": (torch.arange(longest) < lengths[:, None]).long()}


def test_a_packed_row_sees_nothing_of_its_neighbours() -> None:
    features, llama = rows(9), model().eval()
    packed = batches.Packed(features, 16)
    assert len(packed) < 6
    alone = [llama(**collate([features[n]])).logits[0] for n in range(9)]
    batch = batches.collate_packed([packed[place] for place in range(len(packed))])
    together = llama(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
    for place, one in enumerate(packed.bins):
        start = 0
        for number in one:
            end = start + features.lengths[number]
            assert torch.allclose(together[place, start:end], alone[number], atol=1e-5)
            start = end


@pytest.mark.parametrize("budget", [None, 20])
def test_a_step_of_packed_rows_is_the_step_of_the_rows(tmp_path: Path, tiny: Path, budget: int | None) -> None:
    features, trained = rows(12), []
    for packing in (True, False):
        llama = model()
        # All rows in one batch and one step, so that both ways learn from the same rows.
        config = Train(
            epochs=1, batch_size=12, max_length_tokens=16, precision="fp32", packing=packing, micro_batch_tokens=budget
        )
        data = {"train": features, "validation": features}
        tokenizer = BertTokenizerFast.from_pretrained(tiny / "model")
        figures = loop.fit(jobs.made(llama, tokenizer, data, collate, config, tmp_path / f"{packing}"))
        assert figures["steps"] == 1
        trained.append((figures["train_loss"], torch.cat([p.detach().flatten() for p in llama.parameters()])))
    assert trained[0][0] == pytest.approx(trained[1][0], abs=1e-5)
    assert torch.allclose(trained[0][1], trained[1][1], atol=1e-4)
