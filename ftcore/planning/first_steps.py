"""The first steps of a training, measured on its worker: what is to be expected now, or why it stops here."""

from __future__ import annotations

import logging
import os
from typing import Any

from ftcore.context import Context
from ftcore.errors import FtcoreError, TrainingError
from ftcore.planning import budget, estimates, sizes
from ftcore.training import energy, planned, workers

log = logging.getLogger(__name__)


def corrected(context: Context, found: dict[str, Any], steps: int, seconds: float) -> None:
    """Compare what the first steps took with the plan, log what to expect, and keep it in ``found``.

    Args:
        context: the train step's.
        found: gets ``expected``: ``after_steps``, ``seconds`` of all steps, and ``memory_bytes``, at least.
        steps: that were done.
        seconds: that all steps are expected to take, evaluations left out.

    Raises:
        TrainingError: memory is more than the worker has already.
    """
    peak, estimate = energy.peak_bytes(), planned.estimate_of(context)
    total = estimate["memory_bytes"]["total"] if estimate else 0
    found["expected"] = {"after_steps": steps, "seconds": round(seconds, 1), "memory_bytes": max(peak, total)}
    used = f"{peak / workers.GIB:.2f} GiB so far"
    if estimate and estimate["hours"] is not None:
        used += f"; planned: {budget.duration(estimate['hours'])}, {total / workers.GIB:.2f} GiB"
    if os.environ.get("RANK", "0") == "0":  # of several processes all take about the same
        log.info("expected after %d steps: %s of training steps, %s", steps, budget.duration(seconds / 3600), used)
    worker = workers.own(context.settings)
    has = estimates.memory_gib(context, worker) if worker else 0.0
    if worker is None or peak <= has * workers.GIB:
        return
    raise TrainingError(
        f"the first {steps} steps took {peak / workers.GIB:.1f} GiB of memory on {worker.name}, which has {has:.1f} "
        f"GiB a process{f', and {total / workers.GIB:.1f} were planned' if total else ''}",
        hint=_hint(context, worker, peak / total if total else 1.0),
    )


def _hint(context: Context, worker: workers.Worker, factor: float) -> str:
    """The plan's remedy, by what was measured."""
    try:
        identity = context.earlier("plan").figures["snapshot"]
        wanted = sizes.need(context, identity, sizes.count(context, identity, "train"), {worker.device})
        return estimates.remedy(context, wanted, worker, factor)
    except FtcoreError:
        return "lower train.batch_size or train.max_length_tokens, or set train.gradient_checkpointing"
