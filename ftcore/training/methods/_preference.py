"""What the methods that learn from preferences and rewards share: what trains, TRL's trainers, and what is measured."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ftcore.data.conversations import templates
from ftcore.errors import DataRejectedError, NotEnoughDataError
from ftcore.training.effort import Effort, equal_part
from ftcore.training.methods import _adapters, _lora
from ftcore.training.methods._base import Method

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from ftcore.recipe.model import Recipe
    from ftcore.training.exchanges import PreferenceExample, Prompt
    from ftcore.training.job import Job

log = logging.getLogger(__name__)

MEASURED = 256
"""Most validation rows that are measured before and after."""
AT_ONCE = 8
PAIRS = Effort(together=2, even=True, measured=MEASURED, measured_at_once=AT_ONCE)
"""For the plan: what methods that learn from pairs have in common; two answers are read and measured."""


class Alignment(Method):
    """A method that learns from preferences or rewards, by updates or by all weights beside a frozen copy."""

    MULTITASK_REASON: ClassVar[str] = "it reads every row as a conversation of one chat task"
    OWN_LOOP: ClassVar[bool] = True
    REPLACEABLE: ClassVar[bool] = False

    adapter: _lora.Settings | None = _lora.Settings()
    """Low-rank updates; the model without them is the reference. Null trains every weight and keeps a frozen copy."""

    def faults(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """An adapter without which the model is not what it was."""
        if self.adapter is not None and (self.adapter.init != "default" or self.adapter.stack):
            yield "method.adapter", "the model without it is the reference: init must be default, and nothing stacked"

    def lacks_adapter(self) -> bool:
        """Whether every weight trains."""
        return self.adapter is None

    def apply(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        """The model with adapters and its head, or all of its weights, to train.

        Raises:
            TrainingError: the targets match no layer, or peft cannot adapt this model.
        """
        return model.requires_grad_(True) if self.adapter is None else self.adapter.adapted(model)

    def save(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
        """Write ``model``, and ``adapter`` where there is one, as safetensors.

        Raises:
            TrainingError: merged and unmerged answers differ.
        """
        if self.adapter is None:
            super().save(model, tokenizer, folder)
        else:
            self.adapter.save(model, tokenizer, folder)

    def reference(self, model: nn.Module) -> nn.Module | None:
        """A frozen copy of the model; None where its adapter can be taken away instead."""
        return None if self.adapter is not None else copy.deepcopy(model).requires_grad_(False).eval()


class Paired(Alignment):
    """A method that learns from pairs of a good answer and a worse one."""

    TASKS: ClassVar[tuple[str, ...]] = ("chat",)

    def faults(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """An adapter without which the model is not what it was; sources without worse answers."""
        yield from super().faults(recipe)
        if not any(source.mapping and source.mapping.rejected for source in recipe.sources):
            yield "sources", f"{self.kind} learns from pairs, and no source maps `rejected`; map it: rejected: COLUMN"

    def lengths(
        self, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Iterable[PreferenceExample]
    ) -> list[int] | None:
        """Tokens of each prompt with its good answer and with its worse one; rows without both are left out."""
        limit = recipe.train.max_length_tokens
        return [min(length, limit) for length in _both(tokenizer, rows)]


class ReferenceSettings(Paired):
    """One that stays near a reference."""

    beta: Annotated[float, Field(gt=0)] = 0.1
    """KL penalty β: higher means less deviation from the reference model."""


def pairs(job: Job) -> dict[str, list[PreferenceExample]]:
    """Rows that have both answers and room for some of them, by split; the others are left out and said in the log.

    Raises:
        DataRejectedError: a split has none, or too many prompts leave no room.
        NotEnoughDataError: no prompt of a split leaves room.
    """
    found = {split: [one for one in rows if one.good and one.worse] for split, rows in job.data.exchanges.items()}
    for split, kept in found.items():
        rows = job.data.exchanges[split]
        if not kept:
            raise DataRejectedError(
                f"no row of the {split} split has a rejected answer to learn from",
                [f"row {one.row_id}" for one in rows],
                hint="map it in the recipe's sources, as in rejected: COLUMN",
            )
        if len(kept) < len(rows):
            log.warning(
                "%d of %d rows of %s have no rejected answer: left out", len(rows) - len(kept), len(rows), split
            )
    return drop_long_prompts(job, found, 1)


def drop_long_prompts(
    job: Job, rows: Mapping[str, Sequence[PreferenceExample]], answer_tokens: int
) -> dict[str, list[PreferenceExample]]:
    """Rows whose prompt leaves room for an answer, by split; the others are left out and said in the log.

    Raises:
        NotEnoughDataError: a split has none.
        DataRejectedError: surely a larger share than ``train.max_truncated`` leaves no room.
    """
    from ftcore.models import loading

    room, most = job.run.config.max_length_tokens - answer_tokens, job.run.config.max_truncated
    found = {}
    for split, every in rows.items():
        kept = [one for one in every if len(ids(job.trained.tokenizer, one.prompt)) <= room]
        out = len(every) - len(kept)
        said = f"{out:,} of {len(every):,} prompts of the {split} split are longer than {room} tokens"
        if not kept:
            raise NotEnoughDataError(
                f"no prompt of the {split} split is of {room} tokens or less", hint="raise train.max_length_tokens"
            )
        if loading.surely_more(out, len(every), most):
            raise DataRejectedError(
                f"{said}, which leaves no room for an answer; {most:.0%} may be",
                hint="raise train.max_length_tokens, or train.max_truncated where these rows do not matter",
            )
        if out:
            log.warning("%s, which leaves no room for an answer: left out", said)
        found[split] = kept
    return found


def learnt_from(job: Job, what: str, rows: Sequence[object]) -> dict[str, float]:
    """How many rows are learnt from, and how many training rows were left out."""
    return {what: len(rows), "rows_left_out": len(job.data.exchanges["train"]) - len(rows)}


def as_answers(prompt: Prompt, text: str) -> str | list[dict[str, str]]:
    """An answer in the form that TRL wants beside a prompt of this form."""
    return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]


def dataset(rows: Sequence[PreferenceExample]) -> Any:
    """Pairs as TRL's trainers read them: ``prompt``, ``chosen``, ``rejected``."""
    from datasets import Dataset

    return Dataset.from_list(
        [
            {
                "prompt": one.prompt,
                "chosen": as_answers(one.prompt, str(one.good)),
                "rejected": as_answers(one.prompt, str(one.worse)),
            }
            for one in rows
        ]
    )


