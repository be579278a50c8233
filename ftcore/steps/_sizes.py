"""Sizes of model and work that an estimate starts from: a skeleton without weights, and the rows' real lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftcore import base, snapshot
from ftcore._find import find
from ftcore.context import Context
from ftcore.errors import NotEnoughDataError
from ftcore.training import cost

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

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
        NotEnoughDataError: the training or the validation split has no row.
    """
    from ftcore.training import loading

    recipe, method = context.recipe, method_of(context)
    folder = base.resolve(recipe.base, context.settings, context.recipe_path.parent, weights=False)
    tokenizer = loading.tokenizer(folder)
    shapes = {device: _shape(context, folder, tokenizer, device) for device in DEVICES}
    train = _lengths(context, identity, "train", tokenizer)
    validation = _lengths(context, identity, "validation", tokenizer)
    passes = method.reads(recipe.method, recipe, rows) if hasattr(method, "reads") else rows * recipe.train.epochs
    judged = count(context, identity, "validation") * recipe.train.epochs * recipe.train.evaluations_per_epoch
    work = cost.Work(
        tokens=passes * train.mean,
        longest=train.longest,
        judged_tokens=judged * validation.mean,
        judged_longest=validation.longest,
        batch_rows=recipe.train.batch_size // recipe.train.distributed.readers,
    )
    return Need(shapes, work, getattr(method, "DEVICES", DEVICES))


_CLASSIFIER = "AutoModelForSequenceClassification"


def count(context: Context, identity: str, split: str) -> int:
    """Rows of a split."""
    return sum(table.num_rows for table in snapshot.batches(context.shelf, identity, [split], ["row_id"]))


def method_of(context: Context) -> ModuleType:
    """The recipe's method."""
    return find("methods", context.recipe.method.kind)


def _shape(context: Context, folder: Path, tokenizer: Any, device: str) -> cost.Shape:
    """Count on a model that has shapes and no numbers."""
    import torch
    import transformers

    from ftcore.training import activations, dropout, loading, precision

    recipe, method = context.recipe, method_of(context)
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
        half=half,
        kept=activations.kept(model, device, half=half),
    )


@dataclass(frozen=True)
class _Lengths:
    mean: float
    """Tokens of a row of the snapshot, which may be read in several pieces."""
    longest: int
    """Tokens of the longest row, or sequence where several rows share one."""


def _lengths(context: Context, identity: str, split: str, tokenizer: Any) -> _Lengths:
    """Of a sample of the rows, evenly drawn, as the task encodes and the loop packs them.

    Raises:
        NotEnoughDataError: the split has no row.
    """
    from ftcore.training import batches

    recipe = context.recipe
    table = snapshot.read(context.shelf, identity, [split])
    if not table.num_rows:
        raise NotEnoughDataError(
            f"the {split} split of snapshot {identity} has no row",
            hint="add rows, or change the shares in prepare; rows of one group, or of one text, are never parted",
        )
    chosen = table.take(list(range(0, table.num_rows, max(1, table.num_rows // SAMPLE))))
    task, limit = find("tasks", recipe.task.kind), recipe.train.max_length_tokens
    rows = task.encode(recipe.task, tokenizer, chosen, limit)
    packed = recipe.train.packing and rows.packable and not hasattr(method_of(context), "fit")
    read: Any = batches.Packed(rows, limit) if packed else rows
    # An epoch of several parts has of each as much as its weight says; judging reads every row once.
    epoch = batches.ordered(read, recipe.train.batch_size, recipe.train.seed) if split == "train" else rows
    return _Lengths(epoch.tokens / chosen.num_rows, max(read.lengths or [1]))
