"""The training loop: transformers' Trainer, set up so that no work is wasted on padding and every step is tracked."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from ftcore.context import log
from ftcore.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn
    from transformers import PreTrainedTokenizerBase, TrainerControl, TrainerState

    from ftcore.sections import Train
    from ftcore.training.features import Collator, Features


class Reporter(TrainerCallback):  # type: ignore[misc] # transformers is skipped by mypy
    """Hands metrics to the tracker and shows people how far it is."""

    def __init__(self, track: Callable[[dict[str, float], int], None], tokens_per_epoch: int) -> None:
        """Call ``track(metrics, step)`` for everything the trainer logs."""
        self.track = track
        self.tokens_per_epoch = tokens_per_epoch
        self.shown = ExitStack()
        self.started = 0.0
        self.first_step = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Start the clock; a resumed run starts at its checkpoint's step."""
        self.started, self.first_step = time.monotonic(), state.global_step
        self.advance = self.shown.enter_context(progress("training", state.max_steps))
        self.advance(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Move the bar."""
        self.advance(1)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: object,
    ) -> None:
        """Track the numbers, with the speed so far, and put the loss beside the bar."""
        numbers = {key: float(value) for key, value in (logs or {}).items() if isinstance(value, int | float)}
        seconds, done = time.monotonic() - self.started, state.global_step - self.first_step
        if "loss" in numbers and done:
            numbers["tokens_per_s"] = self.tokens_per_epoch * state.num_train_epochs / state.max_steps * done / seconds
            self.advance(0, f"loss {numbers['loss']:.3f}, {numbers['tokens_per_s']:.0f} tokens/s")
        if "eval_loss" in numbers:
            log.info("step %d/%d: validation loss %.4f", state.global_step, state.max_steps, numbers["eval_loss"])
        self.track(numbers, state.global_step)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Take the bar away."""
        self.shown.close()


def arguments(config: Train, rows: int, folder: Path) -> TrainingArguments:
    """Trainer's settings for a recipe: length-grouped batches, checkpoints where the validation loss is measured."""
    steps_per_epoch = max(1, -(-rows // config.batch_size))
    every = max(1, steps_per_epoch // config.evaluations_per_epoch)
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size * 2,
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        train_sampling_strategy="group_by_length",
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=every,
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=max(1, min(10, every)),
        disable_tqdm=True,
        report_to=[],
        seed=config.seed,
        data_seed=config.seed,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )


def train(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    rows: dict[str, Features],
    collate: Collator,
    config: Train,
    folder: Path,
    track: Callable[[dict[str, float], int], None],
) -> dict[str, float]:
    """Train in place, from the last checkpoint in ``folder`` where there is one; keep the best weights.

    Args:
        model: what to train.
        tokenizer: saved with the checkpoints.
        rows: ``train`` and ``validation``, as the task encodes them.
        collate: the task's collator.
        config: the recipe's ``train``.
        folder: local folder of the checkpoints.
        track: called with metrics and step.

    Returns:
        The last figures: steps, losses, seconds, rows and real tokens per second.
    """
    trainer = Trainer(
        model=model,
        args=arguments(config, len(rows["train"]), folder),
        train_dataset=rows["train"],  # type: ignore[arg-type]
        eval_dataset=rows["validation"],  # type: ignore[arg-type]
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[EarlyStoppingCallback(config.patience), Reporter(track, rows["train"].tokens)],
    )
    trainer.remove_callback(PrinterCallback)
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if last:
        log.info("resuming from %s", Path(last).name)
    result = trainer.train(resume_from_checkpoint=last)
    epochs = trainer.state.epoch or 0.0
    seconds = result.metrics["train_runtime"]
    return {
        "steps": trainer.state.global_step,
        "epochs": round(epochs, 3),
        "train_loss": round(result.training_loss, 5),
        "validation_loss": round(trainer.state.best_metric or float("nan"), 5),
        "seconds": round(seconds, 2),
        "rows_per_s": round(len(rows["train"]) * epochs / seconds, 2),
        "tokens_per_s": round(rows["train"].tokens * epochs / seconds, 1),
        "resumed": float(last is not None),
    }
