"""The training loop: transformers' Trainer, set up so that nothing is wasted and nothing is lost."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerState
from transformers.trainer_utils import EvalLoopOutput

from ftcore.errors import TrainingError
from ftcore.models.features import IGNORED
from ftcore.store import store
from ftcore.training import (
    arguments,
    attention,
    balance,
    batches,
    checkpoints,
    memory,
    smoothing,
)
from ftcore.training.callbacks import CheckpointTimer, Reporter
from ftcore.training.kernels import accelerated

if TYPE_CHECKING:
    from torch import nn

    from ftcore.models.features import Features
    from ftcore.training.job import Job

log = logging.getLogger(__name__)


DONE = "figures.json"
"""Beside the checkpoints once the training has ended: what is left to do then must not train on."""


class CheckpointMixin:
    """A Trainer's checkpoints: whole, tied to the job, and few."""

    job: Job
    reporter: Reporter

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        checkpoint = self.job.run.folder / f"{checkpoints.PREFIX}{self.state.global_step}"  # type: ignore[attr-defined]
        with checkpoints.writing(self.job.run.folder, checkpoint):
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
            self.accelerator.wait_for_everyone()  # type: ignore[attr-defined]
            if self.args.should_save:  # type: ignore[attr-defined]
                self.reporter.flush()  # first the curve: nobody does the steps of a sealed checkpoint again
                checkpoints.seal(checkpoint, self.job.run.identity)
                checkpoints.prune(self.job.run.folder, self.state.best_model_checkpoint)  # type: ignore[attr-defined]

    def take_best_of(self, last: Path) -> None:
        """Take the best weights of a training that has ended, given its last checkpoint; else the last."""
        self.state = TrainerState.load_from_json(str(last / "trainer_state.json"))
        self.state.best_model_checkpoint = self.state.best_model_checkpoint or str(last)
        self._load_best_model()  # type: ignore[attr-defined]


