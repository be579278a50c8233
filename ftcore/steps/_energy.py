"""What a training used: electricity by codecarbon, greenhouse gases, money and memory. No network is used."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore import workers
from ftcore.context import Context, log
from ftcore.sections_training import AUTO
from ftcore.steps import _attempts, _sizes
from ftcore.training.cost import START_S

if TYPE_CHECKING:
    from ftcore.sections_training import Train
    from ftcore.workers import Worker

EVERY_S = 15
"""Seconds between two looks at the power."""
LOOKS = 4
"""Looks after which what was used until then is kept."""
WORLD_G_PER_KWH = 475.0
"""CO2e of electricity where nobody said otherwise: codecarbon's figure for the world."""
POWER = {
    "intel_rapl": "its own meter (RAPL)",
    "intel_power_gadget": "its own meter",
    "apple_powermetrics": "its own meter",
    "cpu_load": "its load and the power that its kind may draw",
    "constant": "a constant share of the power that its kind may draw",
}
"""Where codecarbon has a processor's power from, by its name for that."""


@contextmanager
def measured(
    worker: Worker | None, keep: Callable[[Mapping[str, Any]], None] = lambda _: None
) -> Iterator[dict[str, Any]]:
    """Measure what happens until the ``with`` ends.

    Args:
        worker: this machine, where it is known.
        keep: called about every minute and at the end with what was used until then.

    Yields:
        An empty mapping that is filled at the end: ``worked_s``, ``energy_kwh``, ``co2e_g``, ``cost`` where the
        worker is known, ``peak_memory_bytes``, and ``energy_assumptions``, which the figures stand on. Energy is what
        codecarbon reads from the processor and the GPU, or where they tell nothing, estimates from their kind and load.
    """
    from codecarbon import OfflineEmissionsTracker
    from codecarbon.output_methods.base_output import BaseOutput

    class Kept(BaseOutput):  # type: ignore[misc]  # codecarbon has no types
        """What codecarbon tells from time to time."""

        def live_out(self, total: Any, delta: Any) -> None:
            """Keep what was used since the start."""
            del delta
            keep(_used(total.duration, total.energy_consumed, total.emissions, worker))

    used: dict[str, Any] = {}
    logging.getLogger("codecarbon").disabled = True  # it tells of itself before it hears its level
    tracker = OfflineEmissionsTracker(
        country_iso_code="USA",  # asked for, but the next line decides
        force_carbon_intensity_g_co2e_kwh=worker.carbon_g_per_kwh if worker else WORLD_G_PER_KWH,
        output_methods=[],
        output_handlers=[Kept()],
        api_call_interval=LOOKS,
        log_level="critical",
        measure_power_secs=EVERY_S,
        allow_multiple_runs=True,
    )
    started = time.monotonic()
    tracker.start()
    try:
        yield used
    finally:
        kilograms = tracker.stop()
        worked_s = time.monotonic() - started
        used |= _used(worked_s, tracker.final_emissions_data.energy_consumed, kilograms, worker)
        keep(used)
        used["energy_assumptions"] = _assumptions(tracker, worker)
        used["peak_memory_bytes"] = peak_bytes()


def _used(worked_s: float, kwh: float, kilograms: float | None, worker: Worker | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "worked_s": round(worked_s, 3),
        "energy_kwh": round(float(kwh), 9),
        "co2e_g": round(float(kilograms or 0) * 1000, 6),
    }
    if worker is not None:
        found |= {"worker": worker.name, "cost": round(worked_s / 3600 * worker.price_per_h, 6)}
    return found


def _assumptions(tracker: Any, worker: Worker | None) -> dict[str, Any]:
    """What the figures stand on: what was read or assumed of the hardware, of the electricity and of the price."""
    known = tracker.final_emissions_data
    modes = [mode for one in getattr(tracker, "_hardware", ()) if (mode := getattr(one, "_mode", None))]
    given = worker is not None and "carbon_g_per_kwh" in worker.model_fields_set
    return {
        "meter": f"codecarbon {known.codecarbon_version}",
        "scope": "the whole machine" if known.tracking_mode == "machine" else known.tracking_mode,
        "cpu": {
            "model": known.cpu_model,
            "power_w": known.cpu_power,
            "power_from": POWER.get(modes[0] if modes else "", "unknown"),
        },
        "gpu": {"model": known.gpu_model or None, "power_w": known.gpu_power},
        "memory": {"gib": round(known.ram_total_size, 1), "power_w": known.ram_power, "power_from": "its size"},
        "pue": known.pue,
        "carbon_g_per_kwh": worker.carbon_g_per_kwh if worker else WORLD_G_PER_KWH,
        "carbon_from": f"the worker {worker.name}" if worker and given else "codecarbon's figure for the world",
        "price_per_h": worker.price_per_h if worker else None,
        "looked_every_s": EVERY_S,
    }


