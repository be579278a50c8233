"""LoRA instruction tuning of an 8B model on one GPU: ours packed beside TRL's SFTTrainer packed, same rows and seed.

The model has the shape of Llama 3 8B and random weights in bfloat16, sequences have 2,048 tokens. Model operations are
those that LoRA needs, whoever spends more (A. Chowdhery et al. 2022, *PaLM*, appendix B): 4 for each frozen weight and
token, since frozen weights need no gradient of their own, 6 for each learnt one, and for attention 12 · layers ·
width · tokens that stand before it in its row.
"""

from __future__ import annotations

import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests import jobs
from tests.bench._measure import Result, Skipped, machine, side


@dataclass(frozen=True)
class Setup:
    """What is trained on; the defaults are the benchmark, a test takes a tiny one."""

    vocabulary: int = 128_256
    width: int = 4096
    layers: int = 32
    heads: int = 32
    key_heads: int = 8
    inner: int = 14_336
    length: int = 2048
    batch: int = 8
    """Sequences of an optimiser step."""
    part: int = 4
    """Sequences that are calculated at once."""
    steps: int = 12
    warm: int = 4
    """Steps before the clock starts."""
    rank: int = 16


class Trained(NamedTuple):
    """What one side did."""

    tokens_per_s: float
    """Of rows, without padding."""
    peak_bytes: int
    loss: float


def run() -> Result:
    """Real tokens a second after some steps to warm up, peak memory, and the share of the GPU's products that it is.

    Raises:
        Skipped: there is no CUDA device.
    """
    import torch

    if not torch.cuda.is_available():
        raise Skipped("it needs a CUDA device with 100 GiB, and there is none")
    setup = Setup()
    ours, _ = side(train, "ours", setup)
    theirs, _ = side(train, "trl", setup)
    allowed, _ = side(products_per_s)
    cost = operations(setup, rows(setup))
    told = [f"{one.tokens_per_s * cost / allowed:.0%} of {allowed / 1e12:.0f} TFLOP/s" for one in (ours, theirs)]
    note = (
        f"TRL's SFTTrainer, packed, with its defaults; {cost / 1e9:.1f} GFLOP a token, ours {told[0]} of measured "
        f"products, baseline {told[1]}; peak {ours.peak_bytes / 2**30:.1f} GiB ours, {theirs.peak_bytes / 2**30:.1f} "
        f"baseline; loss {ours.loss:.3f} ours, {theirs.loss:.3f} baseline; {torch.cuda.get_device_name()}"
    )
    ratio = ours.tokens_per_s / theirs.tokens_per_s
    unit = "tokens/s, more is better"
    speeds = ours.tokens_per_s, theirs.tokens_per_s
    return Result("gpu_sft", unit, *speeds, ratio, setup.steps * setup.batch, ours.peak_bytes, machine(), note)


def train(who: str, setup: Setup) -> Trained:
    """Train as ``ours`` or as ``trl``, on the GPU where there is one."""
    import torch
    from transformers import set_seed

    set_seed(17)
    clock = _clock(setup)
    with tempfile.TemporaryDirectory() as folder:
        loss = (_ours if who == "ours" else _trl)(setup, clock, Path(folder))
    seconds = clock.at[-1] - clock.at[setup.warm - 1]
    tokens = sum(map(len, rows(setup))) * (len(clock.at) - setup.warm) / len(clock.at)
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return Trained(tokens / seconds, peak, loss)


def operations(setup: Setup, data: list[list[int]]) -> float:
    """Model operations of a token, as the module says."""
    key_width = setup.width // setup.heads * setup.key_heads
    shapes = [(setup.width, setup.width)] * 2 + [(setup.width, key_width)] * 2 + [(setup.width, setup.inner)] * 3
    frozen = setup.layers * sum(a * b for a, b in shapes) + setup.width * setup.vocabulary
    learnt = setup.layers * setup.rank * sum(a + b for a, b in shapes)
    before = sum(len(row) ** 2 for row in data) / sum(map(len, data)) / 2
    return 4.0 * frozen + 6.0 * learnt + 12.0 * setup.layers * setup.width * before


def products_per_s(size: int = 8192, times: int = 50) -> float:
    """Measured: operations a second of a product of bfloat16 matrices."""
    import torch

    one = torch.randn(size, size, device="cuda", dtype=torch.bfloat16)
    for _ in range(5):
        one @ one
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(times):
        one @ one
    torch.cuda.synchronize()
    return times * 2 * size**3 / (time.perf_counter() - started)


def rows(setup: Setup) -> list[list[int]]:
    """Rows whose lengths vary as those of conversations do, enough to fill every sequence of all steps."""
    chance = random.Random(3)
    left, found = setup.steps * setup.batch * setup.length, []
    while left > 0:
        length = min(setup.length, max(8, round(chance.lognormvariate(0, 1) * setup.length / 6)), max(left, 8))
        found.append([chance.randrange(5, setup.vocabulary) for _ in range(length)])
        left -= length
    return found


def _model(setup: Setup) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=setup.vocabulary,
        hidden_size=setup.width,
        num_hidden_layers=setup.layers,
        num_attention_heads=setup.heads,
        num_key_value_heads=setup.key_heads,
        intermediate_size=setup.inner,
        max_position_embeddings=setup.length,
        use_cache=False,
    )
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        return LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    known = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=known, pad_token="<pad>", eos_token="<eos>")


def _clock(setup: Setup) -> Any:
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """When each step was done; after the last one wanted it ends the training."""

        def __init__(self) -> None:
            self.at: list[float] = []

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.at.append(time.perf_counter())
            control.should_training_stop = control.should_training_stop or len(self.at) >= setup.steps

    return Clock()


def _ours(setup: Setup, clock: Any, folder: Path) -> float:
    from ftcore.models.features import Features
    from ftcore.recipe.training_sections import Train
    from ftcore.training import loop
    from ftcore.training.methods import lora

    words, data = _tokenizer(), rows(setup)
    model = lora.Lora(rank=setup.rank, alpha=2 * setup.rank, dropout=0).apply(_model(setup), words)
    encoded = Features({"input_ids": data, "labels": data}, [str(n) for n in range(len(data))], packable=True)
    few = Features({"input_ids": data[:2], "labels": data[:2]}, ["a", "b"], packable=True)
    config = Train(
        epochs=1,
        batch_size=setup.batch,
        max_length_tokens=setup.length,
        micro_batch_tokens=setup.part * setup.length,
        evaluations_per_epoch=1,
        precision="bf16",
    )
    job = jobs.made(
        model, words, {"train": encoded, "validation": few}, lambda batch: batch, config, folder, callbacks=[clock]
    )
    return loop.fit(job)["train_loss"]


def _trl(setup: Setup, clock: Any, folder: Path) -> float:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(
        output_dir=str(folder),
        packing=True,
        max_length=setup.length,
        per_device_train_batch_size=setup.part,
        gradient_accumulation_steps=setup.batch // setup.part,
        num_train_epochs=1,
        learning_rate=5e-4,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = SFTTrainer(
        model=_model(setup),
        args=arguments,
        train_dataset=Dataset.from_dict({"input_ids": rows(setup)}),
        processing_class=_tokenizer(),
        peft_config=LoraConfig(
            r=setup.rank, lora_alpha=2 * setup.rank, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[clock],
    )
    return float(trainer.train().training_loss)
