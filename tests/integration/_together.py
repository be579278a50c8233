"""One of several processes that train a tiny Llama together, or the only one: what the tests of strategies start.

``main`` leaves ``weights.safetensors``, ``curve.json``.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import DataCollatorForSeq2Seq, LlamaConfig, LlamaForCausalLM, TrainerCallback, set_seed

from ftcore.models.features import Features
from ftcore.recipe.kinds import kind_class
from ftcore.recipe.training_sections import Train
from tests import jobs

CONFIG = LlamaConfig(
    vocab_size=64,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=64,
    max_position_embeddings=64,
    initializer_range=0.2,
    pad_token_id=0,
)
TRAIN = {
    "epochs": 2,
    "batch_size": 8,
    "max_length_tokens": 16,
    "evaluations_per_epoch": 2,
    "learning_rate": 1e-2,
    "precision": "fp32",
    "packing": False,
    "micro_batch_tokens": 40,  # so that processes have different numbers of parts
}


class Vanish(TrainerCallback):
    """Ends all processes at a step, as a machine that is switched off."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            os._exit(9)


def rows(count: int, chance: torch.Generator) -> Features:
    lengths = torch.randint(3, 14, (count,), generator=chance).tolist()
    ids = [torch.randint(1, 64, (length,), generator=chance).tolist() for length in lengths]
    return Features({"input_ids": ids, "labels": ids}, [str(number) for number in range(count)])


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")), pad_token="a")


def main(strategy: str, method: str, out: str, tied: bool = False, vanish: int = 0, **more: Any) -> None:
    """Train and leave what was made in a folder."""
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    train = Train(**TRAIN | more, distributed={"processes": processes, "strategy": strategy})
    how = kind_class("strategies", strategy)()
    config = kind_class("methods", method)(**({"dropout": 0.0} if method == "lora" else {}))
    set_seed(5)
    base = LlamaForCausalLM(LlamaConfig(**CONFIG.to_dict() | {"tie_word_embeddings": tied}))
    words, chance, points = tokenizer(), torch.Generator().manual_seed(1), []
    model, whole = how.spread(base, partial(config.apply, tokenizer=words), train)
    data = {"train": rows(64, chance), "validation": rows(21, chance)}
    callbacks = [Vanish(vanish)] if vanish else []
    folder = Path(out) / "checkpoints"
    job = jobs.made(
        model,
        words,
        data,
        DataCollatorForSeq2Seq(words),
        train,
        folder,
        identity="x",
        track=points.extend,
        callbacks=callbacks,
    )
    figures = how.fit(job)
    made = whole(job.trained.model)
    if not int(os.environ.get("RANK", "0")):
        save_file({name: value.clone() for name, value in made.state_dict().items()}, Path(out) / "weights.safetensors")
        said = {"figures": figures, "curve": {point.step: point.metrics for point in points if "loss" in point.metrics}}
        (Path(out) / "said.json").write_text(json.dumps(said), encoding="utf-8")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