def choices(job: Job, rows: int, **settings: Any) -> dict[str, Any]:
    """Settings of a TRL trainer: those of the common loop, and further ones."""
    from ftcore.training import arguments

    return arguments.choices(job.run.config, rows, job.run.folder) | {
        "use_liger_kernel": False,  # TRL has deprecated it
        **in_parts(job, job.run.config.batch_size),
        **settings,
    }


def in_parts(job: Job, batch: int, least: int = 1, rows: int = 1) -> dict[str, int]:
    """Settings of a TRL trainer that does a batch in parts, where ``train.micro_batch_tokens`` asks for it; else none.

    Every part is of as many pairs, so that the mean of their losses is that of the batch.

    Args:
        job: what is trained.
        batch: pairs of an optimiser step.
        least: fewest pairs of a part.
        rows: what the trainer counts for a pair.
    """
    if job.run.config.micro_batch_tokens is None:
        return {}
    longest = min(
        max(_both(job.trained.tokenizer, job.data.exchanges["train"]), default=1), job.run.config.max_length_tokens
    )
    part = equal_part(batch, job.run.config.micro_batch_tokens // (2 * longest), least)
    sizes = dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), rows * part)
    return {} if part == batch else {**sizes, "gradient_accumulation_steps": batch // part}


def _both(tokenizer: PreTrainedTokenizerBase, rows: Iterable[PreferenceExample]) -> Iterator[int]:
    for one in rows:
        if one.good and one.worse:
            yield from (len(ids(tokenizer, one.prompt, answer)) for answer in (one.good, one.worse))


def run(job: Job, kind: type, tokens: int, **parts: Any) -> dict[str, float]:
    """Train by a trainer of TRL's, with our checkpoints, curve, progress and SIGTERM; returns the loop's figures.

    Args:
        job: what is trained.
        kind: class of TRL's trainer.
        tokens: read in an epoch.
        parts: what the trainer is made of besides.
    """
    from transformers import EarlyStoppingCallback, PrinterCallback

    from ftcore.training import checkpoints, loop
    from ftcore.training.callbacks import CheckpointTimer, Reporter

    class Quiet(loop.CheckpointMixin, kind):  # type: ignore[misc]
        """TRL's trainer that seals its checkpoints, tells nobody about itself and writes no model card."""

        def _send_telemetry(self) -> None: ...

        def create_model_card(self, *_: object, **__: object) -> None: ...

    Quiet.job = job
    with still_datasets():
        trainer = Quiet(model=job.trained.model, processing_class=job.trained.tokenizer, **parts)
    trainer.remove_callback(PrinterCallback)
    trainer.reporter = Reporter(job.run.track, tokens)
    trainer.punctual = CheckpointTimer(job.run.config.checkpoint_minutes * 60)
    for callback in job.run.callbacks:
        trainer.add_callback(callback)
    trainer.add_callback(trainer.reporter)
    trainer.add_callback(trainer.punctual)
    last = checkpoints.last(job.run.folder, job.run.identity)
    if trainer.args.eval_strategy != "no":
        trainer.args.eval_on_start = last is None
        trainer.add_callback(EarlyStoppingCallback(job.run.config.patience))
    try:
        return loop.run(trainer, job, last)
    finally:
        _as_it_was(job.trained.model)


@contextmanager
def still_datasets() -> Iterator[None]:
    """Without the bars of datasets, and TRL's word on what is experimental."""
    import datasets

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _as_it_was(model: nn.Module) -> None:
    """Take away what TRL added to a model: its frozen copy of the adapter, and its own forward."""
    if "ref" in getattr(model, "peft_config", {}):
        model.delete_adapter("ref")  # type: ignore[operator]
    plain = model.get_base_model() if hasattr(model, "peft_config") else model  # type: ignore[operator]
    vars(plain).pop("forward", None)


def ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, answer: str | None = None) -> list[int]:
    """Tokens of a prompt, or of the prompt and its answer with what ends it."""
    if isinstance(prompt, str):
        ending = tokenizer.eos_token or ""
        return list(tokenizer(prompt if answer is None else prompt + answer + ending)["input_ids"])
    turns = prompt if answer is None else [*prompt, {"role": "assistant", "content": answer}]
    text = templates.render(tokenizer, turns, ask=answer is None)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def tokens(job: Job, rows: Sequence[PreferenceExample]) -> int:
    """Tokens that are read of pairs: of each the prompt twice and both answers."""
    return sum(_both(job.trained.tokenizer, rows))


