"""What needs a GPU, on one; and the code of its benchmark on a tiny model, wherever it runs."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
TINY = {
    "vocabulary": 96,
    "width": 32,
    "layers": 2,
    "heads": 4,
    "key_heads": 2,
    "inner": 48,
    "length": 64,
    "batch": 4,
    "part": 2,
    "steps": 6,
    "warm": 2,
    "rank": 4,
}


@pytest.mark.parametrize("who", ["ours", "trl"])
def test_the_benchmarks_code_trains_a_tiny_model(who: str) -> None:
    from tests.bench import gpu_sft

    warnings.simplefilter("ignore")
    trained = gpu_sft.train(who, gpu_sft.Setup(**TINY))
    assert trained.tokens_per_s > 0
    assert 4 < trained.loss < 5.5, "random words of 96: about log 96"


def test_its_operations_are_those_of_the_shape() -> None:
    from tests.bench import gpu_sft

    eight = gpu_sft.Setup(steps=1, batch=1)
    weights = 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336) + 4096 * 128256
    assert weights == 7_504_658_432, "8.03 billion less those that are looked up and the norms"
    data = [[0] * 2048]
    attention = 12 * 32 * 4096 * 1024
    learnt = 32 * 16 * (2 * 8192 + 2 * 5120 + 3 * 18432)
    assert gpu_sft.operations(eight, data) == 4 * weights + 6 * learnt + attention


def test_without_a_gpu_the_bench_says_so_and_goes_on() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    command = [sys.executable, "-m", "tests.bench", "gpu_sft"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "gpu_sft was left out: it needs a CUDA device" in done.stdout


@pytest.mark.gpu
@pytest.mark.parametrize("more", [{}, {"compile": True}, {"gradient_checkpointing": True}], ids=str)
def test_a_gpu_trains_in_16_bits_what_a_processor_trains(more: dict[str, Any], tmp_path: Path) -> None:
    from tests.integration import _together

    _together.main("ddp", "lora", str(tmp_path), precision="bf16", **more)
    import json

    figures = json.loads((tmp_path / "said.json").read_text(encoding="utf-8"))["figures"]
    assert figures["validation_loss"] < figures["validation_loss_before"]


@pytest.mark.gpu
@pytest.mark.parametrize("init", ["default", "loftq"])
def test_qlora_trains_over_four_bits_and_its_merge_agrees(init: str, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    from ftcore.training.methods import qlora
    from tests.integration import _together

    words = _together.tokenizer()
    model: Any = qlora.Qlora(rank=4, init=init).apply(_together.LlamaForCausalLM(_together.CONFIG), words)
    qlora.Qlora(rank=4, init=init).save(model, words, tmp_path)
    assert (tmp_path / "model" / "model.safetensors").is_file()
