"""A base model that is damaged or not whole is refused, whatever transformers would make of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, LlamaConfig, LlamaForCausalLM

from ftcore.errors import TrainingError
from ftcore.models import loading

Change = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


@pytest.fixture
def changed(tiny: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """Copy the tiny base model with other weights."""

    def make(change: Change) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(tiny / "model", folder)
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})
        return folder

    return make


def test_a_fresh_head_is_no_loss_and_numbers_are_32_bits(changed: Callable[[Change], Path]) -> None:
    folder = changed(lambda weights: {n: w.bfloat16() for n, w in weights.items() if "classifier" not in n})
    made = loading.pretrained(AutoModelForSequenceClassification, folder, num_labels=3)
    assert made.classifier.out_features == 3
    assert {weight.dtype for weight in made.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: {n: w for n, w in weights.items() if "layer.0." not in n},
        lambda weights: {n: w[:-1].clone() if "word_embeddings" in n else w for n, w in weights.items()},
    ],
    ids=["a layer is missing", "too few words"],
)
def test_weights_of_the_body_that_would_start_at_random_are_named(
    changed: Callable[[Change], Path], change: Change
) -> None:
    folder = changed(change)
    with pytest.raises(TrainingError, match=r"lacks \d+ of its weights, or .*(layer.0.|word_embeddings)"):
        loading.pretrained(AutoModelForSequenceClassification, folder)


def test_a_language_model_needs_its_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = LlamaConfig(vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2)
    LlamaForCausalLM(small).save_pretrained(tmp_path)
    assert loading.pretrained(AutoModelForCausalLM, tmp_path, headless=False).config.vocab_size == 50
    weights = load_file(tmp_path / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(TrainingError, match=r"lacks 1 of its weights.*lm_head"):
        loading.pretrained(AutoModelForCausalLM, tmp_path, headless=False)


def test_a_file_that_was_cut_is_an_error_with_its_place(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny / "model", folder)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    words = loading.tokenizer(folder)
    with pytest.raises(TrainingError, match="cannot be loaded"):
        loading.model(lambda: loading.pretrained(AutoModelForSequenceClassification, folder), folder, words)


def test_a_fresh_head_prints_no_table_of_missing_weights(
    changed: Callable[[Change], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = changed(lambda weights: {name: one for name, one in weights.items() if "classifier" not in name})
    loading.pretrained(AutoModelForSequenceClassification, folder)
    said = capfd.readouterr()
    assert "LOAD REPORT" not in said.out + said.err
    assert "MISSING" not in said.out + said.err


@pytest.mark.parametrize(
    ("out", "rows", "more"),
    [
        (0, 0, False),
        (4, 16, False),
        (8, 16, False),
        (9, 16, True),
        (1, 1, False),
        (200, 1000, False),
        (239, 1000, True),
    ],
)
def test_a_share_is_too_large_only_where_the_rows_can_tell(out: int, rows: int, more: bool) -> None:
    assert loading.surely_more(out, rows, 0.2) is more
    assert loading.surely_more(rows, rows, 1.0) is False
    assert loading.surely_more(out, rows, 0.0) is (out > 0)
