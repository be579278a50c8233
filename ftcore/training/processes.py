"""Training in several processes: the train step starts them through torchrun, and each runs this file."""

from __future__ import annotations

import ctypes
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ftcore import errors, settings
from ftcore.context import Context
from ftcore.errors import FtcoreError, TransientError
from ftcore.recipe import reading as recipes
from ftcore.store import patience, run_recipe, store

log = logging.getLogger(__name__)

RESULT = "result.json"
"""In the step's scratch folder: the figures of the training, or the error that ended it."""
_PR_SET_PDEATHSIG = 1


def wanted(context: Context) -> bool:
    """Whether the recipe asks for more than this process, and this is not one of them already."""
    asked = context.recipe.train.distributed
    return asked.processes * asked.machines > 1 and "RANK" not in os.environ


def launch(context: Context, mlflow_run: str, module: str) -> dict[str, Any]:
    """Train in the processes that the recipe asks for; returns the first one's figures.

    Args:
        context: the step's.
        mlflow_run: which the first process logs to.
        module: of the step, by its dotted name; its ``fit`` trains.

    On several machines, the command that the log shows is started on each of the others by hand or by the scheduler.

    Raises:
        FtcoreError: what a process raised.
        TransientError: a process vanished; the next try goes on from the last checkpoint.
    """
    said = context.scratch / RESULT
    said.unlink(missing_ok=True)
    command = _command(context, mlflow_run, module)
    log.info("starting %s", " ".join(command))
    threads = (context.settings.threads or os.cpu_count() or 1) // context.recipe.train.distributed.processes
    env = {**os.environ, "OMP_NUM_THREADS": str(max(1, threads)), "FTCORE_THREADS": str(max(1, threads))}
    process = subprocess.Popen(command, env=env, stdout=sys.stderr, preexec_fn=_die_with_parent)  # noqa: PLW1509
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = process.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
        process.kill()
    found = store.read_json(said) or {}
    if "error" in found:
        raise getattr(errors, found["error"])(found["message"], hint=found["hint"])
    if code or "figures" not in found:
        raise TransientError(
            "a training process vanished", hint="run it again: it goes on from the last checkpoint; its log is above"
        )
    return dict(found["figures"])


def first_only() -> None:
    """Let the first process go on alone when all are here; the others have nothing left to do and end."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        rank = distributed.get_rank()
        distributed.destroy_process_group()
        if rank:
            sys.exit(0)


def _command(context: Context, mlflow_run: str, module: str) -> list[str]:
    asked = context.recipe.train.distributed
    meeting = ["--standalone"]
    if asked.machines > 1:
        meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint={asked.rendezvous}", f"--rdzv-id={context.run_id}"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *meeting, f"--nnodes={asked.machines}"]
    own = [str(context.recipe_path), context.recipe.name, context.run_id, mlflow_run, json.dumps(dict(context.params))]
    return [*torchrun, f"--nproc-per-node={asked.processes}", "-m", "ftcore.training.processes", module, *own]


def _die_with_parent() -> None:
    """Processes must not go on when the step is gone: the one that tries again writes the same checkpoints."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _rank(module: str, recipe_path: str, name: str, run_id: str, mlflow_run: str, params: str) -> None:
    """One of the processes: train, and leave the figures, or the error, for the step that started them."""
    conf, path = settings.load(), Path(recipe_path)
    shelf = store.shelf(conf, name)
    kept = run_recipe.of(shelf, run_id)
    recipe = kept.recipe() if kept else recipes.read(path)
    context = Context(recipe, path, run_id, "train", json.loads(params), shelf, conf)
    said = context.scratch / RESULT
    try:
        with patience.lasting(conf.patience_s):
            figures = importlib.import_module(module).fit(context, mlflow_run)
    except FtcoreError as error:
        store.write_json(said, {"error": type(error).__name__, "message": error.args[0], "hint": error.hint})
        sys.exit(error.exit_code)
    store.write_json(said, {"figures": figures})


if __name__ == "__main__":
    _die_with_parent()
    _rank(*sys.argv[1:])
