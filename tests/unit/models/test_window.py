"""The window of a model by its files, and what a limit cuts."""

from __future__ import annotations

from typing import Any

import pytest

from ftcore.models import window


@pytest.mark.parametrize(
    ("config", "tokenizer", "most"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, {"model_max_length": 256}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, {}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, {}, 512),
        ({"model_type": "gpt2", "n_positions": 1024}, {}, 1024),
        ({"model_type": "llama", "max_position_embeddings": 2048, "rope_theta": 10_000.0}, {}, None),
        ({"model_type": "llama", "max_position_embeddings": 2048, "rope_parameters": {"rope_theta": 1e4}}, {}, None),
        ({"model_type": "bloom", "seq_length": 2048}, {}, None),
        ({"model_type": "t5", "n_positions": 512}, {"model_max_length": 512}, None),
        ({"model_type": "deberta-v2", "max_position_embeddings": 512, "position_biased_input": False}, {}, None),
        ({"model_type": "deberta", "max_position_embeddings": 512}, {}, 512),
        ({"model_type": "gemma3", "text_config": {"model_type": "x", "max_position_embeddings": 64}}, {}, 64),
        ({"model_type": "new"}, {"model_max_length": 1024}, 1024),
        ({"model_type": "new"}, {"model_max_length": 1000000000000000019884624838656}, None),
        ({}, None, None),
    ],
)
def test_the_window_is_that_of_the_model(
    config: dict[str, Any], tokenizer: dict[str, Any] | None, most: int | None
) -> None:
    assert window.of(config, tokenizer) == most


def test_what_a_limit_cuts_and_what_would_cut_one_percent() -> None:
    lengths = list(range(1, 1001))
    found = window.cuts(lengths, 500, 2048)
    assert found["cut"] == 0.5
    assert sum(length > found["cuts_1_percent"] for length in lengths) <= 10
    assert found["proposed"] == found["cuts_1_percent"]
    assert window.cuts(lengths, 500, 512)["proposed"] == 512
    assert f"train.max_length_tokens: {found['proposed']}" in window.words(found)
    assert "cuts 1 %" not in window.words(window.cuts(lengths, 1000, None))
    assert window.cuts([], 128, None)["cut"] == 0


def test_roberta_reads_what_it_is_said_to_read() -> None:
    """One token more than the window is an index that the table of positions does not have."""
    import torch
    from transformers import RobertaConfig, RobertaForSequenceClassification

    config = RobertaConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=18, pad_token_id=1,
    )  # fmt: skip
    model = RobertaForSequenceClassification(config).eval()
    most = window.of(config.to_dict())
    assert most == 16
    model(input_ids=torch.full((1, most), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, most + 1), 5))
