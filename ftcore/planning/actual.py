"""What a training came to, beside what was planned: for the record, for the card, and for the next plan."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ftcore.context import Context
from ftcore.training import attempts, planned
from ftcore.training.cost import START_S

log = logging.getLogger(__name__)


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
    recipe, estimate = context.recipe, planned.estimate_of(context)
    machines = recipe.train.distributed.machines  # one is measured, the others do the same
    used, *earlier = ({key: _of_all(key, value, machines) for key, value in one.items()} for one in (used, *earlier))
    found = {**attempts.total(used, earlier), "method": recipe.method.kind}
    if estimate is None or figures.get("resumed"):
        return found
    by_epochs = context.recipe.method.effort(context.recipe, figures["rows"]).rows is None
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
