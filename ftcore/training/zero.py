"""The loop for DeepSpeed, which steps its optimiser by itself after the last part of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftcore.training.in_step import LockstepLoop
from ftcore.training.job import Job


class Zero(LockstepLoop):
    """For processes whose weights DeepSpeed cuts."""

    settings: dict[str, Any]
    """DeepSpeed's own."""

    def __init__(self, job: Job, **settings: Any) -> None:
        """Wire a job into Trainer."""
        super().__init__(job, deepspeed=self.settings, **settings)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Only the folder: DeepSpeed writes weights and optimiser at once, later."""
        Path(str(output_dir)).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def _apart(self, model: Any) -> Iterator[None]:
        """By this accelerate tells DeepSpeed that more of the batch is to come."""
        del model
        state = self.accelerator.gradient_state
        state._set_sync_gradients(False)  # noqa: SLF001 # as Trainer itself does
        try:
            yield
        finally:
            state._set_sync_gradients(True)  # noqa: SLF001


def looped(settings: dict[str, Any]) -> type[Zero]:
    """The loop with DeepSpeed's settings."""
    return type("Zero", (Zero,), {"settings": settings})