def likelihoods(job: Job, rows: Sequence[tuple[Prompt, str]]) -> np.ndarray:
    """Log likelihood of each answer in nats, ``[rows]``; no gradient, no dropout."""
    import numpy as np
    import torch

    found: list[float] = []
    device = next(job.trained.model.parameters()).device
    with _adapters.still(job.trained.model), torch.no_grad():
        size = at_once(job)
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            whole = [ids(job.trained.tokenizer, *one)[: job.run.config.max_length_tokens] for one in part]
            heads = [
                min(len(ids(job.trained.tokenizer, prompt)), len(one))
                for (prompt, _), one in zip(part, whole, strict=True)
            ]
            batch = job.trained.tokenizer.pad({"input_ids": whole}, padding_side="right", return_tensors="pt").to(
                device
            )
            logits = job.trained.model(**batch).logits[:, :-1].float()
            said = logits.log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
            places = torch.arange(1, said.shape[1] + 1, device=device)
            counted = (places >= torch.tensor(heads, device=device)[:, None]) & batch["attention_mask"][:, 1:].bool()
            found += (said * counted).sum(-1).tolist()
    return np.array(found)


def preferred(job: Job, rows: Sequence[PreferenceExample], when: str) -> dict[str, float]:
    """How often the good answer of a validation pair is the likelier one, and by how many nats in the mean."""
    rows = rows[:MEASURED]
    good = likelihoods(job, [(one.prompt, str(one.good)) for one in rows])
    worse = likelihoods(job, [(one.prompt, str(one.worse)) for one in rows])
    return told(good - worse, when)


def told(margins: np.ndarray, when: str) -> dict[str, float]:
    """``preferred_…``, the share of positive margins, and ``margin_…``, their mean; ``when`` ends their names."""
    return {
        f"preferred_{when}": round(float((margins > 0).mean()), 4),
        f"margin_{when}": round(float(margins.mean()), 4),
    }


def at_once(job: Job) -> int:
    """Sequences that are measured at once: one where memory is short."""
    return AT_ONCE if job.run.config.micro_batch_tokens is None else 1


def fit(
    job: Job, kind: type, made: Any, read: Callable[[Sequence[PreferenceExample]], Any] = dataset, **parts: Any
) -> dict[str, float]:
    """Train a language model on pairs, and measure which answers it prefers, before and after.

    Args:
        job: what is trained.
        kind: class of TRL's trainer.
        made: its settings.
        read: makes a dataset of pairs.
        parts: what the trainer is made of besides.

    Returns:
        The loop's figures; ``preferred_before`` and ``_after``, the share of validation pairs whose good answer is the
        likelier one, and ``margin_before`` and ``_after``, by how many nats in the mean.
    """
    data = pairs(job)
    before = preferred(job, data["validation"], "before")
    figures = run(
        job,
        kind,
        tokens(job, data["train"]),
        args=made,
        train_dataset=read(data["train"]),
        eval_dataset=read(data["validation"]),
        **parts,
    )
    return {
        **learnt_from(job, "pairs", data["train"]),
        **figures,
        **before,
        **preferred(job, data["validation"], "after"),
    }
