"""The estimate that ``plan`` makes before anything is spent: for each worker memory, hours, energy and money."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from ftcore.context import Context
from ftcore.planning import sizes
from ftcore.training import cost, workers
from ftcore.training.strategies.ddp import Ddp
from ftcore.training.strategies.fsdp2 import Fsdp2

if TYPE_CHECKING:
    from ftcore.planning.sizes import TrainingRequirements
    from ftcore.recipe.training_sections import Search
    from ftcore.training.strategies._base import Strategy
    from ftcore.training.workers import Worker

log = logging.getLogger(__name__)

GUESSED = (0.15, 0.35, 0.7)
"""Least, likely and most share of a machine's matrix products that a training reaches, where none was measured."""
KNOWN = 0.2
"""Least half-width of an interval from earlier runs, as a share."""
FACTORS = (0.7, 2.5)
"""Least and most that measured memory corrects the formula by."""
MEASURED = "earlier trainings"
RUNS = 5
"""Earlier runs that are looked at."""
SHORTEST = 32
"""Tokens below which no shorter text is proposed."""


def estimate(context: Context, wanted: TrainingRequirements, worker: Worker) -> dict[str, Any]:
    """Memory, tokens, hours with their interval, energy, CO2e and money on one worker; ``fits`` tells whether it can.

    Memory is that of one process; where several train, ``strategy`` is how, and ``strategy_reason`` says why. All is
    for one training; ``trainings`` tells how many the run is expected to be worth, with its trials and folds. What
    cannot be known is None: hours on a machine that nobody has measured, energy where no power is given.
    """
    shape, work, machines = wanted.shapes[worker.device], wanted.work, context.recipe.train.distributed.machines
    strategy, reason, held = _strategy(context, wanted, worker)
    factor = _memory_factor(context, worker)
    rows = cost.rows_at_once(shape, work, worker.device, memory_gib(context, worker) / factor, held)
    memory = cost.memory_bytes(shape, work, max(rows, 1), worker.device, held)
    memory = {name: size * factor for name, size in memory.items()}
    total, waited = cost.operations(shape, work), cost.waiting(shape, work, max(rows, 1), worker.device)
    slow, likely, fast = rates(context, worker)
    start = start_s(context, worker, shape, work)
    hours, most, least = ((start + (total + waited) / rate) / 3600 if rate else None for rate in (likely, slow, fast))
    power = worker.power_w or power_w(context, worker)
    energy = hours * machines * power / 1000 if hours is not None and power else None
    money = None if hours is None else hours * machines * worker.price_per_h
    return {
        "worker": worker.name,
        "device": worker.device,
        "strategy": strategy.kind,
        "strategy_reason": reason,
        "fits": rows > 0 and worker.device in wanted.devices,
        "memory_bytes": {name: round(size) for name, size in memory.items()},
        "batch_rows": work.batch_rows,
        "rows_at_once": rows,
        "micro_batch_tokens": rows * work.effort.together * work.longest,
        "accumulation": -(-work.batch_rows // min(rows, work.effort.learns or rows)) if rows else None,
        "trainings": trainings(context, worker, hours),
        "tokens": round(work.tokens),
        "tokens_read": round(work.read_tokens + work.judged_tokens),
        "tokens_drawn": round(work.drawn_tokens),
        "operations": total,
        "waited_operations": waited,
        "hours": hours,
        "hours_interval": [least, most],
        "hours_from": _rate_source(context, worker) if likely else None,
        "start_s": start,
        "memory_factor": factor,
        "energy_kwh": energy,
        "co2e_g": energy * worker.carbon_g_per_kwh if energy is not None else None,
        "money": 0.0 if money is None and not worker.price_per_h else money,
    }


def _strategy(
    context: Context, wanted: TrainingRequirements, worker: Worker
) -> tuple[Strategy, str, cost.ProcessMemory | None]:
    """How the processes share the model, why, and what each then holds."""
    asked, shape = context.recipe.train.distributed, wanted.shapes[worker.device]
    if asked.total == 1:
        return Ddp(), "one process trains", None
    if asked.chosen:
        return asked.chosen, "the recipe names it", asked.chosen.held(shape, asked.total)
    has = memory_gib(context, worker)
    whole = Ddp().held(shape, asked.total)
    one = cost.memory_bytes(shape, wanted.work, 1, worker.device, whole)["total"] / workers.GIB
    said = f"a whole model takes {one:.1f} GiB in each process on {worker.name}, which has {has:.1f}"
    cannot = any(Fsdp2().faults(context.recipe))
    if cannot or cost.rows_at_once(shape, wanted.work, worker.device, has, whole):
        return Ddp(), said, whole
    return Fsdp2(), said, Fsdp2().held(shape, asked.total)


def memory_gib(context: Context, worker: Worker) -> float:
    """What one process has: a GPU of its own, or its share of the machine's memory."""
    return worker.memory_gib / (context.recipe.train.distributed.processes if worker.device == "cpu" else 1)


def trainings(context: Context, worker: Worker, hours: float | None) -> float:
    """How many trainings the run is expected to be worth: the one that counts, the folds, and the trials or their time.

    A fold is trained on without its own rows. Of the trials those that are worse than the median end early. Both train
    in one process, and so as many times as long where several GPUs of a machine share the training.
    """
    search, train = context.recipe.search, context.recipe.train
    trials = search.trials * _tried(context, search) if search else 0.0
    slower = train.distributed.processes if worker.device == "cuda" else 1
    if search and search.minutes and hours:
        trials = min(trials, search.minutes / 60 * search.workers / (hours * slower))
    return 1 + slower * (max(0, train.folds - 1) + trials)


def _tried(context: Context, search: Search) -> float:
    """Share of a whole training that a trial is worth: of earlier searches, else as if half of them were worse.

    Those are ended by the first evaluation after the random trials.
    """
    if known := _searched(context):
        return mean(known)
    train = context.recipe.train
    looks = max(1.0, train.epochs * train.evaluations_per_epoch)
    judged = max(0, search.trials - search.random_trials) / search.trials if search.prune else 0.0
    return 1 - judged * (1 - 1 / looks) / 2


def remedy(context: Context, wanted: TrainingRequirements, worker: Worker, factor: float = 1.0) -> str:
    """The change that makes it fit on a worker, in a recipe's words; memory is ``factor`` times the formula's."""
    for choice in sizes.choosy(context.recipe):
        if worker.device not in choice.devices:
            return f"{choice.kind} needs {' or '.join(choice.devices)}: add such a worker, or take {choice.instead}"
    asked, has = context.recipe.train.distributed, memory_gib(context, worker) / factor
    strategy = _strategy(context, wanted, worker)[0]

    def held(shape: cost.ModelShape, how: Strategy = strategy) -> cost.ProcessMemory | None:
        return how.held(shape, asked.total) if asked.total > 1 else None

    def least(work: cost.Work) -> cost.Work:
        return replace(work, batch_rows=min(work.batch_rows, work.effort.least))

    for words, shape, work in _changes(context, wanted, worker):
        if cost.rows_at_once(shape, least(work), worker.device, has, held(shape)):
            return f"{words} would make it fit on {worker.name}"
    shape, one = wanted.shapes[worker.device], least(wanted.work)
    if isinstance(strategy, Ddp) and cost.rows_at_once(shape, one, worker.device, has, held(shape, Fsdp2())):
        return f"train.distributed.strategy: fsdp2 would make it fit on {worker.name}"
    total = cost.memory_bytes(shape, one, one.batch_rows, worker.device, held(shape))["total"]
    return f"needs a worker with {total / cost.USABLE / workers.GIB * worker.memory_gib / has:.1f} GiB"


def _changes(
    context: Context, wanted: TrainingRequirements, worker: Worker
) -> Iterator[tuple[str, cost.ModelShape, cost.Work]]:
    """Changes that save memory, in a recipe's words, the least harmful first."""
    shape, work, method = wanted.shapes[worker.device], wanted.work, context.recipe.method
    drawn = work.effort.drawn
    if not work.effort.plain:
        yield "train.gradient_checkpointing: true", replace(shape, checkpointing=True), work
    length = context.recipe.train.max_length_tokens // 2
    while length >= max(SHORTEST, drawn + 1):
        longest, judged = min(length, work.longest), min(length, work.judged_longest)
        yield f"train.max_length_tokens: {length}", shape, replace(work, longest=longest, judged_longest=judged)
        length //= 2
    if drawn > 1:
        half = replace(work.effort, drawn=drawn // 2)
        yield (
            f"method.answer_tokens: {drawn // 2}",
            shape,
            replace(work, longest=work.longest - drawn // 2, effort=half),
        )
    few = replace(shape, trainable=min(shape.trainable, shape.weights // 100))
    saving = few if work.effort.plain else replace(few, checkpointing=True)
    if method.lacks_adapter():
        yield "method.adapter: {}", saving, replace(work, effort=replace(work.effort, copies=0))
    if not method.REPLACEABLE:
        return
    yield "method: {kind: lora}", few, work
    yield "method: {kind: lora} and train.gradient_checkpointing: true", saving, work
    if worker.device == "cuda" and context.recipe.train.distributed.total == 1:
        four = replace(saving, weight_bytes=0.56)
        yield "method: {kind: qlora} and train.gradient_checkpointing: true", four, work


def rates(context: Context, worker: Worker) -> tuple[float, float, float] | tuple[None, None, None]:
    """Operations a second, least, likely and most: from earlier runs there, or from its matrix products."""
    known = [run["operations_per_s"] for run in _earlier(context, worker) if run.get("operations_per_s")]
    if known:
        likely = mean(known)
        spread = max(KNOWN, 2 * stdev(known) / likely if len(known) > 1 else 0.5)
        return likely / (1 + spread), likely, likely * (1 + spread)
    asked = context.recipe.train.distributed
    if worker.tflops:
        peak = worker.tflops * 1e12 * (asked.total if worker.device == "cuda" else asked.machines)
    elif worker == workers.own(context.settings):
        peak = _matrix_products_per_s() * (asked.total if worker.device == "cuda" else asked.machines)
    else:
        return None, None, None
    low, likely_share, high = GUESSED
    return peak * low, peak * likely_share, peak * high


def _rate_source(context: Context, worker: Worker) -> str:
    """Where the speed comes from, in words."""
    if any(run.get("operations_per_s") for run in _earlier(context, worker)):
        return MEASURED
    return "the worker's tflops" if worker.tflops else "this machine's matrix products"


def start_s(context: Context, worker: Worker, shape: cost.ModelShape, work: cost.Work) -> float:
    """Seconds that do not depend on how many tokens are read: of earlier runs there, else a formula."""
    known = [run["start_s"] for run in _earlier(context, worker) if run.get("start_s") is not None]
    formula = cost.start_s(shape, work, worker.device)
    return formula - cost.START_S + mean(known) if known else formula


def _memory_factor(context: Context, worker: Worker) -> float:
    """What the formula is multiplied with: memory that earlier trainings took there, over what it gave for them."""
    known = [run["memory_vs_formula"] for run in _earlier(context, worker) if run.get("memory_vs_formula")]
    least, most = FACTORS
    return min(most, max(least, mean(known))) if known else 1.0


def power_w(context: Context, worker: Worker) -> float | None:
    """Watts of earlier runs on a worker."""
    runs = [run for run in _earlier(context, worker) if run.get("energy_kwh") and _worked_s(run)]
    return mean(run["energy_kwh"] * 3.6e6 / _worked_s(run) for run in runs) if runs else None


def _earlier(context: Context, worker: Worker) -> list[dict[str, Any]]:
    """Figures of the last trainings of this recipe on a worker with the same method."""
    wanted = (worker.name, context.recipe.method.kind)
    found: list[dict[str, Any]] = []
    for line in reversed(context.shelf.ledger("plan")):
        if line["decision"] != "train" or line["run_id"] == context.run_id or len(found) == RUNS:
            continue
        record = context.shelf.record(line["run_id"], "train")
        if record and (record.figures.get("worker"), record.figures.get("method")) == wanted:
            found.append(record.figures)
    return found


def _searched(context: Context) -> list[float]:
    """Of the last searches of this recipe, the share of a training's time that a trial took in the mean."""
    found = []
    for line in reversed(context.shelf.ledger("plan")):
        tuned, trained = (context.shelf.record(line["run_id"], step) for step in ("tune", "train"))
        if tuned and trained and tuned.figures.get("worked_s") and _worked_s(trained.figures):
            found.append(tuned.figures["worked_s"] / tuned.figures["trials"]["all"] / _worked_s(trained.figures))
    return found[:RUNS]


def _worked_s(figures: dict[str, Any]) -> float:
    """Seconds that a training took, by its own clock where it is an old one."""
    return float(figures.get("worked_s") or figures.get("seconds") or 0)


def _matrix_products_per_s(size: int = 1024, seconds: float = 0.5) -> float:
    """Measured here: float32 operations a second of a square matrix product."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    one = torch.rand(size, size, device=device)
    float((one @ one)[0, 0])
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        float((one @ one)[0, 0])  # reading a number waits for the GPU
        count += 1
    rate = count * 2 * size**3 / (time.perf_counter() - started)
    log.info("this machine does %.0f GFLOP/s of matrix products", rate / 1e9)
    return rate
