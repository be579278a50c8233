"""What a training used: electricity by codecarbon, greenhouse gases, money and memory. No network is used."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftcore.training.workers import Worker

log = logging.getLogger(__name__)

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
