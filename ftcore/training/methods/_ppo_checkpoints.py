"""Between two steps of ``ppo``: the curve, the bar, and checkpoints in time, by the common loop's own callbacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - imported by ppo's fit alone
from safetensors.torch import load_file, save_file
from transformers import DefaultFlowCallback, TrainerControl, TrainerState  # noqa: TID253
from transformers.trainer_callback import CallbackHandler  # noqa: TID253

from ftcore.store import store
from ftcore.training import arguments, checkpoints
from ftcore.training.callbacks import CheckpointTimer, Reporter

if TYPE_CHECKING:
    from pathlib import Path

    from ftcore.training.job import Job

WEIGHTS, OPTIMISER, STATE = "weights.safetensors", "optimizer.pt", "state.json"


@dataclass
class Progress:
    """How far a training has come: what a checkpoint holds."""

    job: Job
    value: torch.nn.Linear
    """The value head."""
    optimiser: torch.optim.Optimizer
    done: int = 0
    """Steps."""
    losses: list[float] = field(default_factory=list)
    """Of each step."""

    def trained(self) -> dict[str, torch.nn.Parameter]:
        """Weights that learn, by name: the model's, and the value head's."""
        model = {
            f"model.{name}": weight
            for name, weight in self.job.trained.model.named_parameters()
            if weight.requires_grad
        }
        return model | {f"value.{name}": weight for name, weight in self.value.named_parameters()}


class Watch:
    """Tells the callbacks of each step, and keeps a checkpoint when one is due."""

    def __init__(self, progress: Progress, rows: int, steps: int, tokens: int) -> None:
        """Listen for SIGTERM and show the bar; ``rows`` and ``tokens`` are those of an epoch."""
        job = progress.job
        self.progress = progress
        self.args = arguments.made(job.run.config, rows, job.run.folder)
        self.state = TrainerState(global_step=progress.done, max_steps=steps, num_train_epochs=job.run.config.epochs)
        self.control = TrainerControl()
        self.reporter, self.punctual = (
            Reporter(job.run.track, tokens),
            CheckpointTimer(job.run.config.checkpoint_minutes * 60),
        )
        # transformers asks for its own; what it raises in `control` is what is due anyway, and is taken back by on_save
        called = [DefaultFlowCallback(), self.reporter, self.punctual, *job.run.callbacks]
        self.callbacks = CallbackHandler(called, job.trained.model, job.trained.tokenizer, progress.optimiser, None)
        self.callbacks.on_train_begin(self.args, self.state, self.control)

    def step(self, seen: dict[str, float]) -> None:
        """One more step is done.

        Raises:
            TrainingError: a checkpoint could not be written.
            TransientError: stopped by a signal; a checkpoint was written.
        """
        self.state.global_step = done = self.progress.done
        self.callbacks.on_log(self.args, self.state, self.control, seen)
        self.control = self.callbacks.on_step_end(self.args, self.state, self.control)
        if self.control.should_save or done % self.args.save_steps == 0 or done == self.state.max_steps:
            self.reporter.flush()  # first the curve: nobody does the steps of a sealed checkpoint again
            save(self.progress)
            self.control = self.callbacks.on_save(self.args, self.state, self.control)

    def close(self) -> None:
        """Take the bar away and listen no more."""
        self.reporter.close()
        self.punctual.close()


def save(progress: Progress) -> None:
    """Write what is trained, the optimiser, the random state and the losses so far; the seal last.

    Raises:
        TrainingError: the disk is full, or cannot be written.
    """
    job = progress.job
    folder = job.run.folder / f"{checkpoints.PREFIX}{progress.done}"
    chance = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        chance["random.cuda"] = torch.cuda.get_rng_state()
    with checkpoints.writing(job.run.folder, folder):
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: weight.detach().contiguous() for name, weight in progress.trained().items()}
        save_file(weights | chance, folder / WEIGHTS)
        torch.save(progress.optimiser.state_dict(), folder / OPTIMISER)
        store.write_json(folder / STATE, {"done": progress.done, "losses": progress.losses})
        checkpoints.seal(folder, job.run.identity)
        checkpoints.prune(job.run.folder, best=None)


def load(progress: Progress, checkpoint: Path) -> None:
    """Put a training where it was when the checkpoint was written."""
    found = load_file(checkpoint / WEIGHTS)
    torch.set_rng_state(found["random.cpu"])
    if torch.cuda.is_available() and "random.cuda" in found:
        torch.cuda.set_rng_state(found["random.cuda"])
    with torch.no_grad():
        for name, weight in progress.trained().items():
            weight.copy_(found[name])
    progress.optimiser.load_state_dict(torch.load(checkpoint / OPTIMISER, weights_only=True))
    state: dict[str, Any] = store.read_json(checkpoint / STATE)
    progress.done, progress.losses = state["done"], state["losses"]