class Loop(CheckpointMixin, Trainer):  # type: ignore[misc] # transformers is skipped by mypy
    """Trainer that groups by length, splits what does not fit, stops at NaN, and seals its checkpoints."""

    def __init__(self, job: Job, **settings: Any) -> None:
        """Wire a job into Trainer."""
        self.job = job
        packed = job.run.config.packing and job.data.rows["train"].packable
        kind: Callable[[Features], Any] = (
            (lambda rows: batches.Packed(rows, job.run.config.max_length_tokens)) if packed else batches.Numbered
        )
        pad = job.trained.tokenizer.pad_token_id or 0
        collate = (lambda rows: batches.collate_packed(rows, pad)) if packed else job.data.collate
        self.budget_tokens = job.run.config.micro_batch_tokens
        train, validation = kind(job.data.rows["train"]), kind(job.data.rows["validation"])
        groups = balance.groups(job.data.rows["train"], job.run.config.sampling)
        self.order = batches.ordered(train, job.run.config.batch_size, job.run.config.seed, groups)
        self.punctual = CheckpointTimer(job.run.config.checkpoint_minutes * 60)
        self.reporter = Reporter(job.run.track, self.order.tokens)
        super().__init__(
            model=job.trained.model,
            args=arguments.made(job.run.config, len(train), job.run.folder, **settings),
            train_dataset=train,
            eval_dataset=validation,
            data_collator=batches.remembering(collate),
            processing_class=job.trained.tokenizer,
            callbacks=[
                EarlyStoppingCallback(job.run.config.patience),
                self.reporter,
                self.punctual,
                *job.run.callbacks,
            ],
        )
        self.remove_callback(PrinterCallback)
        # Trainer believes that every model with **kwargs divides its loss by the items of the whole batch. BERT, T5 and
        # others do not. Here each loss is a mean, and `_in_parts` weighs it: right for all of them.
        self.model_accepts_loss_kwargs = False

    def _get_train_sampler(self, train_dataset: Any = None) -> batches.ByLength:
        del train_dataset
        return self.order

    def _run_epoch(self, **state: Any) -> None:
        self.order.epoch = state["epoch"]
        super()._run_epoch(**state)

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One batch, forward and backward, in as many parts as memory asks for; the gradient is that of the whole.

        Raises:
            TrainingError: the loss is not a number, or one row alone does not fit into memory.
        """
        numbers = inputs.pop(batches.ROWS)
        while True:
            try:
                loss = self._accumulate(model, inputs, num_items_in_batch)
                break
            except (RuntimeError, MemoryError) as error:
                if not memory.ran_out(error):
                    raise
                self._shrink(inputs, error)
            # Outside of the handler: the error's traceback holds on to the tensors that did not fit.
            model.zero_grad()
            memory.free()
        if not math.isfinite(loss.item()):
            raise self._not_a_number(f"the loss is {loss.item()}", numbers)
        self._numbers = numbers
        return loss

    def _accumulate(self, model: nn.Module, inputs: dict[str, Any], items: Any) -> torch.Tensor:
        whole = self._items(inputs)
        if self.args.world_size > 1:  # gradients are averaged over the processes, whatever each has learnt from
            whole = self.accelerator.reduce(whole, "mean")
        parts = self._parts(inputs)
        total = torch.zeros((), device=self.args.device)
        for number, (part, counted) in enumerate(parts, 1):
            # Trainer divides by this what it takes for the mean of one of several equal parts.
            self.current_gradient_accumulation_steps = whole / counted
            with nullcontext() if number == len(parts) else self._apart(model):
                total += super().training_step(model, part, items)
        return total

    def _parts(self, batch: dict[str, Any]) -> list[tuple[dict[str, Any], torch.Tensor]]:
        """What is calculated one after the other, each with what its mean loss is a mean over."""
        found = [(part, self._items(part)) for part in batches.parts(batch, self.budget_tokens)]
        return [(part, items) for part, items in found if items > 0]

    def _apart(self, model: nn.Module) -> Any:
        """While processes do not exchange gradients yet."""
        return self.accelerator.no_sync(model)

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The model's or the method's own loss, or that with class weights; while training, some label smoothing."""
        share = self.job.run.config.label_smoothing if model.training else 0
        weights = self.job.data.class_weights if model.training else self.job.data.judging_weights
        if not share and weights is None:
            return super().compute_loss(model, inputs, *args, **kwargs)
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        if weights is not None:
            loss = balance.weighted(outputs, inputs["labels"], weights)
        if not share:
            return loss
        return smoothing.smoothed(loss, outputs, inputs.get("labels"), share, shifts=self._loss_shifts_labels)

    def _items(self, batch: dict[str, Any]) -> torch.Tensor:
        """What a mean loss is a mean over: labelled tokens, or rows."""
        labels = batch.get("labels")
        if labels is None or labels.dim() < 2 or labels.is_floating_point():
            return torch.tensor(float(len(batch["input_ids"])), device=self.args.device)
        return (labels[..., 1:] if self._loss_shifts_labels else labels).ne(IGNORED).sum().float()

    def _shrink(self, inputs: dict[str, Any], error: Exception) -> None:
        """Halve what is calculated at once."""
        rows, longest = inputs["input_ids"].shape
        fitted = min(rows, max(1, (self.budget_tokens or rows * longest) // longest))
        if fitted == 1 or self.args.world_size > 1:
            what = f"a single row of {longest} tokens" if fitted == 1 else f"{fitted} rows of {longest} tokens"
            raise TrainingError(
                f"{what} does not fit into memory: {str(error).splitlines()[0]}",
                hint="lower train.max_length_tokens or train.micro_batch_tokens, or set train.gradient_checkpointing",
            ) from error
        self.budget_tokens = fitted // 2 * longest
        log.warning("out of memory: from here on at most %d tokens at once, %d rows", self.budget_tokens, fitted // 2)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if norm is not None and not math.isfinite(float(norm)):
            raise self._not_a_number(f"the gradient's norm is {float(norm)}", self._numbers)
        return norm

    def _not_a_number(self, what: str, numbers: torch.Tensor) -> TrainingError:
        identities = self.train_dataset.row_ids
        rows = ", ".join(str(identities[n]) for n in numbers.flatten().tolist() if n >= 0)
        return TrainingError(
            f"{what} at step {self.state.global_step + 1}, in the batch of the rows {rows}",
            hint="look at these rows; else lower train.learning_rate, or set train.precision to fp32",
        )

    def evaluation_loop(
        self, dataloader: Any, description: str, *_: Any, metric_key_prefix: str = "eval", **__: Any
    ) -> EvalLoopOutput:
        """The mean loss of all rows, each counted once, however they are batched and shared by processes.

        Of several parts each has a mean of its own, and the loss is what training lessens: their mean by shares.
        """
        rows = dataloader.dataset
        self.model.eval()
        with torch.no_grad(), self.compute_loss_context_manager():
            means = {part: self._mean(rows, numbers) for part, numbers in batches.by_part(rows).items()}
        shares = rows.shares or dict.fromkeys(means, 1.0)
        whole = sum(shares[part] for part in means)
        found = {f"{metric_key_prefix}_loss": sum(shares[part] * mean for part, mean in means.items()) / whole}
        found |= {f"{metric_key_prefix}_loss_{part}": mean for part, mean in means.items() if part}
        return EvalLoopOutput(None, None, found, len(rows))

    def _mean(self, rows: Any, chosen: Sequence[int]) -> float:
        """The mean loss of some rows, batched by length."""
        size, total = self.args.per_device_eval_batch_size, torch.zeros(2, device=self.args.device)
        order = sorted(chosen, key=rows.lengths.__getitem__)
        cut = [order[start : start + size] for start in range(0, len(order), size)]
        for numbers, counts in self._eval_batches(cut):
            batch = self._prepare_inputs(dict(self.data_collator([rows[number] for number in numbers])))
            del batch[batches.ROWS]
            total += counts * self._loss_sum(batch)
        total = self.accelerator.reduce(total, "sum")
        return float((total[0] / total[1]).item())

    def _eval_batches(self, cut: Sequence[list[int]]) -> Iterator[tuple[list[int], int]]:
        """The batches that this process judges, and how often each counts."""
        return ((numbers, 1) for numbers in cut[self.args.process_index :: self.args.world_size])

    def _loss_sum(self, batch: dict[str, Any]) -> torch.Tensor:
        """Sum of a batch's losses, and what their mean is taken over; in as many parts as memory asks for."""
        while True:
            total = torch.zeros(2, device=self.args.device)
            try:
                for part, items in self._parts(batch):
                    total += torch.stack([self.compute_loss(self.model, part).float() * items, items])
                break
            except (RuntimeError, MemoryError) as error:
                if not memory.ran_out(error):
                    raise
                self._shrink(batch, error)
            memory.free()
        return total


def fit(job: Job, kind: type[Loop] = Loop) -> dict[str, float]:
    """Train in place, from the last whole checkpoint where there is one; keep the best weights.

    Args:
        job: what is trained.
        kind: the loop, where processes share a model in another way.

    Returns:
        The last figures: steps, losses, seconds, rows and real tokens per second.

    Raises:
        TrainingError: the loss is not a number, memory or disk do not suffice, the checkpoints are another recipe's.
        TransientError: stopped by a signal; a checkpoint was written.
    """
    last = checkpoints.last(job.run.folder, job.run.identity)
    with _quick(job):  # before Trainer puts the model on a GPU, which need not hold frozen weights in 32 bits
        return _run(kind(job, eval_on_start=last is None), job, last)  # what it was worth before: what has it learnt?


def run(loop: Any, job: Job, last: Path | None) -> dict[str, float]:
    """Train with a Trainer that has a ``reporter`` and a ``punctual``, from the ``last`` checkpoint where there is one.

    Returns:
        The figures of ``fit``; without a validation, none of it.

    Raises:
        TrainingError: as ``fit``.
        TransientError: as ``fit``.
    """
    with _quick(job):
        return _run(loop, job, last)


@contextmanager
def _quick(job: Job) -> Iterator[None]:
    """Calculate in the quickest ways that give the same; nothing of them is left in the model behind it."""
    config = job.run.config
    with (
        attention.chosen(job.trained.model, config.attention, config.precision),
        accelerated(job.trained.model, config),
    ):
        yield


def _run(loop: Any, job: Job, last: Path | None) -> dict[str, float]:
    if last and (done := store.read_json(job.run.folder / DONE)):
        log.info("the training was done already: its best checkpoint is taken")
        loop.take_best_of(last)
        return {**done, "resumed": 1.0}
    if last:
        log.info("resuming from %s", last.name)
    try:
        result = loop.train(resume_from_checkpoint=str(last) if last else None)
    finally:
        loop.reporter.close()
        loop.punctual.close()
    epochs, seconds = loop.state.epoch or 0.0, result.metrics["train_runtime"]
    trained = epochs * (1 - loop.reporter.first_step / max(loop.state.global_step, 1))
    judged = {}
    if loop.args.eval_strategy != "no":
        judged = {"validation_loss": loop.state.best_metric or float("nan"), "validation_loss_before": _before(loop)}
    figures = {
        "steps": loop.state.global_step,
        "epochs": round(epochs, 3),
        "train_loss": round(result.training_loss, 5),
        **{name: round(value, 5) for name, value in judged.items()},
        "seconds": round(seconds, 2),
        "rows_per_s": round(len(job.data.rows["train"]) * trained / seconds, 2),
        "tokens_per_s": round(loop.reporter.tokens_per_epoch * trained / seconds, 1),
        "resumed": float(last is not None),
    }
    if loop.args.should_save:
        store.write_json(job.run.folder / DONE, figures)
    return figures


def _before(loop: Loop) -> float:
    """Validation loss of the model as it came, before the first step; a resumed run has it in its checkpoint."""
    return next(
        (line["eval_loss"] for line in loop.state.log_history if "eval_loss" in line and not line["step"]), math.nan
    )
