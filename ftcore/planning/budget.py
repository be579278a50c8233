"""What ``plan`` says of an estimate: go, ask a person, or refuse, with the words for it."""

from __future__ import annotations

import logging
from typing import Any

from ftcore.context import Context
from ftcore.errors import MissingExtraError, NotFoundError
from ftcore.models import window
from ftcore.planning import estimates, sizes
from ftcore.planning.estimates import MEASURED
from ftcore.recipe.training_sections import Budget
from ftcore.training import workers

log = logging.getLogger(__name__)

APPROVED = "approved"
MINUTE_H = 1 / 60
UNITS = {"hours": "h", "money": "", "energy_kwh": "kWh", "co2e_g": "g CO2e"}


def judge(context: Context, identity: str, rows: int) -> tuple[str, str, dict[str, Any]]:
    """Estimate the training on every worker and compare the cheapest that can do it with the recipe's budget.

    Returns:
        ``go``, ``needs approval`` or ``refused``; why; and the figures: ``estimate`` of the chosen worker, and
        ``workers``, the estimates of all by name.
    """
    budget, approved = context.recipe.plan.budget, context.params.get("budget") == APPROVED
    known = {worker.name: worker for worker in workers.load(context.settings)}
    try:
        wanted = sizes.need(context, identity, rows, {worker.device for worker in known.values()})
    except (MissingExtraError, NotFoundError) as error:
        log.warning("no estimate here: %s", error)
        if approved or not _limits(budget):
            return "go", "", {"estimate": None}
        return "needs approval", "the base model is not here to estimate by, and the recipe has a budget", {}
    found = {name: estimates.estimate(context, wanted, worker) for name, worker in known.items()}
    able = sorted((one for one in found.values() if one["fits"]), key=_price)
    if not able:
        roomiest = max(known.values(), key=lambda one: (one.device in wanted.devices, one.memory_gib))
        needed = found[roomiest.name]["memory_bytes"]["total"] / workers.GIB
        why = f"it needs {needed:.1f} GiB on {roomiest.name}, which has {roomiest.memory_gib:.1f}; "
        why = why if roomiest.device in wanted.devices else ""
        factor = found[roomiest.name]["memory_factor"]
        return "refused", why + estimates.remedy(context, wanted, roomiest, factor), {"workers": found}
    chosen = able[0]
    figures = {"estimate": chosen, "workers": found, "lengths": wanted.cuts}
    if wanted.cuts and wanted.cuts["cut"]:
        log.info("%s", window.words(wanted.cuts))
    log.info("estimate on %s: %s", chosen["worker"], words(chosen))
    over = list(_over(budget, chosen))
    if over and not approved:
        return "needs approval", f"{'; '.join(over)} (on {chosen['worker']})", figures
    return "go", "", figures


def words(estimate: dict[str, Any]) -> str:
    """An estimate in one line."""
    parts = [f"{estimate['memory_bytes']['total'] / workers.GIB:.1f} GiB", f"{estimate['tokens']:,} tokens"]
    if estimate["tokens_drawn"]:
        parts.append(f"{estimate['tokens_drawn']:,} drawn at most")
    if estimate["hours"] is not None:
        parts.append(_duration(estimate))
    parts += [
        f"{estimate[name]:.3g} {unit or name}" for name, unit in UNITS.items() if name != "hours" and estimate[name]
    ]
    if estimate["trainings"] > 1:
        parts.append(f"each, of the equivalent of {estimate['trainings']:.3g} trainings")
    parts.append(f"{estimate['rows_at_once']} rows at once, {estimate['accumulation']} times a step")
    return ", ".join(parts)


def how_to_approve(context: Context) -> str:
    """The command that approves."""
    return f"ftcore run {context.recipe.name} --run {context.run_id} --only finetune --param budget={APPROVED}"


def _over(budget: Budget, estimate: dict[str, Any]) -> Any:
    for name, limit in _limits(budget).items():
        expected, unit = estimate[name], UNITS[name]
        if expected is None:
            yield f"{name} cannot be estimated, and the budget is {limit:g} {unit}".rstrip()
        elif expected * estimate["trainings"] > limit:
            times = f", worth {estimate['trainings']:.3g} trainings" if estimate["trainings"] > 1 else ""
            yield f"{name}: {expected * estimate['trainings']:.3g} {unit} expected{times}, the budget is {limit:g}"


def _limits(budget: Budget) -> dict[str, float]:
    return {name: limit for name, limit in budget.model_dump().items() if limit is not None}


def _price(estimate: dict[str, Any]) -> tuple[float, float]:
    """Cheapest first, then fastest; what is not known comes last."""
    return tuple(float("inf") if estimate[name] is None else estimate[name] for name in ("money", "hours"))  # type: ignore[return-value]


def _duration(estimate: dict[str, Any]) -> str:
    """The time with its interval, and where it comes from; of a short training that nobody measured, just so much."""
    least, most = estimate["hours_interval"]
    if estimate["hours_from"] != MEASURED and estimate["hours"] < MINUTE_H:
        return "about a minute or less (no training was measured on this worker yet)"
    return f"{duration(estimate['hours'])} ({duration(least)} to {duration(most)}, from {estimate['hours_from']})"


def duration(hours: float) -> str:
    """Hours in words, with a unit that suits."""
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min" if hours >= 1 / 60 else f"{hours * 3600:.0f} s"
