"""Sizes of model and work that an estimate starts from: a skeleton without weights, and the rows' real lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ftcore import base, snapshot
from ftcore._find import find
from ftcore.context import Context
from ftcore.errors import NotEnoughDataError
from ftcore.sections_training import AUTO
from ftcore.training import cost

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    import pyarrow as pa

    from ftcore.recipe import Recipe

SAMPLE = 2000
"""Rows whose length is measured."""
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Need:
    """What the recipe asks for, whoever does it."""

    shapes: dict[str, cost.Shape]
    """The model, by the device that it is calculated on."""
    work: cost.Work
    devices: tuple[str, ...]
    """Kinds of device that can do it."""


def need(context: Context, identity: str, rows: int) -> Need:
    """Sizes of model and work.

    Raises:
        MissingExtraError: the base model is not here.
        NotEnoughDataError: the rows do not suffice for the task.
        DataRejectedError: it cannot learn from them.
    """
    from ftcore.training import loading

    recipe, method = context.recipe, method_of(context.recipe)
    folder = base.resolve(recipe.base, context.settings, context.recipe_path.parent, weights=False)
    tokenizer = loading.tokenizer(folder)
    tables = {split: snapshot.read(context.shelf, identity, [split]) for split in ("train", "validation")}
    _can_be_learnt(context, tables)
    shapes = {device: _shape(context, folder, tokenizer, device) for device in DEVICES}
    train, validation = (_lengths(context, split, table, tokenizer) for split, table in tables.items())
    passes = method.reads(recipe.method, recipe, rows) if hasattr(method, "reads") else rows * recipe.train.epochs
    judged = count(context, identity, "validation") * recipe.train.epochs * recipe.train.evaluations_per_epoch
    work = cost.Work(
        tokens=passes * train.mean,
        longest=train.longest,
        judged_tokens=judged * validation.mean,
        judged_longest=validation.longest,
        batch_rows=max(1, min(recipe.train.batch_size, rows) // recipe.train.distributed.readers),
    )
    able = [device for device in DEVICES if all(device in one.devices for one in choosy(recipe))]
    return Need(shapes, work, tuple(able))


class Choosy(NamedTuple):
    """What a recipe names that cannot be done on every kind of device."""

    path: str
    kind: str
    devices: tuple[str, ...]
    instead: str
    """What can be done on any."""


def choosy(recipe: Recipe) -> list[Choosy]:
    """Method and strategy, where they need a certain kind of device."""
    asked = recipe.train.distributed
    named = [("method.kind", "methods", recipe.method.kind, "lora")]
    if asked.total > 1 and asked.strategy != AUTO:
        named.append(("train.distributed.strategy", "strategies", asked.strategy, "fsdp2"))
    known = [(path, kind, getattr(find(room, kind), "DEVICES", None), instead) for path, room, kind, instead in named]
    return [Choosy(path, kind, devices, instead) for path, kind, devices, instead in known if devices]


_CLASSIFIER = "AutoModelForSequenceClassification"


def count(context: Context, identity: str, split: str) -> int:
    """Rows of a split."""
    return sum(table.num_rows for table in snapshot.batches(context.shelf, identity, [split], ["row_id"]))


def method_of(recipe: Recipe) -> ModuleType:
    """The recipe's method."""
    return find("methods", recipe.method.kind)


def _shape(context: Context, folder: Path, tokenizer: Any, device: str) -> cost.Shape:
    """Count on a model that has shapes and no numbers."""
    import torch
    import transformers

    from ftcore.training import activations, dropout, loading, precision

    recipe, method = context.recipe, method_of(context.recipe)
    task = find("tasks", recipe.task.kind)
    architecture = getattr(recipe.task, "architecture", getattr(task, "ARCHITECTURE", _CLASSIFIER))
    half = precision.expected(recipe.train.precision, device) == "bf16"

    def without_weights() -> Any:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        return getattr(transformers, architecture).from_config(config, dtype=torch.float32)

    with torch.device("meta"):
        skeleton = loading.model(without_weights, folder, tokenizer)
        if recipe.train.dropout is not None:
            dropout.set_chance(skeleton, recipe.train.dropout)
        config = skeleton.config
        lookups = {m.weight for m in skeleton.modules() if isinstance(m, torch.nn.Embedding)}  # several may share one
        embedding = sum(weight.numel() for weight in lookups)
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
        half=half,
        kept=activations.kept(model, device, half=half),
    )


@dataclass(frozen=True)
class _Lengths:
    mean: float
    """Tokens of a row of the snapshot, which may be read in several pieces."""
    longest: int
    """Tokens of the longest row, or sequence where several rows share one."""


def _can_be_learnt(context: Context, tables: dict[str, pa.Table]) -> None:
    """What ``train`` would refuse is refused before it waits for a worker."""
    for split, table in tables.items():
        if not table.num_rows:
            raise NotEnoughDataError(
                f"the {split} split has no row",
                hint="add rows, or change the shares in prepare; rows of one group, or of one text, are never parted",
            )
    find("tasks", context.recipe.task.kind).check(context.recipe.task, tables)


def _lengths(context: Context, split: str, table: pa.Table, tokenizer: Any) -> _Lengths:
    """Of a sample of the rows, evenly drawn, as the task encodes and the loop packs them."""
    from ftcore.training import batches

    recipe = context.recipe
    chosen = table.take(list(range(0, table.num_rows, max(1, table.num_rows // SAMPLE))))
    task, limit = find("tasks", recipe.task.kind), recipe.train.max_length_tokens
    rows = task.encode(recipe.task, tokenizer, chosen, limit)
    packed = recipe.train.packing and rows.packable and not hasattr(method_of(recipe), "fit")
    read: Any = batches.Packed(rows, limit) if packed else rows
    # An epoch of several parts has of each as much as its weight says; judging reads every row once.
    epoch = batches.ordered(read, recipe.train.batch_size, recipe.train.seed) if split == "train" else rows
    return _Lengths(epoch.tokens / chosen.num_rows, max(read.lengths or [1]))
