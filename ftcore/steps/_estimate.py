"""The estimate that ``plan`` makes before anything is spent: for each worker memory, hours, energy and money."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from ftcore import base, snapshot, workers
from ftcore._find import find
from ftcore.context import Context, log
from ftcore.training import cost

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from ftcore.workers import Worker

SAMPLE = 2000
"""Rows whose length is measured."""
ALL_DEVICES = ("cpu", "cuda")
GUESSED = (0.15, 0.35, 0.7)
"""Least, likely and most share of a machine's matrix products that a training reaches, where none was measured."""
KNOWN = 0.2
"""Least half-width of an interval from earlier runs, as a share."""
RUNS = 5
"""Earlier runs that are looked at."""
SHORTEST = 32
"""Tokens below which no shorter text is proposed."""


@dataclass(frozen=True)
class Need:
    """What the recipe asks for, whoever does it."""

    shape: cost.Shape
    work: cost.Work
    batch_rows: int
    devices: tuple[str, ...]


def need(context: Context, identity: str, rows: int) -> Need:
    """Sizes of model and work: a skeleton without weights, and the real lengths of a sample of the rows.

    Raises:
        MissingExtraError: the base model is not here.
    """
    from ftcore.training import loading

    recipe, method = context.recipe, _method(context)
    folder = base.resolve(recipe.base, context.settings, context.recipe_path.parent, weights=False)
    tokenizer = loading.tokenizer(folder)
    shape = _shape(context, folder, tokenizer)
    lengths = {split: _lengths(context, identity, split, tokenizer) for split in ("train", "validation")}
    passes = method.reads(recipe.method, recipe, rows) if hasattr(method, "reads") else rows * recipe.train.epochs
    judged = context_rows(context, identity, "validation") * recipe.train.epochs * recipe.train.evaluations_per_epoch
    work = cost.Work(
        tokens=passes * mean(lengths["train"]),
        longest=max(lengths["train"]),
        judged_tokens=judged * mean(lengths["validation"]),
    )
    return Need(shape, work, recipe.train.batch_size, getattr(method, "DEVICES", ALL_DEVICES))


