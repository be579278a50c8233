"""As fsdp2, by DeepSpeed: each process keeps a piece of every weight and gathers layers when they are needed.

S. Rajbhandari et al. (2020), *ZeRO: Memory Optimizations Toward Training Trillion Parameter Models*, its third stage.
It needs CUDA and the package deepspeed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftcore.errors import MissingExtraError, TrainingError
from ftcore.training.strategies._sharded import Sharded

if TYPE_CHECKING:
    from torch import nn

    from ftcore.recipe.training_sections import Train
    from ftcore.training.job import Job


class Zero3(Sharded):
    """Pieces of every weight, by DeepSpeed."""

    DEVICES: ClassVar[tuple[str, ...]] = ("cuda",) if os.environ.get("DS_ACCELERATOR") != "cpu" else ("cuda", "cpu")
    """On a CPU by DeepSpeed's own way to try it."""

    kind: Literal["zero3"] = "zero3"

    def spread(
        self, model: nn.Module, build: Callable[[nn.Module], nn.Module], train: Train
    ) -> tuple[nn.Module, Callable[[nn.Module], nn.Module]]:
        """What the method made; DeepSpeed cuts it when the training starts.

        Raises:
            TrainingError: there is no CUDA device.
            MissingExtraError: deepspeed is not installed.
        """
        import torch

        from ftcore.training import pieces

        if not torch.cuda.is_available() and os.environ.get("DS_ACCELERATOR") != "cpu":  # DeepSpeed's own way to try it
            raise TrainingError(
                "zero3 needs CUDA devices, and this machine has none",
                hint="train.distributed.strategy: fsdp2 does the same on any device",
            )
        if find_spec("deepspeed") is None:
            raise MissingExtraError("deepspeed is not installed", hint="pip install 'ftcore[deepspeed]', or take fsdp2")
        made = build(model)
        return made, partial(_whole, pieces.emptied(made))

    def fit(self, job: Job) -> dict[str, float]:
        """Train in the common loop, all processes in step."""
        from ftcore.training import loop, zero

        return loop.fit(job, zero.looped(config(job.run.config)))


def _whole(empty: nn.Module, trained: nn.Module) -> nn.Module:
    """Gather weight by weight, so that no GPU holds more than one of them whole."""
    import deepspeed
    from torch import distributed

    from ftcore.training import pieces

    weights: dict[str, Any] = {}
    for name, weight in trained.named_parameters():
        with deepspeed.zero.GatheredParameters([weight]):
            if not distributed.get_rank():
                weights[name] = weight.detach().cpu().clone()
    return pieces.filled(empty, weights) if weights else trained


def config(train: Train) -> dict[str, Any]:
    """DeepSpeed's settings for a recipe; the optimiser, its schedule and the parts of a batch stay with the loop."""
    from ftcore.training import precision

    return {
        "train_micro_batch_size_per_gpu": train.batch_size // train.distributed.readers,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": train.max_gradient_norm,
        "torch_autocast": {"enabled": precision.chosen(train.precision) == "bf16", "dtype": "bfloat16"},
        "zero_optimization": {"stage": 3, "overlap_comm": True, "contiguous_gradients": True},
        "zero_allow_untested_optimizer": True,  # AdamW, but fused by torch
    }