def planned(context: Context) -> Train:
    """The recipe's ``train``, with the plan's strategy, in parts as small as the plan found that memory asks for."""
    train, estimate = context.recipe.train, estimate_of(context)
    if train.distributed.strategy == AUTO:
        strategy = (estimate or {}).get("strategy") or "ddp"
        distributed = train.distributed.model_copy(update={"strategy": strategy})
        train = train.model_copy(update={"distributed": distributed})
    share = train.batch_size // train.distributed.readers
    if estimate is None or train.micro_batch_tokens or estimate["rows_at_once"] >= estimate.get("batch_rows", share):
        return train
    return train.model_copy(update={"micro_batch_tokens": estimate["micro_batch_tokens"]})


def spent(
    context: Context, used: dict[str, Any], figures: dict[str, Any], earlier: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """What was used, for the record, with the speed, by which later plans estimate, and actual over estimated.

    Args:
        context: of the step.
        used: by this attempt.
        figures: of the training; one that went on from a checkpoint is not compared with its estimate.
        earlier: what interrupted attempts at this training used, which counts.
    """
    recipe, estimate = context.recipe, estimate_of(context)
    machines = recipe.train.distributed.machines  # one is measured, the others do the same
    used, *earlier = ({key: _of_all(key, value, machines) for key, value in one.items()} for one in (used, *earlier))
    found = {**_attempts.total(used, earlier), "method": recipe.method.kind}
    if estimate is None or figures.get("resumed"):
        return found
    by_epochs = _sizes.effort_of(context, figures["rows"]).rows is None
    done = min(1.0, figures["epochs"] / recipe.train.epochs) if by_epochs else 1.0
    found |= _speed(used["worked_s"], figures.get("seconds"), estimate, done)
    if total := estimate["memory_bytes"]["total"]:
        found["memory_vs_formula"] = used["peak_memory_bytes"] / (total / estimate.get("memory_factor", 1.0))
    pairs = {
        "hours": (used["worked_s"] / 3600, estimate["hours"]),
        "money": (used.get("cost"), estimate["money"]),
        "energy_kwh": (used["energy_kwh"], estimate["energy_kwh"]),
        "co2e_g": (used["co2e_g"], estimate["co2e_g"]),
        "memory": (used["peak_memory_bytes"], estimate["memory_bytes"]["total"]),
        "tokens_drawn": (figures.get("tokens_drawn"), estimate.get("tokens_drawn")),
    }
    ratios = {name: round(is_ / thought, 3) for name, (is_, thought) in pairs.items() if is_ is not None and thought}
    log.info("actual vs. estimated: %s", ", ".join(f"{name} {share:.0%}" for name, share in ratios.items()))
    return {**found, "actual_vs_estimated": ratios}


def _of_all(name: str, value: Any, machines: int) -> Any:
    """A figure of one machine as that of all of them."""
    return value * machines if name in ("energy_kwh", "co2e_g", "cost") else value


def _speed(worked_s: float, loop_s: float | None, estimate: dict[str, Any], done: float) -> dict[str, float]:
    """Seconds before and behind the loop, and operations a second in it: else a short training would seem slow."""
    if not worked_s:
        return {}
    loop_s = min(loop_s or worked_s, worked_s)
    compiling = max(0.0, estimate.get("start_s", 0.0) - START_S)  # of kernels, which the loop does once
    total = estimate["operations"] + estimate.get("waited_operations", 0.0)
    return {"start_s": worked_s - loop_s, "operations_per_s": total * done / max(loop_s - compiling, loop_s / 5)}


def estimate_of(context: Context) -> dict[str, Any] | None:
    """The plan's estimate for the worker that this is, or for the one that the plan chose."""
    figures, worker = context.earlier("plan").figures, workers.own(context.settings)
    known = figures.get("workers") or {}
    return known.get(worker.name) if worker and worker.name in known else figures.get("estimate")


def peak_bytes() -> int:
    """Most memory held: of the GPU where there is one, else by this process since it was started."""
    import resource

    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.is_file():  # Linux counts into getrusage's peak what the process held that started this one
        return int(status.read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
