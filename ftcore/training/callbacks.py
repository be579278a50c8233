"""What happens between two steps: the curve is kept, people see how far it is, checkpoints come in time."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from transformers import TrainerCallback

from ftcore.errors import StoppedError
from ftcore.progress import SELDOM_S, progress

if TYPE_CHECKING:
    from types import FrameType

    from transformers import TrainerControl, TrainerState, TrainingArguments

log = logging.getLogger(__name__)

FLUSH_S = 5.0
"""Seconds between two writes of the curve: a tracking server is not asked after each step."""
FIRST_STEPS, FIRST_S = 2, 5.0
"""Steps, and seconds, that a training is measured for at its start, behind one step that warms up. Batches differ in
length: where a step is short, more of them are measured."""


class Point(NamedTuple):
    """Metrics of one step."""

    step: int
    metrics: dict[str, float]
    at: float
    """Seconds since 1970."""


Track = Callable[[list[Point]], None]


class Reporter(TrainerCallback):  # type: ignore[misc] # transformers is skipped by mypy
    """Keeps the curve and shows people how far it is."""

    def __init__(self, track: Track, tokens_per_epoch: int) -> None:
        """Call ``track`` with the points of the curve, some at a time."""
        self.track = track
        self.tokens_per_epoch = tokens_per_epoch
        self.shown = ExitStack()
        self.points: list[Point] = []
        self.started = self.flushed = 0.0
        self.first_step = 0
        self.checkpoint = ""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Start the clock; a resumed run starts at its checkpoint's step."""
        self.started = self.flushed = time.monotonic()
        self.first_step = state.global_step
        if state.is_world_process_zero:
            self.advance = self.shown.enter_context(progress("training", state.max_steps, self.first_step, SELDOM_S))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: object,
    ) -> None:
        """Take a point of the curve, with the speed so far."""
        if not state.is_world_process_zero:
            return
        numbers = {key: float(value) for key, value in (logs or {}).items() if isinstance(value, int | float)}
        if "loss" in numbers:
            seconds, done = time.monotonic() - self.started, state.global_step - self.first_step
            speed = self.tokens_per_epoch * state.num_train_epochs / state.max_steps * done / seconds
            numbers["tokens_per_s"] = speed
            first = f"reward {numbers['reward']:.3f}" if "reward" in numbers else f"loss {numbers['loss']:.3f}"
            note = f"{first}, {speed:.0f} tokens/s"
            self.advance(1, note, loss=numbers["loss"], tokens_per_s=round(speed, 1), checkpoint=self.checkpoint)
        if "eval_loss" in numbers:
            log.info("step %d/%d: validation loss %.4f", state.global_step, state.max_steps, numbers["eval_loss"])
        self.points.append(Point(state.global_step, numbers, time.time()))
        if time.monotonic() - self.flushed > FLUSH_S:
            self.flush()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Show people which checkpoint is the last."""
        self.checkpoint = f"{args.output_dir}/checkpoint-{state.global_step}"

    def flush(self) -> None:
        """Write what is waiting."""
        waiting, self.points = self.points, []
        if waiting:
            self.track(waiting)
        self.flushed = time.monotonic()

    def close(self) -> None:
        """Write what is waiting and take the bar away, however the training ended."""
        self.flush()
        self.shown.close()


class FirstSteps(TrainerCallback):  # type: ignore[misc]
    """Measures the first steps, before hours are spent; what ``report`` raises ends the training."""

    def __init__(self, report: Callable[[int, float], None]) -> None:
        """Call ``report`` once with the steps that were done and the seconds that all steps are expected to take."""
        self.report = report
        self.first_step = 0
        self.started: float | None = None
        self.reported = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """A resumed run starts at its checkpoint's step."""
        self.first_step = state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """One step is done: start the clock, or stop it."""
        if self.reported:
            return
        now, steps = time.monotonic(), state.global_step - self.first_step
        if self.started is None:
            self.started = now
        elif steps > FIRST_STEPS and now - self.started >= FIRST_S:
            self.reported = True
            self.report(steps, (now - self.started) / (steps - 1) * state.max_steps)


class TrialCallback(TrainerCallback):  # type: ignore[misc]
    """Tells somebody of every step and of every validation loss; what they raise ends the training."""

    def __init__(self, tick: Callable[[], None], judge: Callable[[int, float], None]) -> None:
        """Call ``tick`` after each step, and ``judge`` with the number of the evaluation, from 1, and its loss."""
        self.tick, self.judge = tick, judge

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """One step is done."""
        self.tick()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **_: object,
    ) -> None:
        """The validation loss was measured; its number does not depend on what was done before a crash."""
        self.judge(-(-state.global_step // int(args.eval_steps)), metrics["eval_loss"])


class CheckpointTimer(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint when enough time has passed, and at once when a signal stops the process.

    Raises:
        StoppedError: after the checkpoint that SIGTERM asked for.
    """

    def __init__(self, every_s: float) -> None:
        """Start the clock."""
        self.every_s = every_s
        self.saved = time.monotonic()
        self.stopping = False
        self.before: Any = None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        log.warning("stopped by a signal: a checkpoint is written after this step")
        self.stopping = True

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Listen for SIGTERM, which spot machines and Airflow send before they end a process."""
        self.saved = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGTERM, self._stop)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> TrainerControl:
        """Ask for a checkpoint where it is time. Of several processes, all must answer alike."""
        due = self.stopping or time.monotonic() - self.saved > self.every_s
        if args.world_size > 1:
            import torch
            from torch import distributed

            said = torch.tensor([due, self.stopping], dtype=torch.int32, device=args.device)
            distributed.all_reduce(said, distributed.ReduceOp.MAX)
            due, self.stopping = bool(said[0]), bool(said[1])
        control.should_save = control.should_save or due
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """End where that was asked for: what follows is done by the run that goes on."""
        self.saved = time.monotonic()
        if self.stopping:
            raise StoppedError(
                f"stopped at step {state.global_step} of {state.max_steps}, as a signal requested",
                hint="run it again: it goes on from the checkpoint",
            )

    def close(self) -> None:
        """Listen no more."""
        if self.before is not None:
            signal.signal(signal.SIGTERM, self.before)