def estimate(context: Context, wanted: Need, worker: Worker) -> dict[str, Any]:
    """Memory, tokens, hours with their interval, energy, CO2e and money on one worker; ``fits`` tells whether it can.

    All is for one training; ``trainings`` tells how many the run is worth at most. What cannot be known is None: hours
    on a machine that nobody has measured, energy where no power is given.
    """
    rows = cost.rows_at_once(wanted.shape, wanted.work, wanted.batch_rows, worker.device, worker.memory_gib)
    memory = cost.memory_bytes(wanted.shape, max(rows, 1) * wanted.work.longest, worker.device)
    total = cost.operations(wanted.shape, wanted.work)
    slow, likely, fast = rates(context, worker)
    hours, most, least = (total / rate / 3600 if rate else None for rate in (likely, slow, fast))
    power = worker.power_w or power_w(context, worker)
    energy = hours * power / 1000 if hours is not None and power else None
    return {
        "worker": worker.name,
        "device": worker.device,
        "fits": rows > 0 and worker.device in wanted.devices,
        "memory_bytes": {name: round(size) for name, size in memory.items()},
        "rows_at_once": rows,
        "micro_batch_tokens": rows * wanted.work.longest,
        "accumulation": -(-wanted.batch_rows // rows) if rows else None,
        "trainings": trainings(context, hours),
        "tokens": round(wanted.work.tokens),
        "operations": total,
        "hours": hours,
        "hours_interval": [least, most],
        "energy_kwh": energy,
        "co2e_g": energy * worker.carbon_g_per_kwh if energy is not None else None,
        "money": hours * worker.price_per_h if hours is not None else (0.0 if not worker.price_per_h else None),
    }


def trainings(context: Context, hours: float | None) -> float:
    """How many trainings the run is worth at most: the one that counts, the folds, and the trials or their time."""
    search, folds = context.recipe.search, context.recipe.train.folds
    trials = float(search.trials) if search else 0.0
    if search and search.minutes and hours:
        trials = min(trials, search.minutes / 60 * search.workers / hours)
    return 1 + folds + trials


def remedy(context: Context, wanted: Need, worker: Worker) -> str:
    """The change that makes it fit on a worker, in a recipe's words."""
    if worker.device not in wanted.devices:
        return f"{context.recipe.method.kind} needs {' or '.join(wanted.devices)}: add such a worker, or take lora"
    saving = replace(wanted.shape, checkpointing=True)
    changes = [("train.gradient_checkpointing: true", saving, wanted.work)]
    length = context.recipe.train.max_length_tokens // 2
    while length >= SHORTEST:
        shorter = replace(wanted.work, longest=min(length, wanted.work.longest))
        changes.append((f"train.max_length_tokens: {length}", wanted.shape, shorter))
        length //= 2
    few = replace(wanted.shape, trainable=min(wanted.shape.trainable, wanted.shape.weights // 100))
    saving = replace(few, checkpointing=True)
    changes.append(("method: {kind: lora}", few, wanted.work))
    changes.append(("method: {kind: lora} and train.gradient_checkpointing: true", saving, wanted.work))
    if worker.device == "cuda":
        four = replace(few, weight_bytes=0.56, checkpointing=True)
        changes.append(("method: {kind: qlora} and train.gradient_checkpointing: true", four, wanted.work))
    for words, shape, work in changes:
        if cost.rows_at_once(shape, work, 1, worker.device, worker.memory_gib):
            return f"{words} would make it fit on {worker.name}"
    total = cost.memory_bytes(wanted.shape, wanted.work.longest, worker.device)["total"]
    return f"it takes a worker with {total / cost.USABLE / workers.GIB:.1f} GiB"


def context_rows(context: Context, identity: str, split: str) -> int:
    """Rows of a split."""
    return sum(table.num_rows for table in snapshot.batches(context.shelf, identity, [split], ["row_id"]))


def _shape(context: Context, folder: Path, tokenizer: Any) -> cost.Shape:
    """Count on a model that has shapes and no numbers."""
    import torch
    import transformers

    from ftcore.training import loading, precision

    recipe, method = context.recipe, _method(context)
    architecture = getattr(find("tasks", recipe.task.kind), "ARCHITECTURE", "AutoModelForSequenceClassification")

    def without_weights() -> Any:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        return getattr(transformers, architecture).from_config(config)

    with torch.device("meta"):
        skeleton = loading.model(without_weights, folder, tokenizer)
        config = skeleton.config
        lookups = [module for module in skeleton.modules() if isinstance(module, torch.nn.Embedding)]
        embedding = sum(module.weight.numel() for module in lookups)
        apply = getattr(method, "sketch", method.apply)
        model = apply(recipe.method, skeleton, tokenizer)
    text = config.get_text_config()
    language = architecture.endswith(("LM", "Seq2SeqLM"))
    return cost.Shape(
        weights=sum(p.numel() for p in model.parameters()),
        # Where input and output share their weights they are looked up and multiplied.
        embedding_weights=0 if language and getattr(config, "tie_word_embeddings", False) else embedding,
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        layers=int(text.num_hidden_layers),
        width=int(text.hidden_size),
        outputs=int(text.vocab_size) if language else 0,
        weight_bytes=getattr(method, "WEIGHT_BYTES", 4),
        checkpointing=recipe.train.gradient_checkpointing,
        half=precision.chosen(recipe.train.precision) == "bf16",
    )


def _lengths(context: Context, identity: str, split: str, tokenizer: Any) -> list[int]:
    """Tokens of a sample of the rows, evenly drawn, as the task encodes them."""
    recipe = context.recipe
    table = snapshot.read(context.shelf, identity, [split])
    chosen = table.take(list(range(0, table.num_rows, max(1, table.num_rows // SAMPLE))))
    task = find("tasks", recipe.task.kind)
    return task.encode(recipe.task, tokenizer, chosen, recipe.train.max_length_tokens).lengths or [1]


def rates(context: Context, worker: Worker) -> tuple[float, float, float] | tuple[None, None, None]:
    """Operations a second, least, likely and most: from earlier runs there, or from its matrix products."""
    known = [run["operations_per_s"] for run in _earlier(context, worker) if run.get("operations_per_s")]
    if known:
        likely = mean(known)
        spread = max(KNOWN, 2 * stdev(known) / likely if len(known) > 1 else 0.5)
        return likely / (1 + spread), likely, likely * (1 + spread)
    if worker.tflops:
        peak = worker.tflops * 1e12
    elif worker == workers.own(context.settings):
        peak = _matrix_products_per_s()
    else:
        return None, None, None
    low, likely_share, high = GUESSED
    return peak * low, peak * likely_share, peak * high


def power_w(context: Context, worker: Worker) -> float | None:
    """Watts of earlier runs on a worker."""
    runs = [run for run in _earlier(context, worker) if run.get("energy_kwh") and run.get("seconds")]
    return mean(run["energy_kwh"] * 3.6e6 / run["seconds"] for run in runs) if runs else None


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


def _method(context: Context) -> ModuleType:
    return find("methods", context.recipe.method.kind)
