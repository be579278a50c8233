"""Trainer's settings for a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainingArguments

from ftcore.recipe.training_sections import AUTO
from ftcore.training import precision

if TYPE_CHECKING:
    from pathlib import Path

    from ftcore.recipe.training_sections import Train

SCHEDULES = {"constant": "constant_with_warmup"}
"""What Trainer calls otherwise."""


def made(config: Train, rows: int, folder: Path, **settings: Any) -> TrainingArguments:
    """The settings of the common loop, and further ones."""
    return TrainingArguments(**choices(config, rows, folder), **settings)


def choices(config: Train, rows: int, folder: Path) -> dict[str, Any]:
    """The same by name: checkpoints where the validation loss is measured, every step in the curve."""
    steps_per_epoch = max(1, -(-rows // config.batch_size))
    every = max(1, steps_per_epoch // config.evaluations_per_epoch)
    share = config.batch_size // config.distributed.readers
    gpu = torch.cuda.is_available()
    return {
        "output_dir": str(folder),
        "num_train_epochs": config.epochs,
        "learning_rate": config.learning_rate,
        "per_device_train_batch_size": share,
        "per_device_eval_batch_size": share * 2,
        "warmup_steps": config.warmup,
        "weight_decay": config.weight_decay,
        "optim": "adamw_torch_fused",
        "lr_scheduler_type": SCHEDULES.get(config.learning_rate_schedule, config.learning_rate_schedule),
        "max_grad_norm": config.max_gradient_norm,
        "neftune_noise_alpha": config.neftune_alpha or None,
        "bf16": precision.chosen(config.precision) == "bf16",
        "activation_checkpointing": config.gradient_checkpointing,
        "torch_compile": config.compile,
        "use_liger_kernel": gpu and _liger(config),
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": every,
        "save_steps": every,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        "restore_callback_states_from_checkpoint": True,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": [],
        "seed": config.seed,
        "data_seed": config.seed,
        "use_cpu": not gpu,
        "ddp_backend": "gloo" if config.distributed.total > 1 and not gpu else None,
        "dataloader_pin_memory": gpu,
        "remove_unused_columns": False,
    }


def _liger(config: Train) -> bool:
    """Whether Liger's kernels are there and fit: they need whole weights, and leave no logits to smooth or weigh."""
    from importlib.util import find_spec

    if (
        config.label_smoothing
        or config.class_weights != "none"
        or config.sampling != "natural"
        or config.distributed.strategy not in (AUTO, "ddp")
    ):
        return False
    return find_spec("liger_kernel") is not None
