"""The machines that train: what they hold, how fast they are and what they cost, from the file ``FTCORE_WORKERS``.

::

    - {name: small, device: cpu, memory_gib: 24, price_per_h: 0.10, power_w: 60}
    - {name: h200, device: cuda, memory_gib: 139, price_per_h: 3.50, power_w: 700, tflops: 800}
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from ftcore.errors import RecipeError
from ftcore.recipe.kinds import Config

if TYPE_CHECKING:
    from ftcore.settings import Settings

GIB = 2**30
LOCAL = "local"


class Worker(Config):
    """One machine that can train."""

    name: Annotated[str, Field(pattern=r"^[\w.\-]+$")]
    """Name; a worker knows its own from ``FTCORE_WORKER``."""
    device: Literal["cpu", "cuda"] = "cpu"
    """What trains there."""
    memory_gib: Annotated[float, Field(gt=0)]
    """Memory of that device, in GiB."""
    price_per_h: Annotated[float, Field(ge=0)] = 0
    """Price of an hour, in the currency in which all workers and budgets are given."""
    power_w: Annotated[float, Field(gt=0)] | None = None
    """Watts while it trains; null takes what earlier runs measured."""
    tflops: Annotated[float, Field(gt=0)] | None = None
    """Matrix products, in 10¹² operations a second; null takes earlier runs, or measures where the plan runs there."""
    carbon_g_per_kwh: Annotated[float, Field(ge=0)] = 475
    """CO2e of its electricity, in grams a kWh; by default codecarbon's figure for the world."""


def load(settings: Settings) -> tuple[Worker, ...]:
    """The configured workers; this machine alone where no file is set.

    Raises:
        RecipeError: the file cannot be used; every fault at once.
    """
    if settings.workers is None:
        return (this_machine(),)
    import yaml

    try:
        found = yaml.safe_load(settings.workers.read_text(encoding="utf-8"))
        workers = TypeAdapter(tuple[Worker, ...]).validate_python(found)
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(str(settings.workers), [("", f"cannot be read: {error}")]) from error
    except ValidationError as error:
        faults = [(".".join(map(str, fault["loc"])), str(fault["msg"])) for fault in error.errors(include_url=False)]
        raise RecipeError(str(settings.workers), faults) from error
    names = [worker.name for worker in workers]
    if not names or len(set(names)) < len(names):
        raise RecipeError(str(settings.workers), [("", "at least one worker is needed, each with a name of its own")])
    if settings.worker and settings.worker not in names:
        fault = f"there is no worker {settings.worker!r}, which FTCORE_WORKER names; known: {', '.join(names)}"
        raise RecipeError(str(settings.workers), [("", fault)])
    return workers


def own(settings: Settings) -> Worker | None:
    """The worker that this process runs on; None where nobody said."""
    workers = load(settings)
    if settings.workers is None:
        return workers[0]
    return next((worker for worker in workers if worker.name == settings.worker), None)


def this_machine() -> Worker:
    """This machine, with no price and no power."""
    memory = _gpu_memory_gib()
    if memory:
        return Worker(name=LOCAL, device="cuda", memory_gib=memory)
    return Worker(name=LOCAL, memory_gib=round(_memory_bytes() / GIB, 2))


def _memory_bytes() -> int:
    """What this process may use: the machine's memory, or less where its container has a limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # "max" is no number: no limit
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return total


def _gpu_memory_gib() -> float | None:
    """Memory of the first NVIDIA GPU; None where there is none."""
    if not Path("/dev/nvidia0").exists():
        return None
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return round(float(done.stdout.splitlines()[0]) / 1024, 2)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
