"""Two processes that share a model over gloo train it as one process does, go on after a crash, and leave it whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.forks import together
from tests.integration._together import main


def train(folder: Path, strategy: str, method: str, **more: Any) -> int:
    """Train in two processes, or for ``ddp`` in one; returns the exit code."""
    folder.mkdir(exist_ok=True)
    asked = {"strategy": strategy, "method": method, "out": str(folder), **more}
    code, told = together(main, asked, folder, 1 if strategy == "ddp" else 2)
    assert code == 0 or more.get("vanish"), told[-6000:]
    return code


def made(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights, and what was said."""
    from safetensors.torch import load_file

    said = json.loads((folder / "said.json").read_text(encoding="utf-8"))
    return load_file(folder / "weights.safetensors"), said


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """What one process makes, once for all tests."""
    known: dict[str, Path] = {}

    def find(method: str, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        name = f"{method}-{sorted(more.items())}"
        if name not in known:
            known[name] = tmp_path_factory.mktemp("alone")
            train(known[name], "ddp", method, **more)
        return made(known[name])

    return find


def same(one: dict[str, Any], two: dict[str, Any]) -> None:
    import torch

    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("strategy", "method", "more"),
    [
        ("fsdp2", "full", {"tied": True}),
        ("fsdp2", "lora", {"gradient_checkpointing": True}),
        ("tensor", "full", {"tied": True}),
        ("tensor", "lora", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_two_processes_train_the_model_of_one(
    strategy: str, method: str, more: dict[str, Any], alone: Callable[..., Any], tmp_path: Path
) -> None:
    train(tmp_path, strategy, method, **more)
    (expected, before), (weights, after) = alone(method, **more), made(tmp_path)
    same(expected, weights)
    for name in ("loss", "grad_norm"):
        expected = {step: point[name] for step, point in before["curve"].items()}
        assert {step: point[name] for step, point in after["curve"].items()} == pytest.approx(expected, abs=2e-4)
    assert after["figures"]["validation_loss"] == pytest.approx(before["figures"]["validation_loss"], abs=2e-4)
    assert before["figures"]["validation_loss"] < before["figures"]["validation_loss_before"], "something was learnt"


@pytest.mark.parametrize(("strategy", "method"), [("fsdp2", "full"), ("tensor", "lora")])
def test_it_goes_on_from_pieces_after_a_crash(
    strategy: str, method: str, alone: Callable[..., Any], tmp_path: Path
) -> None:
    more = {"tied": True} if method == "full" else {}
    assert train(tmp_path, strategy, method, vanish=10, **more) != 0
    assert not (tmp_path / "weights.safetensors").exists()
    train(tmp_path, strategy, method, **more)
    weights, said = made(tmp_path)
    assert said["figures"]["resumed"] == 1
    assert min(map(int, said["curve"])) == 9, "from the checkpoint of step 8"
    same(alone(method, **more)[0], weights)


def test_in_16_bits_the_blocks_travel_so_and_the_sums_do_not(tmp_path: Path, alone: Callable[..., Any]) -> None:
    more = {"precision": "bf16"}
    train(tmp_path, "fsdp2", "full", **more)
    said = made(tmp_path)[1]["figures"]
    assert said["train_loss"] == pytest.approx(alone("full", **more)[1]["figures"]["train_loss"], rel=5e-3)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_deepspeed_trains_the_model_of_one_and_goes_on(
    method: str, alone: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("deepspeed", reason="pip install 'ftcore[deepspeed]'")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    assert train(tmp_path, "zero3", method, vanish=10) != 0
    train(tmp_path, "zero3", method)
    weights, said = made(tmp_path)
    assert said["figures"]["resumed"] == 1
    same(alone(method)[0], weights)


def test_what_cannot_be_done_here_is_refused() -> None:
    import torch
    from torch import nn

    from ftcore.errors import TrainingError
    from ftcore.recipe.training_sections import Train
    from ftcore.training.strategies.zero3 import Zero3

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(TrainingError, match="needs CUDA devices"):
        Zero3().spread(nn.Linear(1, 1), lambda model: model, Train())


def test_tensor_needs_a_plan_for_the_architecture() -> None:
    from transformers import BertConfig, BertForSequenceClassification

    from ftcore.errors import TrainingError
    from ftcore.training.strategies import tensor

    small = BertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
    with pytest.raises(TrainingError, match="no plan to divide the layers of BertForSequenceClassification"):
        tensor._rules(BertForSequenceClassification(small), 2)
